//! What reads and requests answer.

use bytes::Bytes;

use crate::Revision;

/// A key with its value and its counts, as etcd clients see it at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty when a read asked for keys only.
    pub value: Bytes,
    /// Revision at which the key came to be.
    pub create_revision: i64,
    /// Revision of the write shown here.
    pub mod_revision: i64,
    /// Writes since creation, from 1.
    pub version: i64,
    /// Attached lease, 0 for none.
    pub lease: i64,
}

/// The answer to a range read.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAnswer {
    /// The store's current revision, also when an older one was read.
    pub revision: Revision,
    /// The pairs, in the order asked for.
    pub pairs: Vec<KeyValue>,
    /// Whether the limit cut the answer.
    pub more: bool,
    /// Keys in the range at the revision read, whatever limit and filters.
    pub count: i64,
}

/// The answer to one request to the committer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The store's revision after the request. It holds once the batch is committed.
    pub revision: Revision,
    /// What the request asked for.
    pub outcome: Outcome,
}

/// The kind-specific part of an [`Answer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Of a put.
    Put(PutAnswer),
    /// Of a delete.
    Delete(DeleteAnswer),
    /// Of a transaction.
    Txn(TxnAnswer),
    /// Of a compaction.
    Compacted,
    /// Of a lease grant.
    LeaseGranted,
    /// Of a lease revocation.
    LeaseRevoked,
    /// Of writes of the system's data.
    System,
    /// Of a step of an import.
    Imported,
    /// Keys attached to a lease, ascending.
    LeaseKeys(Vec<Bytes>),
    /// Of entering a part of a tail.
    Entered(Entered),
}

/// What became of the writes of a tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// Keys that were written.
    pub put: u64,
    /// Keys that were removed, or lost what their author had seen.
    pub removed: u64,
    /// Keys that something later stands under, or that are gone already.
    pub outdone: u64,
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq)]
pub struct PutAnswer {
    /// The pair that was replaced, when asked for and there was one.
    pub previous: Option<KeyValue>,
}

/// The answer to a delete.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteAnswer {
    /// Keys removed.
    pub deleted: i64,
    /// The pairs that were removed, in key order, when asked for.
    pub previous: Vec<KeyValue>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnAnswer {
    /// Whether the guards held.
    pub succeeded: bool,
    /// One answer for each step of the branch that ran.
    pub results: Vec<OpAnswer>,
}

/// The answer to one step of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum OpAnswer {
    /// Of a read.
    Range(RangeAnswer),
    /// Of a put.
    Put(PutAnswer),
    /// Of a delete.
    Delete(DeleteAnswer),
    /// Of a nested transaction.
    Txn(TxnAnswer),
}
