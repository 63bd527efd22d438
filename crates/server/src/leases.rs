//! Drives the lease table: one lock around it, and the task that revokes what has run out.
//!
//! The table follows the published commits; granting and revoking go through the committer like every other write. Only remaining time lives here,
//! and it counts from the start of the server again, as in etcd.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tombolo_site::{LeaseTable, TimeToLive};
use tombolo_storage::{Commit, Request, RequestError};
use tracing::debug;

use crate::{clock::Uptime, committer::Refusal, replica::Replica};

/// The lease table with its surroundings.
pub(crate) struct Leases {
    table: Mutex<LeaseTable>,
    uptime: Uptime,
    /// Wakes the task that revokes when its next deadline may have come nearer.
    sooner: Notify,
}

impl Leases {
    /// Begins with the leases that a store held when it was opened; each has its full time again.
    pub(crate) fn new(live: Vec<(i64, i64)>, uptime: Uptime) -> Self {
        let mut table = LeaseTable::default();
        for (id, ttl_s) in live {
            table.granted(id, ttl_s, uptime.now());
        }
        Self { table: Mutex::new(table), uptime, sooner: Notify::new() }
    }

    /// Follows published commits.
    pub(crate) fn apply(&self, commits: &[Arc<Commit>]) {
        if commits.iter().all(|commit| commit.leases.is_empty()) {
            return;
        }
        self.table.lock().apply(commits, self.uptime.now());
        self.sooner.notify_one();
    }

    /// Counts exactly these leases, with their seconds to live, from now on. Those that are new here have their full time.
    pub(crate) fn settle(&self, live: &[(i64, i64)]) {
        self.table.lock().settle(live, self.uptime.now());
        self.sooner.notify_one();
    }

    /// Starts the lease's time again; answers the time in seconds, or `None` when there is no such lease any more.
    pub(crate) fn renew(&self, id: i64) -> Option<i64> {
        self.table.lock().renew(id, self.uptime.now())
    }

    pub(crate) fn time_to_live(&self, id: i64) -> Option<TimeToLive> {
        self.table.lock().time_to_live(id, self.uptime.now())
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        self.table.lock().ids()
    }

    pub(crate) fn count(&self) -> usize {
        self.table.lock().ids().len()
    }

    /// Revokes leases as they run out, for ever.
    pub(crate) async fn expire(replica: Arc<Replica>) {
        let leases = &replica.leases;
        loop {
            let deadline = leases.table.lock().next_deadline();
            tokio::select! {
                () = leases.uptime.sleep_until(deadline) => {}
                () = leases.sooner.notified() => continue,
            }
            let due = leases.table.lock().due(leases.uptime.now());
            if due.is_empty() {
                // A deadline that has nothing due must not keep the task spinning.
                tokio::time::sleep(PAUSE).await;
            }
            join_all(due.into_iter().map(|id| revoke(&replica, id))).await;
        }
    }
}

const PAUSE: Duration = Duration::from_millis(50);

async fn revoke(replica: &Replica, id: i64) {
    let leases = &replica.leases;
    match replica.commit(Request::LeaseRevoke { id }, 0).await {
        Ok(_) => replica.metrics.leases_expired.add(1),
        Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseNotFound { .. }) => {
            leases.table.lock().ended(id)
        }
        Err(why) => {
            debug!(id, %why, "an expired lease was not revoked; it is tried again");
            leases.table.lock().revoke_failed(id, leases.uptime.now());
        }
    }
}
