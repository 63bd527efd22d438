//! Two sites of which one is away while the other is written to, and comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tombolo_rig::mesh::{Mesh, Standing};

use super::client::Client;
use crate::bench::{
    link::{Link, Received},
    load::Load,
    traffic::CONNECTIONS,
};

/// How long a site may take to catch up.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is asked how far it is.
const POLL: Duration = Duration::from_millis(5);

/// The sites: the second one is the one that was away.
pub(super) struct Away {
    mesh: Mesh,
    load: Load,
    author: u64,
    pub(super) written_per_s: f64,
}

/// How a site came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Return {
    pub(super) records_per_s: f64,
    pub(super) first_ms: f64,
    pub(super) sent_bytes: f64,
    pub(super) put_p99_ms: Option<f64>,
}

impl Away {
    /// Has the second site leave and the first one be written to.
    pub(super) async fn begin(mut mesh: Mesh, load: Load) -> Result<Self> {
        mesh.site(1).stop()?;
        let author = mesh.status(0).await?.replica;
        let mut away = Self { mesh, load, author, written_per_s: f64::NAN };
        away.write().await?;
        Ok(away)
    }

    /// Has it leave once more, while as much is written again.
    pub(super) async fn leave_again(&mut self) -> Result<()> {
        self.mesh.site(1).stop()?;
        self.load.seed += 1;
        self.write().await
    }

    async fn write(&mut self) -> Result<()> {
        let address = self.mesh.sites()[0].address().to_string();
        let mut links = Vec::new();
        for _ in 0..CONNECTIONS {
            links.push(Link::open(&address, Received::default()).await?.kv());
        }
        let outcome = self.load.run(&links).await?;
        self.written_per_s = self.load.operations as f64 / outcome.took.as_secs_f64();
        Ok(())
    }

    /// It comes back, with a client that writes there all the while.
    pub(super) async fn back(&mut self) -> Result<Return> {
        let (before, lacks) = (self.sent().await?, self.lacking().await?);
        self.mesh.site(1).restart().await?;
        let mut client = Client::at(&self.mesh, 1).await?;
        let watched = async {
            loop {
                client.put().await?;
            }
        };
        let (first, took) = tokio::select! {
            caught_up = caught_up(&self.mesh, self.author, lacks) => caught_up?,
            failed = watched => return failed,
        };
        let records = self.load.operations as f64;
        Ok(Return {
            records_per_s: records / took.as_secs_f64(),
            first_ms: first.as_secs_f64() * 1e3,
            sent_bytes: (self.sent().await? - before) as f64 / records,
            put_p99_ms: Some(client.noted_p99_ms()),
        })
    }

    /// It comes back, is killed when it has half of what it lacks, and comes back again.
    pub(super) async fn back_with_a_kill(&mut self) -> Result<Return> {
        let (before, (from, to)) = (self.sent().await?, self.lacking().await?);
        let began = Instant::now();
        self.mesh.site(1).restart().await?;
        caught_up(&self.mesh, self.author, (from, from.midpoint(to))).await?;
        self.mesh.site(1).kill()?;
        self.mesh.site(1).restart().await?;
        caught_up(&self.mesh, self.author, (from.midpoint(to), to)).await?;
        let records = self.load.operations as f64;
        Ok(Return {
            records_per_s: records / began.elapsed().as_secs_f64(),
            first_ms: f64::NAN,
            sent_bytes: (self.sent().await? - before) as f64 / records,
            put_p99_ms: None,
        })
    }

    /// The author's records that the other site has to get: above the first number, up to the second.
    async fn lacking(&self) -> Result<(u64, u64)> {
        let all = seq(&self.mesh, 0, self.author).await?;
        Ok((all.checked_sub(self.load.operations).context("fewer records than puts")?, all))
    }

    async fn sent(&self) -> Result<u64> {
        Ok(self.mesh.status(0).await?.peers.iter().map(|peer| peer.sent_bytes).sum())
    }
}

/// Waits until the second site has the author's records, and says when it had more than it began with, and how long the rest took.
async fn caught_up(mesh: &Mesh, author: u64, (from, to): (u64, u64)) -> Result<(Duration, Duration)> {
    let began = Instant::now();
    let mut first = None;
    loop {
        let seq = seq(mesh, 1, author).await?;
        if seq > from {
            first.get_or_insert_with(|| began.elapsed());
        }
        if let Some(first) = first.filter(|_| seq >= to) {
            return Ok((first, began.elapsed() - first));
        }
        ensure!(began.elapsed() < PATIENCE, "a site has not caught up after {PATIENCE:?}: it has {seq} of {to}");
        tokio::time::sleep(POLL).await;
    }
}

async fn seq(mesh: &Mesh, site: usize, author: u64) -> Result<u64> {
    Ok(Standing::of(&mesh.status(site).await?).frontier.get(&author).copied().unwrap_or(0))
}
