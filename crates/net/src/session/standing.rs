//! Where this replica stands, as its sessions are told: everything of one durable moment.

use std::collections::BTreeMap;

use tombolo_crdt::{Chain, ReplicaId, VersionVector};

/// A moment of a monotonic clock, in milliseconds. Whose clock it is and when it began does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// Where a replica stands. What is in here is durable, so that none of it is ever taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The number of the last commit.
    pub commit: u64,
    /// Everything applied.
    pub frontier: VersionVector,
    /// The chain of each author's last record in the frontier.
    pub chains: BTreeMap<ReplicaId, Chain>,
    /// The digest of the replicated state at the frontier.
    pub digest: u128,
    /// What a peer must have applied for the log to be complete for it.
    pub floor: VersionVector,
}

impl Moment {
    pub(crate) fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, 0 when it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Standing {
    /// The chain at the last record of `replica`; [`Chain::BEGINNING`], which no record has, when it is not known.
    pub(crate) fn chain(&self, replica: ReplicaId) -> Chain {
        self.chains.get(&replica).copied().unwrap_or(Chain::BEGINNING)
    }
}
