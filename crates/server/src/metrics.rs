//! What the server counts. Every name is listed once, in [`expose`].
//!
//! Counting is one relaxed atomic addition in a fixed place; there are no label look-ups on the way of a request. What can be asked for when
//! somebody looks (sizes, watchers, memory) is not counted at all.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

pub(crate) use self::{
    histogram::Histogram,
    rpc::{CODES, Rpcs},
    tls::TlsCounts,
};

pub(crate) mod expose;
mod histogram;
mod process;
mod rpc;
mod tls;

/// A count that only rises.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts of one server.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) rpcs: Rpcs,
    pub(crate) puts: Counter,
    pub(crate) deletes: Counter,
    pub(crate) ranges: Counter,
    pub(crate) txns: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) connections_opened: Counter,
    pub(crate) connections_closed: Counter,
    pub(crate) healthy: Counter,
    pub(crate) unhealthy: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) leases_expired: Counter,
    pub(crate) auto_compactions: Counter,
    pub(crate) scrubbed_bytes: Counter,
    pub(crate) scrub_passes: Counter,
    pub(crate) defragmentation: Histogram,
    pub(crate) records_ingested: Counter,
    pub(crate) transfers_begun: Counter,
    pub(crate) transfers_interrupted: Counter,
    pub(crate) deltas_joined: Counter,
    pub(crate) checkpoints_joined: Counter,
    pub(crate) pages_taken: Counter,
    pub(crate) page_bytes_taken: Counter,
    pub(crate) pages_served: Counter,
    pub(crate) page_bytes_served: Counter,
    pub(crate) meets_equal: Counter,
    pub(crate) meets_different: Counter,
    pub(crate) meets_put_off: Counter,
    pub(crate) tls: TlsCounts,
    commits: Counter,
    requests_committed: Counter,
    execution: Histogram,
    commit: Histogram,
}

impl Metrics {
    /// Counts one group of the committer.
    pub(crate) fn committed(&self, requests: usize, commits: usize, execution: Duration, commit: Duration) {
        self.requests_committed.add(requests as u64);
        self.commits.add(commits as u64);
        self.execution.observe(execution);
        self.commit.observe(commit);
    }
}
