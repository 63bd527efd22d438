//! Whether a store takes writes, and what latches that it does not.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::Store;

/// Whether a store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// The disk or the quota has no room, or a hand closed it; it only reads, and takes what makes room.
    NoSpace,
    /// A persist failed; it only reads until it is reopened.
    Poisoned,
}

/// Why a store takes no writes that add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The disk is nearly full. Records of other replicas are not taken either.
    Disk,
    /// The quota is used up.
    Quota,
    /// A hand closed the store.
    Closed,
}

/// The latches of a store. Every request looks at them.
#[derive(Default)]
pub(crate) struct HealthState {
    poison: OnceLock<String>,
    no_space: AtomicBool,
    over_quota: AtomicBool,
    closed: AtomicBool,
}

impl HealthState {
    /// The failure that poisoned the store.
    pub(crate) fn poison(&self) -> Option<String> {
        self.poison.get().cloned()
    }

    /// Latches the first failure, for good.
    pub(crate) fn set_poison(&self, cause: &str) {
        self.poison.get_or_init(|| cause.to_owned());
    }

    pub(crate) fn set_no_space(&self, no_space: bool) {
        self.no_space.store(no_space, Ordering::Relaxed);
    }

    /// Whether writes that add are refused because the quota is used up.
    pub(crate) fn is_over_quota(&self) -> bool {
        self.over_quota.load(Ordering::Relaxed)
    }

    pub(crate) fn set_over_quota(&self, over: bool) {
        self.over_quota.store(over, Ordering::Relaxed);
    }

    /// Whether writes that add are refused because an operator said so.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    /// Why writes that add are refused, the disk before all else.
    fn shortage(&self) -> Option<Shortage> {
        let causes = [
            (self.no_space.load(Ordering::Relaxed), Shortage::Disk),
            (self.is_over_quota(), Shortage::Quota),
            (self.is_closed(), Shortage::Closed),
        ];
        causes.into_iter().find_map(|(is_on, cause)| is_on.then_some(cause))
    }
}

impl Store {
    /// Whether the store takes writes.
    pub fn health(&self) -> Health {
        let health = &self.shared().health;
        match (health.poison.get(), health.shortage()) {
            (Some(_), _) => Health::Poisoned,
            (None, Some(_)) => Health::NoSpace,
            (None, None) => Health::Ok,
        }
    }

    /// Why the store takes no writes that add, if it does not; the disk before all else.
    pub fn shortage(&self) -> Option<Shortage> {
        self.shared().health.shortage()
    }

    /// Takes back that there is no room. When that is still so, it is found again within a housekeeping.
    pub fn forget_shortage(&self) {
        self.shared().health.set_no_space(false);
        self.shared().health.set_over_quota(false);
    }

    /// Refuses writes that add, as if there were no room, until the next call takes it back.
    pub fn close_to_writes(&self, closed: bool) {
        self.shared().health.set_closed(closed);
    }
}
