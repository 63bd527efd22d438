//! kill -9 under load, again and again: many writers, several watchers, one server process, one folder.
//!
//! Writers note what they tried and what was acknowledged, watchers what they were told. After each kill the server is
//! started on the same folder, its whole history is read by a fresh watch, and [`verdict`] holds all the notes against it.
//! Nothing is retried and every write carries a value of its own, so that each event of the history is somebody's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tombolo_proto::mvccpb::Event;

use crate::{
    process::{Launch, Server},
    random::Random,
};

pub mod history;
pub mod ledger;
pub mod verdict;
pub(crate) mod watcher;
mod writer;

use history::Evidence;
use ledger::Ledger;
use watcher::Watcher;
use writer::Writer;

/// A server under fire, and everything noted about it.
#[derive(Debug)]
pub struct Rig {
    /// The server, for rigs that do things to its folder.
    pub server: Server,
    random: Random,
    seed: u64,
    round: usize,
    ledger: Ledger,
    watchers: Vec<Watcher>,
    /// The history as it was read after the round before.
    before: Vec<Event>,
}

/// Counts of a run, to show that it was not vacuous.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Kills survived.
    pub rounds: usize,
    /// Writes tried.
    pub attempted: usize,
    /// Writes acknowledged.
    pub acknowledged: usize,
    /// Events of the history.
    pub events: usize,
    /// The revision at the end.
    pub revision: i64,
}

impl Rig {
    /// Starts the server on a fresh folder.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start(launch: Launch, seed: u64) -> Result<Self> {
        let server = launch.start().await?;
        let watchers = WATCHED.iter().map(|(key, end)| Watcher::new(key, end)).collect();
        let (random, ledger) = (Random::new(seed), Ledger::default());
        Ok(Self { server, random, seed, round: 0, ledger, watchers, before: Vec::new() })
    }

    /// One round: load, kill, start again.
    ///
    /// # Errors
    ///
    /// When a write fails while the server is alive, or when it does not start again.
    pub async fn round(&mut self) -> Result<()> {
        self.round += 1;
        self.resume_watchers().await?;
        let killed = Arc::new(AtomicBool::new(false));
        let mut writers = self.start_writers(&killed).await?;
        let delay = self.random.between(20, 500) as u64;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        killed.store(true, Ordering::SeqCst);
        self.server.kill()?;
        while let Some(notes) = writers.join_next().await {
            self.ledger.take(notes??);
        }
        for watcher in &self.watchers {
            watcher.wait_for_the_end().await;
        }
        self.server.restart().await
    }

    /// Reads everything back and holds all the notes against it.
    ///
    /// # Errors
    ///
    /// Naming every fault, with the seed and the round.
    pub async fn verify(&mut self) -> Result<Tally> {
        self.resume_watchers().await?;
        let mut connection = self.server.connect().await?;
        let evidence = Evidence::read(&mut connection).await?;
        let mut told = Vec::new();
        for watcher in &self.watchers {
            told.push(watcher.told_all_of(&evidence.history).await);
        }
        for report in &told {
            self.ledger.seen_revision = self.ledger.seen_revision.max(report.seen_revision);
        }
        let mut faults = verdict::judge(&self.ledger, &evidence, &told, &self.before);
        let sample = self.ledger.sample(&mut self.random, READS_MAX);
        faults.extend(history::read_back(&mut connection, &sample).await);
        if !faults.is_empty() {
            let (seed, round) = (self.seed, self.round);
            let shown: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
            bail!("seed {seed} round {round}: {} faults\n  {}", faults.len(), shown.join("\n  "));
        }
        self.before = evidence.history;
        Ok(Tally {
            rounds: self.round,
            attempted: self.ledger.attempted(),
            acknowledged: self.ledger.acknowledged(),
            events: self.before.len(),
            revision: evidence.revision,
        })
    }

    async fn start_writers(&self, killed: &Arc<AtomicBool>) -> Result<JoinSet<Result<ledger::Notes>>> {
        let mut writers = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let connection_of_eight = self.server.connect().await?;
            for writer in 0..WRITERS / CONNECTIONS {
                let id = connection * (WRITERS / CONNECTIONS) + writer;
                let seed = self.seed ^ ((self.round as u64) << 32) ^ id as u64;
                let name = format!("r{}w{id}", self.round);
                let writer = Writer::new(name, id, Random::new(seed), connection_of_eight.clone(), Arc::clone(killed));
                writers.spawn(writer.run());
            }
        }
        Ok(writers)
    }

    async fn resume_watchers(&mut self) -> Result<()> {
        let connection = self.server.connect().await?;
        for watcher in &mut self.watchers {
            watcher.resume(&connection).await;
        }
        Ok(())
    }
}

/// As many as the servers are to be compared with elsewhere.
const WRITERS: usize = 64;
const CONNECTIONS: usize = 8;
const READS_MAX: usize = 400;
/// Everything, a prefix that all write, a prefix that one writes, a single key.
const WATCHED: [(&[u8], &[u8]); 4] =
    [(b"\0", b"\0"), (b"shared/", b"shared0"), (b"own/3/", b"own/30"), (b"shared/1", b"")];
