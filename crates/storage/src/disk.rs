//! How far the log has come on its way to the disk.
//!
//! Groups are numbered as they are sealed, which is also the order in which they are written and published. Whoever waits for the disk
//! writes what was sealed before. One sync covers every group that was written before it began, and the next may begin while that one's
//! groups have not been published.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::{health::HealthState, store::Shared};

/// Brings groups to the disk: a cheap clone, for any thread. See [`Group`](crate::Group).
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// How far groups have come.
#[derive(Default)]
pub(crate) struct Reached {
    /// The last group that was sealed.
    sealed: AtomicU64,
    /// The last group that is as durable as the store promises.
    durable: AtomicU64,
    /// What ended the first write or sync that failed.
    failure: OnceLock<String>,
}

impl Disk {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// Whether there is a group to be written and synced.
    pub fn is_behind(&self) -> bool {
        let reached = &self.shared.reached;
        reached.durable.load(Ordering::Acquire) < reached.sealed.load(Ordering::Acquire)
            && reached.failure.get().is_none()
    }

    /// Writes every group that is sealed by now, and waits until it is as durable as the store's [`Durability`](crate::Durability) asks. Failure is not told
    /// here but to whoever publishes a group.
    pub fn sync(&self) {
        if !self.is_behind() {
            return;
        }
        let Ok(written) = self.shared.write_sealed() else { return };
        let reached = &self.shared.reached;
        match self.shared.sync() {
            Ok(()) => reached.note_durable(written),
            Err(error) => reached.fail(&self.shared.health, error.to_string()),
        }
    }
}

impl Reached {
    /// The number of the next group.
    pub(crate) fn next_group(&self) -> u64 {
        self.sealed.load(Ordering::Acquire) + 1
    }

    /// Takes note that a group can be written.
    pub(crate) fn note_sealed(&self, group: u64) {
        self.sealed.store(group, Ordering::Release);
    }

    /// Takes note that a group is as durable as the store promises.
    pub(crate) fn note_durable(&self, group: u64) {
        self.durable.fetch_max(group, Ordering::AcqRel);
    }

    /// What ended the first write or sync that failed.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Latches the first failure: no group that is not durable yet will ever be, and nothing more is executed.
    pub(crate) fn fail(&self, health: &HealthState, cause: String) {
        health.set_poison(&cause);
        self.failure.get_or_init(|| cause);
    }

    /// What has become of a group; `None` when it is not known yet.
    pub(crate) fn outcome(&self, group: u64) -> Option<Result<(), String>> {
        // Looked at before: a failure is of what is not durable after it.
        let failure = self.failure.get();
        if self.durable.load(Ordering::Acquire) >= group {
            return Some(Ok(()));
        }
        failure.map(|cause| Err(cause.clone()))
    }
}
