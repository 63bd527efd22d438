//! What watchers are told: commits and their events, in the order of this replica's linear history.

use bytes::Bytes;

use crate::{KeyValue, Revision};

/// One published commit as watchers see it. A transaction is one commit: it is delivered whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// This replica's ordinal of the commit, dense from 1.
    pub number: u64,
    /// The revision after the commit. It is this commit's own when `events` is not empty.
    pub revision: Revision,
    /// What changed for etcd clients, in the order of the transaction; at most one event for each key.
    pub events: Vec<Event>,
    /// What changed among the leases.
    pub leases: Vec<LeaseChange>,
    /// The keys of the system's data that changed.
    pub system: Vec<Bytes>,
}

/// A change of one key at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key has this value now.
    Put(KeyValue),
    /// The key is gone.
    Delete {
        /// The key.
        key: Bytes,
        /// Revision of the removal.
        revision: Revision,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(pair) => &pair.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision at which it changed.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(pair) => pair.mod_revision,
            Self::Delete { revision, .. } => revision.get(),
        }
    }
}

/// A lease that came to be or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// A lease whose home is this replica was granted.
    Granted {
        /// The lease's number.
        id: i64,
        /// Seconds to live.
        ttl_s: i64,
    },
    /// A lease is gone.
    Ended {
        /// The lease's number.
        id: i64,
    },
}
