//! A mesh in a storm: writers and watchers at every site, links that come and go in every pattern, sites under kill -9.
//!
//! Every write puts a key that its writer alone puts, with a value of its own, and notes what the writer had read before.
//! So each site's history shows each write exactly once, and its causes can be told. When the storm is over, all links
//! come back, the sites converge, and [`verdict`] holds all the notes against what every site says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::{JoinError, JoinSet};
use tombolo_proto::mvccpb::Event;

use crate::{
    hosts::Hosts,
    kill::{history::Evidence, watcher::Watcher},
    mesh::{Mesh, Shape},
    process::Launch,
    random::Random,
};

pub mod ledger;
pub mod verdict;
pub mod weather;
mod writer;

use ledger::{Ledger, Notes};
use verdict::Site;
use weather::Weather;
use writer::Writer;

/// A mesh in a storm, and everything noted about it.
#[derive(Debug)]
pub struct Storm {
    /// The sites and their links.
    pub mesh: Mesh,
    random: Random,
    weather: Weather,
    seed: u64,
    round: usize,
    kills: usize,
    ledger: Ledger,
    watchers: Vec<Vec<Watcher>>,
    /// The histories as they were read the last time.
    before: Vec<Vec<Event>>,
}

/// Counts of a run, to show that it was not vacuous.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Rounds survived.
    pub rounds: usize,
    /// Sites killed.
    pub kills: usize,
    /// Writes tried.
    pub attempted: usize,
    /// Writes acknowledged.
    pub acknowledged: usize,
    /// Events of all histories.
    pub events: usize,
    /// Puts that were not shown at some site, because they lost against a concurrent one.
    pub beaten: usize,
}

/// The writers of one site, and the flag that tells them that it is about to be killed, or that the round is over.
struct Crew {
    over: Arc<AtomicBool>,
    writers: JoinSet<Result<Notes>>,
}

impl Storm {
    /// Starts a mesh of this shape on loopback.
    ///
    /// # Errors
    ///
    /// When a site does not start or may not join.
    pub async fn start(launch: &Launch, shape: Shape, seed: u64) -> Result<Self> {
        let names = &NAMES[..shape.sites()];
        Self::begin(Mesh::prepare(launch, names, shape, seed)?, seed).await
    }

    /// Starts a mesh on these hosts, all linked to each other.
    ///
    /// # Errors
    ///
    /// When a site does not start or may not join.
    pub async fn start_on(hosts: Hosts, launch: &Launch, seed: u64) -> Result<Self> {
        let shape = Shape::full(hosts.count());
        let names = &NAMES[..shape.sites()];
        Self::begin(Mesh::prepare_on(hosts, launch, names, shape, seed)?, seed).await
    }

    async fn begin(mut mesh: Mesh, seed: u64) -> Result<Self> {
        let sites = mesh.sites().len();
        mesh.start().await?;
        let watchers = || WATCHED.iter().map(|(key, end)| Watcher::new(key, end)).collect();
        Ok(Self {
            mesh,
            random: Random::new(seed),
            weather: Weather::new(seed),
            seed,
            round: 0,
            kills: 0,
            ledger: Ledger::new(sites),
            watchers: (0..sites).map(|_| watchers()).collect(),
            before: vec![Vec::new(); sites],
        })
    }

    /// One round: load at every site, the weather changes several times, and each time a site is killed, or none.
    ///
    /// # Errors
    ///
    /// When a write fails while its site is alive, or a site does not start again.
    pub async fn round(&mut self) -> Result<()> {
        self.round += 1;
        let mut crews = Vec::new();
        for site in 0..self.mesh.sites().len() {
            self.resume_watchers(site).await?;
            crews.push(self.start_crew(site, 0).await?);
        }
        for turn in 1..=TURNS {
            self.weather.turn(&self.mesh)?;
            self.pause().await;
            if self.random.chance(KILLS_PERCENT) {
                let site = self.random.below(crews.len());
                crews[site].over.store(true, Ordering::SeqCst);
                self.mesh.site(site).kill()?;
                self.kills += 1;
                self.disband(&mut crews[site], site).await?;
                for watcher in &self.watchers[site] {
                    watcher.wait_for_the_end().await;
                }
                self.mesh.site(site).restart().await?;
                self.resume_watchers(site).await?;
                crews[site] = self.start_crew(site, turn).await?;
                self.pause().await;
            }
        }
        for (site, mut crew) in crews.into_iter().enumerate() {
            crew.over.store(true, Ordering::SeqCst);
            self.disband(&mut crew, site).await?;
        }
        Ok(())
    }

