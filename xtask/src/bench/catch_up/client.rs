//! A client of the site that catches up: it puts at its own pace and notes how long each answer takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tombolo_rig::mesh::Mesh;

use crate::bench::{
    link::{Kv, Link, Received},
    load::{Values, histogram, put},
};

/// Between two puts.
const PAUSE: Duration = Duration::from_millis(2);
/// Puts of a client that is measured while nothing else happens.
const PUTS: u64 = 500;

/// One client.
pub(super) struct Client {
    kv: Kv,
    values: Values,
    number: u64,
    latencies: Histogram<u64>,
}

impl Client {
    pub(super) async fn at(mesh: &Mesh, site: usize) -> Result<Self> {
        let address = mesh.sites().get(site).context("there is no such site")?.address().to_string();
        let kv = Link::open(&address, Received::default()).await?.kv();
        Ok(Self { kv, values: Values::new(7), number: 0, latencies: histogram()? })
    }

    /// Puts once, after a pause.
    pub(super) async fn put(&mut self) -> Result<()> {
        tokio::time::sleep(PAUSE).await;
        self.number += 1;
        let started = Instant::now();
        self.kv.put(put(OWN_KEYS + self.number % 1000, self.values.value(self.number))).await?;
        self.latencies.saturating_record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Milliseconds in which ninety-nine of a hundred puts of some are answered.
    pub(super) async fn p99_ms(mut self) -> Result<f64> {
        for _ in 0..PUTS {
            self.put().await?;
        }
        Ok(self.noted_p99_ms())
    }

    /// The same of those so far.
    pub(super) fn noted_p99_ms(&self) -> f64 {
        self.latencies.value_at_quantile(0.99) as f64 / 1e6
    }
}

/// Above the keys of every load.
const OWN_KEYS: u64 = 1 << 39;
