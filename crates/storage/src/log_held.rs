//! What compaction would drop and has not, because a peer may need it.
//!
//! A peer that lacks a record which is no longer in the log cannot get it by [`Store::arrivals`]; it needs the whole state. So the rows
//! of a compaction stay until every peer has what is in them, or until they take more than the budget: a peer that never
//! returns must not fill the disk. Readers see the compaction at once all the same.

use tombolo_crdt::VersionVector;

use crate::Store;

/// Bytes of the log that are held for peers unless it is said otherwise.
pub const LOG_HELD_BYTES_MAX: u64 = 4 << 30;

/// The commits that compaction has been asked to look at and has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// The next one.
    pub(crate) next: u64,
    /// The last one; below `next` when nothing is left.
    pub(crate) last: u64,
}

/// How much of the log stays for somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// Commits that compaction would have taken.
    pub commits: u64,
    /// About how many bytes their rows took when they were written.
    pub bytes: u64,
}

impl Store {
    /// Keeps the log for peers. `applied` is what all of them are known to have applied, `None` when there are none.
    ///
    /// At most [`OpenOptions::log_budget_bytes`](crate::OpenOptions::log_budget_bytes) are held, and nothing while the store
    /// refuses its clients for lack of room.
    pub fn hold_log(&self, applied: Option<VersionVector>) {
        *self.shared().applied_by_peers.lock() = applied;
    }

    /// What one that has applied `applied` holds back: what compaction would have taken and it lacks. O(log of the log).
    pub fn held_back_by(&self, applied: &VersionVector) -> HeldBack {
        let state = self.shared().state.read();
        let Held { next, last } = state.held;
        let from = next.max(state.milestones.covered(applied) + 1).max(1);
        if from > last || applied.includes(&state.frontier) {
            return HeldBack::default();
        }
        HeldBack { commits: last - from + 1, bytes: state.log_bytes(from..=last) }
    }

    /// The bytes of the log that are held for peers at most.
    pub fn log_budget(&self) -> u64 {
        self.shared().log_budget_bytes
    }
}
