//! Random sets of watchers on two servers under the same writes: what each watcher was told is compared.
//!
//! Writes go one after another to both servers. Before anything whose outcome depends on how far a watcher has got (a
//! compaction, a cancel, the end), the run *settles*: it writes to a key that every stream watches and waits until both
//! servers have told the same. Watchers share streams, so that mixing them up would show.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{PutRequest, WatchCreateRequest};

use crate::{
    compare::differences,
    connect::Connection,
    differential::{judge, shorten},
    request::{Request, generate::Generator},
};

pub mod script;
pub mod stream;
pub mod transcript;

use script::Step;
use stream::WatchStream;
use transcript::Transcript;

/// Counts of a run, to show that it was not vacuous.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Watchers created.
    pub watchers: usize,
    /// Events that all of them were told.
    pub events: usize,
    /// Watchers that a server cancelled.
    pub cancelled: usize,
}

/// Runs `steps` steps of `seed` against `reference` and `subject`.
///
/// # Errors
///
/// At the first difference, with seed and step, and when a server breaks a rule of watches that needs no reference.
pub async fn run(seed: u64, steps: usize, reference: &mut Connection, subject: &mut Connection) -> Result<Tally> {
    let mut run = Run {
        seed,
        step: 0,
        generator: Generator::new(seed),
        left: Side::open(reference),
        right: Side::open(subject),
        replays: false,
        log: Vec::new(),
    };
    run.watch_sentinels().await?;
    while run.step < steps {
        let step = script::next(&mut run.generator, &run.left.transcripts());
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
    /// Whether a watcher that starts in the past was created since the last settling.
    replays: bool,
    log: Vec<String>,
}

struct Side<'a> {
    connection: &'a mut Connection,
    streams: Vec<WatchStream>,
}

impl<'a> Side<'a> {
    fn open(connection: &'a mut Connection) -> Self {
        let streams = (0..STREAMS).map(|_| WatchStream::open(connection)).collect();
        Self { connection, streams }
    }

    fn transcripts(&self) -> Vec<Transcript> {
        self.streams.iter().map(|stream| Transcript::of(&stream.responses())).collect()
    }
}

impl Run<'_> {
    async fn perform(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Ask(request) => {
                if matches!(request, Request::Compact(_)) {
                    self.settle().await?;
                }
                self.ask(&request).await
            }
            Step::Watch { stream, request } => self.watch(stream, request).await,
            Step::Cancel { stream, watch_id } => {
                self.settle().await?;
                let (left, right) = (&mut self.left.streams[stream], &mut self.right.streams[stream]);
                let (left, right) = tokio::join!(left.cancel(watch_id), right.cancel(watch_id));
                left.and(right).with_context(|| self.report("a cancel was not answered"))
            }
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<()> {
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
        for stream in 0..STREAMS {
            self.watch(stream, WatchCreateRequest { key: SENTINEL, ..Default::default() }).await?;
        }
        Ok(())
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
            let (left, right) = (self.left.transcripts(), self.right.transcripts());
            let told = left.iter().chain(&right).all(|transcript| transcript.has_told(revision));
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

    fn tally(&self) -> Result<Tally> {
        let mut tally = Tally::default();
        for (name, side) in [("reference", &self.left), ("subject", &self.right)] {
            for stream in &side.streams {
                transcript::check(&stream.responses()).with_context(|| self.report(name))?;
            }
        }
        for transcript in self.left.transcripts() {
            let (watchers, events, cancelled) = transcript.counts();
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

const STREAMS: usize = 3;
/// A key that only the rig itself writes.
const SENTINEL: Bytes = Bytes::from_static(b"~");
/// etcd looks for watchers that are behind ten times a second.
const REPLAY: Duration = Duration::from_millis(300);
const QUIET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(8);
const LOG_LINES: usize = 25;
