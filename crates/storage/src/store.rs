//! The reading side of a store.

use std::path::Path;

use tombolo_crdt::ReplicaId;

use crate::{Commit, Committer, KeyRange, KeyValue, OpenError, OpenOptions, RangeAnswer, RangeQuery, ReadError, Revision, Slot};

/// Names a mesh for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeshId(pub u128);

/// Who a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The mesh it belongs to.
    pub mesh: MeshId,
    /// The replica it is.
    pub replica: ReplicaId,
    /// The share of the revision space in which it counts.
    pub slot: Slot,
}

/// What readers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The last visible commit.
    pub commit: u64,
    /// The revision after it.
    pub revision: Revision,
    /// The revision of the last compaction, -1 when there was none.
    pub compacted: i64,
}

/// How much history one call may return.
#[derive(Clone, Copy, Debug)]
pub struct HistoryBudget {
    /// Commits looked at, matching or not.
    pub commits: usize,
    /// Bytes of keys and values returned; one commit may exceed it.
    pub bytes: usize,
}

/// A stretch of history.
#[derive(Clone, Debug)]
pub struct HistoryChunk {
    /// The commits with matching events, in order, with those events alone.
    pub commits: Vec<Commit>,
    /// The first revision that was not looked at.
    pub next: i64,
}

/// Whether a store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// The disk has no room; it only reads.
    NoSpace,
    /// A persist failed; it only reads until it is reopened.
    Poisoned,
}

/// How large a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the folder on disk.
    pub disk_bytes: u64,
    /// Bytes of it in use.
    pub in_use_bytes: u64,
    /// Keys that exist.
    pub keys: u64,
}

/// The reading side of a store.
#[derive(Clone)]
pub struct Store {}

#[expect(unused_variables, missing_docs, clippy::unimplemented, clippy::missing_errors_doc, reason = "signatures first")]
impl Store {
    pub fn open(path: &Path, options: &OpenOptions) -> Result<(Self, Committer), OpenError> {
        unimplemented!()
    }
    pub fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        unimplemented!()
    }
    pub fn previous(&self, key: &[u8], revision: Revision) -> Result<Option<KeyValue>, ReadError> {
        unimplemented!()
    }
    pub fn history(&self, from: i64, range: &KeyRange, budget: HistoryBudget) -> Result<HistoryChunk, ReadError> {
        unimplemented!()
    }
    pub fn published(&self) -> Published {
        unimplemented!()
    }
    pub fn identity(&self) -> Identity {
        unimplemented!()
    }
    pub fn leases(&self) -> Vec<(i64, i64)> {
        unimplemented!()
    }
    pub fn digest(&self) -> u128 {
        unimplemented!()
    }
    pub fn health(&self) -> Health {
        unimplemented!()
    }
    pub fn sizes(&self) -> Sizes {
        unimplemented!()
    }
}