    /// Brings every link back, waits until the sites have converged, and holds all the notes against them.
    ///
    /// # Errors
    ///
    /// Naming every fault, with the seed, the round and the logs, which stay.
    pub async fn verify(&mut self) -> Result<Tally> {
        let checked = self.check().await;
        checked.inspect_err(|_| self.mesh.keep_homes()).with_context(|| {
            let logs: Vec<String> = self.mesh.sites().iter().map(|site| site.log().display().to_string()).collect();
            format!("seed {} round {}, logs {}", self.seed, self.round, logs.join(" "))
        })
    }

    async fn check(&mut self) -> Result<Tally> {
        self.weather.clear(&self.mesh)?;
        let standing = self.mesh.converge(CONVERGENCE).await?;
        let mut sites = Vec::new();
        for site in 0..self.mesh.sites().len() {
            self.resume_watchers(site).await?;
            let evidence = Evidence::read(&mut self.mesh.sites()[site].connect().await?).await?;
            let mut told = Vec::new();
            for watcher in &self.watchers[site] {
                told.push(watcher.told_all_of(&evidence.history).await);
            }
            let replica = self.mesh.status(site).await?.replica;
            let records = standing.frontier.get(&replica).copied().unwrap_or_default();
            let before = std::mem::take(&mut self.before[site]);
            sites.push(Site { evidence, told, before, records });
        }
        let (faults, beaten) = verdict::judge(&self.ledger, &sites);
        if !faults.is_empty() {
            let shown: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
            bail!("{} faults\n  {}", faults.len(), shown.join("\n  "));
        }
        let alarms = self.mesh.alarms().await?;
        ensure!(alarms.is_empty(), "alarms were raised: {alarms:?}");
        self.before = sites.into_iter().map(|site| site.evidence.history).collect();
        Ok(Tally {
            rounds: self.round,
            kills: self.kills,
            attempted: self.ledger.attempts.len(),
            acknowledged: self.ledger.acknowledged(),
            events: self.before.iter().map(Vec::len).sum(),
            beaten,
        })
    }

    async fn pause(&mut self) {
        let time = self.random.between(PAUSE_MS.0, PAUSE_MS.1) as u64;
        tokio::time::sleep(Duration::from_millis(time)).await;
    }

    async fn start_crew(&self, site: usize, turn: usize) -> Result<Crew> {
        let over = Arc::new(AtomicBool::new(false));
        let connection = self.mesh.sites()[site].connect().await?;
        let mut writers = JoinSet::new();
        for id in 0..WRITERS {
            let name = format!("{}{id}r{}t{turn}", NAMES[site], self.round);
            let seed = self.seed ^ ((self.round * TURNS + turn) as u64) << 32 ^ (site * WRITERS + id) as u64;
            let writer = Writer::new(name, site, id, Random::new(seed), connection.clone(), Arc::clone(&over));
            writers.spawn(writer.run());
        }
        Ok(Crew { over, writers })
    }

    async fn disband(&mut self, crew: &mut Crew, site: usize) -> Result<()> {
        while let Some(notes) = crew.writers.join_next().await {
            let notes = notes.map_err(|error: JoinError| anyhow::anyhow!("a writer broke off: {error}"))?;
            self.ledger.take(notes.with_context(|| format!("seed {} round {}", self.seed, self.round))?, site);
        }
        Ok(())
    }

    async fn resume_watchers(&mut self, site: usize) -> Result<()> {
        let connection = self.mesh.sites()[site].connect().await?;
        for watcher in &mut self.watchers[site] {
            watcher.resume(&connection).await;
        }
        Ok(())
    }
}

/// Names that differ in their first letter, for short values.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Writers of each site.
const WRITERS: usize = 4;
/// Changes of the weather in a round.
const TURNS: usize = 3;
/// How often a change is followed by a kill.
const KILLS_PERCENT: usize = 60;
/// Between two changes.
const PAUSE_MS: (i64, i64) = (30, 250);
/// Links come back one by one, each with its own backoff, and two cores carry all sites.
const CONVERGENCE: Duration = Duration::from_secs(60);
/// Everything, and what all write.
const WATCHED: [(&[u8], &[u8]); 2] = [(b"\0", b"\0"), (b"shared/", b"shared0")];
