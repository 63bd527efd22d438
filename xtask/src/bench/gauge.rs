//! A running server as the load generator has it: connections to it, and what its process used while it worked.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    link::{Kv, Link, Received},
    load::{Kind, Load},
    usage::Usage,
};

/// What a server does a moment later (etcd's backend writes every 100 ms) belongs to the work that caused it.
const SETTLE: Duration = Duration::from_millis(250);

/// Connections to one process, for as long as it runs.
#[derive(Debug)]
pub(crate) struct Gauge {
    process: u32,
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

impl Gauge {
    /// Connects to a process that listens on `host:port`.
    pub(crate) async fn open(process: u32, address: &str, connections: usize) -> Result<Self> {
        let received = Received::default();
        let mut links = Vec::new();
        for _ in 0..connections {
            links.push(Link::open(address, Arc::clone(&received)).await?.kv());
        }
        Ok(Self { process, links, received, counts_sockets: false })
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
        Ok(self.measure_until(load, connections, async || Ok(())).await?.0)
    }

    /// The same, with what came of waiting for something that the work leads to: what the server did until then is part
    /// of the cost, and the time it took is not.
    pub(crate) async fn measure_until<T>(
        &self,
        load: Load,
        connections: usize,
        settled: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<(Cost, T)> {
        let links = self.links.get(..connections).context("too few connections")?;
        let own = std::process::id();
        let (server, client) = (self.usage()?, Usage::of(own)?);
        let received = self.received.load(Ordering::Relaxed);
        let outcome = load.run(links).await?;
        let client = Usage::of(own)?.cpu - client.cpu;
        let settled = settled().await?;
        tokio::time::sleep(SETTLE).await;
        let after = self.usage()?;
        let received = self.received.load(Ordering::Relaxed) - received;
        let sockets = if self.counts_sockets { received } else { 0 };
        let operations = load.operations as f64;
        let cost = Cost {
            requests_per_s: operations / outcome.took.as_secs_f64(),
            p50_ms: outcome.latencies.value_at_quantile(0.5) as f64 / 1e6,
            p99_ms: outcome.latencies.value_at_quantile(0.99) as f64 / 1e6,
            server_cpu_us: (after.cpu - server.cpu).as_secs_f64() * 1e6 / operations,
            client_cpu_us: client.as_secs_f64() * 1e6 / operations,
            file_bytes: (after.written - server.written).saturating_sub(sockets) as f64 / operations,
            disk_bytes: (after.to_disk - server.to_disk) as f64 / operations,
            resident_mib: mebibytes(after.resident),
        };
        Ok((cost, settled))
    }

    /// What the process has used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.process)
    }
}

/// Bytes as people read them.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
