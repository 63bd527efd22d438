//! One server under measurement: its process, the connections to it, and what it used while it worked.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    link::{self, Kv, Received},
    load::{Kind, Load},
    usage::Usage,
};
use crate::process::{Program, Server};

/// Long enough for a server that has a million keys to load.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(120);
/// What a server does a moment later (etcd's backend writes every 100 ms) belongs to the work that caused it.
const SETTLE: Duration = Duration::from_millis(250);

/// A running server and connections to it.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) server: Server,
    links: Vec<Kv>,
    received: Received,
    counts_sockets: bool,
}

/// What one piece of work cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) requests_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of the server's processor time for each operation.
    pub(crate) server_cpu_us: f64,
    /// The same of the load generator.
    pub(crate) client_cpu_us: f64,
    /// Bytes written to files for each operation.
    pub(crate) file_bytes: f64,
    /// Bytes that went to the disk for each operation.
    pub(crate) disk_bytes: f64,
    /// Resident memory of the server afterwards.
    pub(crate) resident_mib: f64,
}

impl Contender {
    /// Starts a server on an empty folder and connects to it.
    pub(crate) async fn start(program: &Program, home: &Path, connections: usize) -> Result<Self> {
        let mut server = Server::prepare(program, home)?;
        server.start()?;
        server.wait_until_listening(START_PATIENCE)?;
        let mut contender = Self { server, links: Vec::new(), received: Received::default(), counts_sockets: false };
        contender.connect(connections).await?;
        Ok(contender)
    }

    /// Replaces the connections.
    pub(crate) async fn connect(&mut self, connections: usize) -> Result<()> {
        self.links.clear();
        for _ in 0..connections {
            self.links.push(link::open(&self.server.address(), Arc::clone(&self.received)).await?);
        }
        Ok(())
    }

    /// Does work that nobody measures.
    pub(crate) async fn warm(&self, load: Load) -> Result<()> {
        load.run(&self.links).await?;
        Ok(())
    }

    /// Finds out whether this kernel and this server count socket writes as written bytes: reads write no file.
    pub(crate) async fn calibrate(&mut self, keys: u64) -> Result<()> {
        tokio::time::sleep(SETTLE).await;
        let load = Load { kind: Kind::Range, clients: 8, operations: 2_000.min(keys * 2), keys, seed: 1 };
        let (received, written) = (self.received.load(Ordering::Relaxed), self.usage()?.written);
        self.warm(load).await?;
        let received = self.received.load(Ordering::Relaxed) - received;
        self.counts_sockets = (self.usage()?.written - written) * 2 > received;
        Ok(())
    }

    /// Does work over the first few connections and says what it cost.
    pub(crate) async fn measure(&self, load: Load, connections: usize) -> Result<Cost> {
        let links = self.links.get(..connections).context("too few connections")?;
        let own = std::process::id();
        let (server, client) = (self.usage()?, Usage::of(own)?);
        let received = self.received.load(Ordering::Relaxed);
        let outcome = load.run(links).await?;
        let client = Usage::of(own)?.cpu - client.cpu;
        tokio::time::sleep(SETTLE).await;
        let after = self.usage()?;
        let received = self.received.load(Ordering::Relaxed) - received;
        let sockets = if self.counts_sockets { received } else { 0 };
        let operations = load.operations as f64;
        Ok(Cost {
            requests_per_s: operations / outcome.took.as_secs_f64(),
            p50_ms: outcome.latencies.value_at_quantile(0.5) as f64 / 1e6,
            p99_ms: outcome.latencies.value_at_quantile(0.99) as f64 / 1e6,
            server_cpu_us: (after.cpu - server.cpu).as_secs_f64() * 1e6 / operations,
            client_cpu_us: client.as_secs_f64() * 1e6 / operations,
            file_bytes: (after.written - server.written).saturating_sub(sockets) as f64 / operations,
            disk_bytes: (after.to_disk - server.to_disk) as f64 / operations,
            resident_mib: mebibytes(after.resident),
        })
    }

    /// Starts the server again and waits for the first answered read.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.server.start()?;
        self.server.wait_until_listening(START_PATIENCE)?;
        self.connect(1).await?;
        let read = Load { kind: Kind::Range, clients: 1, operations: 1, keys: 1, seed: 0 };
        // etcd listens before it can answer.
        while let Err(error) = self.warm(read).await {
            if started.elapsed() > START_PATIENCE {
                return Err(error.context("no read was answered after the restart"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(started.elapsed())
    }

    /// What the server has used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.server.pid().context("the server is not running")?)
    }
}

/// Bytes as people read them.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
