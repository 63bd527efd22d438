//! Random sets of watchers on two servers under the same writes: what each watcher was told is compared.
//!
//! Writes go one after another to both servers. Before anything whose outcome depends on how far a watcher has got (a
//! compaction, a cancel, the end), the run *settles*: it writes to a key that every stream watches and waits until both
//! servers have told the same. Watchers share streams, so that mixing them up would show.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{PutRequest, WatchCancelRequest, WatchCreateRequest, watch_request::RequestUnion};

use crate::{
    compare::differences,
    connect::Connection,
    differential::{judge, shorten},
    request::{Request, generate::Generator},
};

pub mod script;
pub mod stream;
pub mod transcript;
mod users;

use script::Step;
use stream::WatchStream;
use transcript::Transcript;
use users::Watcher;

/// Counts of a run, to show that it was not vacuous.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Watchers created.
    pub watchers: usize,
    /// Events that all of them were told.
    pub events: usize,
    /// Watchers that a server cancelled.
    pub cancelled: usize,
    /// Watchers that were refused.
    pub refused: usize,
}

/// Runs `steps` steps of `seed` against `reference` and `subject`.
///
/// # Errors
///
/// At the first difference, with seed and step, and when a server breaks a rule of watches that needs no reference.
pub async fn run(seed: u64, steps: usize, reference: &mut Connection, subject: &mut Connection) -> Result<Tally> {
    let run = Run::new(seed, &[Watcher::Anybody; 4], reference, subject);
    play(run, steps).await
}

/// The same with users, some of whom may watch some of the keys.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with_users(
    seed: u64,
    steps: usize,
    reference: &mut Connection,
    subject: &mut Connection,
) -> Result<Tally> {
    let mut run = Run::new(seed, &users::WATCHERS, reference, subject);
    for request in users::requests(&mut run.generator) {
        run.ask_openly(&request).await?;
    }
    run.has_users = true;
    play(run, steps).await
}

async fn play(mut run: Run<'_>, steps: usize) -> Result<Tally> {
    run.open();
    run.watch_sentinels().await?;
    while run.step < steps {
        let step = run.next();
        run.log.push(format!("{:>4} {step:?}", run.step));
        run.perform(step).await?;
        run.step += 1;
    }
    run.settle().await?;
    // A watcher that repeats itself late would do so now.
    tokio::time::sleep(QUIET).await;
    run.settle().await?;
    run.tally()
}

struct Run<'a> {
    seed: u64,
    step: usize,
    generator: Generator,
    left: Side<'a>,
    right: Side<'a>,
    watchers: &'a [Watcher],
    /// Whether all but watching is done by `root`.
    has_users: bool,
    /// Whether a watcher that starts in the past was created since the last settling.
    replays: bool,
    log: Vec<String>,
}

struct Side<'a> {
    connection: &'a mut Connection,
    streams: Vec<WatchStream>,
    /// What was told on each stream, and how many responses that is.
    transcripts: Vec<Transcript>,
    read: Vec<usize>,
}

impl Side<'_> {
    fn open(&mut self, watchers: &[Watcher]) {
        for watcher in watchers {
            self.connection.wallet.show(watcher.sender().as_ref());
            self.streams.push(WatchStream::open(self.connection));
            self.transcripts.push(Transcript::default());
            self.read.push(0);
        }
        self.connection.wallet.show(None);
    }

    /// What was told so far.
    fn transcripts(&mut self) -> &[Transcript] {
        for (stream, (transcript, read)) in self.streams.iter().zip(self.transcripts.iter_mut().zip(&mut self.read)) {
            stream.look(|responses| {
                transcript.add(&responses[*read..]);
                *read = responses.len();
            });
        }
        &self.transcripts
    }
}

impl<'a> Run<'a> {
    fn new(seed: u64, watchers: &'a [Watcher], reference: &'a mut Connection, subject: &'a mut Connection) -> Self {
        let side = |connection| Side { connection, streams: Vec::new(), transcripts: Vec::new(), read: Vec::new() };
        let (left, right) = (side(reference), side(subject));
        let (generator, log) = (Generator::new(seed), Vec::new());
        Self { seed, step: 0, generator, left, right, watchers, has_users: false, replays: false, log }
    }

    fn open(&mut self) {
        self.left.open(self.watchers);
        self.right.open(self.watchers);
    }

    fn next(&mut self) -> Step {
        match script::next(&mut self.generator, self.left.transcripts()) {
            Step::Watch { stream, request } => {
                let id = FIRST_ID + 1 + i64::try_from(self.step).unwrap_or_default();
                Step::Watch { stream, request: self.watchers[stream].fit(request, id) }
            }
            step => step,
        }
    }

