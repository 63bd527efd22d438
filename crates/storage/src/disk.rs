//! How far the log has come on its way to the disk.
//!
//! Groups are numbered as they are written, which is also the order in which they are published. One sync covers every group that
//! was written before it began, and the next may begin while that one's groups have not been published.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    Durability,
    store::{HealthState, Shared},
};

/// Brings groups to the disk: a cheap clone, for any thread. See [`Group`](crate::Group).
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// How far groups have come.
#[derive(Default)]
pub(crate) struct Reached {
    /// The last group that the engine has.
    written: AtomicU64,
    /// The last group that is as durable as the store promises.
    durable: AtomicU64,
    /// What ended the first sync that failed.
    failure: OnceLock<String>,
}

impl Disk {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// Whether there is a group to be synced.
    pub fn is_behind(&self) -> bool {
        let reached = &self.shared.reached;
        reached.durable.load(Ordering::Acquire) < reached.written.load(Ordering::Acquire)
            && reached.failure.get().is_none()
    }

    /// Waits until every group that is written by now is as durable as the store's [`Durability`] asks. Failure is not told here but
    /// to whoever publishes a group.
    pub fn sync(&self) {
        let reached = &self.shared.reached;
        let written = reached.written.load(Ordering::Acquire);
        if !self.is_behind() {
            return;
        }
        match self.shared.engine.persist() {
            Ok(()) => drop(reached.durable.fetch_max(written, Ordering::AcqRel)),
            Err(error) => reached.fail(&self.shared.health, error.to_string()),
        }
    }
}

impl Reached {
    /// Takes note that the engine has one more group, and returns its number.
    pub(crate) fn note_written(&self, durability: Durability) -> u64 {
        let group = self.written.load(Ordering::Acquire) + 1;
        if durability.is_weak() {
            self.durable.store(group, Ordering::Release);
        }
        self.written.store(group, Ordering::Release);
        group
    }

    /// Latches the first failure: no group that is not durable yet will ever be, and nothing more is executed.
    fn fail(&self, health: &HealthState, cause: String) {
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
