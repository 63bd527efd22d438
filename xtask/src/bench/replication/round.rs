//! One round of puts at one site, to the end at the others: what it cost on each side and on the wire.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    super::{
        gauge::{Cost, Gauge},
        load::Load,
        traffic::CONNECTIONS,
    },
    sites::{Sites, own_records},
    wire::Wire,
};

/// What came of it. What there is for peers alone is not a number where there are none.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    /// At the author.
    pub(crate) author: Cost,
    /// Microseconds of a peer's processor time for each record that it applied, the mean of the peers.
    pub(crate) peer_cpu_us: f64,
    /// Bytes that the author sent to its peers for each put.
    pub(crate) sent_bytes: f64,
    /// Bytes that it received from them.
    pub(crate) received_bytes: f64,
    /// Bytes that all sites together sent.
    pub(crate) all_bytes: f64,
    /// Milliseconds from the last answer until every peer had everything.
    pub(crate) caught_up_ms: f64,
}

/// Puts at the author, and waits until every peer has them.
pub(crate) async fn measure(sites: &Sites, load: Load) -> Result<Round> {
    let before = sites.statuses().await?;
    let peers_before = processor_time(sites.peers())?;
    let caught_up = async || sites.caught_up().await;
    let (author, caught_up) = sites.author().measure_until(load, CONNECTIONS, caught_up).await?;
    let peers_after = processor_time(sites.peers())?;
    let after = sites.statuses().await?;
    let records = own_records(&after[0]).1 - own_records(&before[0]).1;
    ensure!(records > 0, "{} puts made no record", load.operations);
    let passed = Wire::of(&after).since(&Wire::of(&before))?;
    let peers = sites.peers().len();
    let among_peers = |value: f64| if peers == 0 { f64::NAN } else { value };
    let per_put = |bytes: u64| among_peers(bytes as f64 / load.operations as f64);
    let processor_time = (peers_after - peers_before).as_secs_f64() * 1e6;
    Ok(Round {
        author,
        peer_cpu_us: processor_time / (records * peers as u64) as f64,
        sent_bytes: per_put(passed.sent_by_author()),
        received_bytes: per_put(passed.received_by_author()),
        all_bytes: per_put(passed.sent_by_all()),
        caught_up_ms: among_peers(caught_up.as_secs_f64() * 1e3),
    })
}

fn processor_time(gauges: &[Gauge]) -> Result<Duration> {
    gauges.iter().map(|gauge| Ok(gauge.usage()?.cpu)).sum()
}