    async fn perform(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Ask(request) => {
                if matches!(request, Request::Compact(_)) {
                    self.settle().await?;
                }
                self.ask(&request).await
            }
            Step::Watch { stream, request } => self.watch(stream, request).await,
            Step::Progress { stream } if !self.watchers[stream].sees_sentinels() => Ok(()),
            Step::Progress { stream } => {
                self.settle().await?;
                let (left, right) = (&mut self.left.streams[stream], &mut self.right.streams[stream]);
                let (left, right) = tokio::join!(left.progress(), right.progress());
                left.and(right).with_context(|| self.report("progress was not told"))
            }
            Step::Cancel { stream, watch_id: watch_id @ script::UNKNOWN } => {
                for side in [&mut self.left, &mut self.right] {
                    let cancel = WatchCancelRequest { watch_id };
                    side.streams[stream].send(RequestUnion::CancelRequest(cancel)).await?;
                }
                Ok(())
            }
            Step::Cancel { stream, watch_id } => {
                self.settle().await?;
                let (left, right) = (&mut self.left.streams[stream], &mut self.right.streams[stream]);
                let (left, right) = tokio::join!(left.cancel(watch_id), right.cancel(watch_id));
                left.and(right).with_context(|| self.report("a cancel was not answered"))
            }
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<()> {
        match self.has_users {
            true => self.ask_openly(&users::by_root(request.clone())).await,
            false => self.ask_openly(request).await,
        }
    }

    async fn ask_openly(&mut self, request: &Request) -> Result<()> {
        let (left, right) = tokio::join!(request.send(self.left.connection), request.send(self.right.connection));
        let (left, right) = (left?, right?);
        self.generator.world.observe(request, &left);
        let found = judge(request, left, right);
        ensure!(found.is_empty(), self.report(&format!("an answer differs: {found:?}")));
        Ok(())
    }

    async fn watch(&mut self, stream: usize, request: WatchCreateRequest) -> Result<()> {
        let start = request.start_revision;
        self.replays |= start != 0 && start <= self.generator.world.revision;
        let (left, right) = (&mut self.left.streams[stream], &mut self.right.streams[stream]);
        let (left, right) = tokio::join!(left.create(request.clone()), right.create(request));
        left.and(right).with_context(|| self.report("a watcher was not created"))
    }

    async fn watch_sentinels(&mut self) -> Result<()> {
        for stream in self.streams_that_see() {
            let request = WatchCreateRequest { key: SENTINEL, ..Default::default() };
            self.watch(stream, self.watchers[stream].fit(request, FIRST_ID)).await?;
        }
        Ok(())
    }

    fn streams_that_see(&self) -> Vec<usize> {
        (0..self.watchers.len()).filter(|stream| self.watchers[*stream].sees_sentinels()).collect()
    }

    /// Waits until both servers have told every watcher the same, and everything.
    async fn settle(&mut self) -> Result<()> {
        self.ask(&Request::Put(PutRequest { key: SENTINEL, ..Default::default() })).await?;
        if std::mem::take(&mut self.replays) {
            tokio::time::sleep(REPLAY).await;
        }
        let revision = self.generator.world.revision;
        let started = Instant::now();
        loop {
            let see = self.streams_that_see();
            let (left, right) = (self.left.transcripts(), self.right.transcripts());
            let told = see.iter().all(|stream| left[*stream].has_told(revision) && right[*stream].has_told(revision));
            if told && left == right {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                let found = differences(&left, &right);
                let mut text = format!("watchers were told different things (sentinels told: {told})\n");
                for difference in found.iter().take(20) {
                    text.push_str(&format!("  {}\n", shorten(&difference.to_string())));
                }
                bail!("{}", self.report(&text));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn tally(&mut self) -> Result<Tally> {
        let mut tally = Tally::default();
        for (name, side) in [("reference", &self.left), ("subject", &self.right)] {
            for stream in &side.streams {
                transcript::check(&stream.responses()).with_context(|| self.report(name))?;
            }
        }
        for transcript in self.left.transcripts() {
            let (watchers, events, cancelled, refused) = transcript.counts();
            tally.refused += refused;
            tally.watchers += watchers;
            tally.events += events;
            tally.cancelled += cancelled;
        }
        Ok(tally)
    }

    fn report(&self, what: &str) -> String {
        let recent = &self.log[self.log.len().saturating_sub(LOG_LINES)..];
        let recent: Vec<String> = recent.iter().map(|line| shorten(line)).collect();
        let (seed, step) = (self.seed, self.step);
        format!("seed {seed} step {step} (replay with TOMBOLO_SEED={seed}): {what}\nlast steps:\n{}", recent.join("\n"))
    }
}

/// The id of the first watcher where none may be chosen by chance.
const FIRST_ID: i64 = 1_000;
/// A key that only the rig itself writes.
const SENTINEL: Bytes = Bytes::from_static(b"~");
/// etcd looks for watchers that are behind ten times a second.
const REPLAY: Duration = Duration::from_millis(300);
const QUIET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(8);
const LOG_LINES: usize = 25;
