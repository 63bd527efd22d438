//! What a client may ask of the committer: intents, before they meet state.
//!
//! These are local only; what is logged and shipped is the record that executing them yields. The shapes are etcd's,
//! the limits on counts and sizes are the server's to check before a request comes here.

use bytes::Bytes;

use crate::{Import, KeyRange, TailWrite};

/// One request to the committer.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Writes one key.
    Put(Put),
    /// Removes every key of a range.
    Delete(Delete),
    /// Evaluates guards and runs one of two branches, as one unit.
    Txn(Transaction),
    /// Forgets history below a revision, at this replica.
    Compact {
        /// The oldest revision that stays readable.
        revision: i64,
    },
    /// Brings a lease into being, with this replica as its home.
    LeaseGrant {
        /// The lease's number, not 0.
        id: i64,
        /// Seconds to live.
        ttl_s: i64,
    },
    /// Ends a lease and removes the elements attached to it that this replica holds.
    LeaseRevoke {
        /// The lease's number.
        id: i64,
    },
    /// The same, if nothing is attached to the lease but these keys: whoever may remove those may not remove what has come since they looked.
    LeaseRevokeOf {
        /// The lease's number.
        id: i64,
        /// All keys that may be attached to it, ascending.
        keys: Vec<Bytes>,
    },
    /// Writes the system's own data, as one record. It takes no revision.
    System(Vec<SystemWrite>),
    /// Enters writes from another replica's tail as writes of our own, and with them, in the same record, what says so.
    Enter {
        /// The writes.
        writes: Vec<TailWrite>,
        /// Those of the system's own data.
        system: Vec<TailWrite>,
        /// The system's data that is written with them.
        mark: Vec<SystemWrite>,
    },
    /// Carries out one step of an import.
    Import(Box<Import>),
    /// Lists the keys attached to a lease, in key order.
    LeaseKeys {
        /// The lease's number.
        id: i64,
    },
}

/// A write of the system's own data. It replaces every value of the key that this replica holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemWrite {
    /// Writes a key.
    Put {
        /// The key, at most [`SYSTEM_KEY_BYTES_MAX`](tombolo_crdt::SYSTEM_KEY_BYTES_MAX).
        key: Bytes,
        /// The value, at most [`SYSTEM_VALUE_BYTES_MAX`](tombolo_crdt::SYSTEM_VALUE_BYTES_MAX).
        value: Bytes,
    },
    /// Removes a key, if it is there.
    Remove {
        /// The key.
        key: Bytes,
    },
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// The key, not empty.
    pub key: Bytes,
    /// The new value; `None` keeps the one there is (etcd's `ignore_value`).
    pub value: Option<Bytes>,
    /// The lease to attach, 0 for none; `None` keeps the one there is (etcd's `ignore_lease`).
    pub lease: Option<i64>,
    /// Whether to answer with the pair that this write replaces.
    pub previous: bool,
}

/// A removal of every key in a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// The keys to remove.
    pub range: KeyRange,
    /// Whether to answer with the pairs that were removed.
    pub previous: bool,
}

/// Guards and two branches. All guards hold on the state before the transaction: `then` runs, else `otherwise`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    /// The conditions, all of which must hold.
    pub guards: Vec<Guard>,
    /// Runs when every guard holds.
    pub then: Vec<Op>,
    /// Runs when one does not.
    pub otherwise: Vec<Op>,
}

/// One step of a transaction's branch.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Reads, seeing the writes of the steps before.
    Range(RangeQuery),
    /// Writes one key.
    Put(Put),
    /// Removes a range.
    Delete(Delete),
    /// A nested transaction; its guards too are judged on the state before the outermost one.
    Txn(Transaction),
}

/// A condition on every key of a range. A key that does not exist compares as all zeros; it has no value, so that a
/// comparison of its value never holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The keys it speaks of.
    pub range: KeyRange,
    /// What is compared, and with what.
    pub operand: Operand,
    /// How it is compared.
    pub comparison: Comparison,
}

/// The compared field and the client's side of the comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Writes since creation.
    Version(i64),
    /// Revision of creation.
    CreateRevision(i64),
    /// Revision of the last write.
    ModRevision(i64),
    /// The value.
    Value(Bytes),
    /// The attached lease.
    Lease(i64),
}

/// How a stored field stands to the client's operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// stored = operand
    Equal,
    /// stored ≠ operand
    NotEqual,
    /// stored > operand
    Greater,
    /// stored < operand
    Less,
}

/// A read of a range, with etcd's options.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeQuery {
    /// The keys to read.
    pub range: KeyRange,
    /// At most so many pairs; 0 or less: all.
    pub limit: i64,
    /// The revision to read at; 0 or less: the current one.
    pub revision: i64,
    /// The order of the answer.
    pub order: Order,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Only pairs modified at or after this revision; 0: no bound.
    pub min_mod_revision: i64,
    /// Only pairs modified at or before this revision; 0: no bound.
    pub max_mod_revision: i64,
    /// Only pairs created at or after this revision; 0: no bound.
    pub min_create_revision: i64,
    /// Only pairs created at or before this revision; 0: no bound.
    pub max_create_revision: i64,
}

impl RangeQuery {
    /// Reads all of `range` at the current revision, in key order.
    pub fn all(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            order: Order::Key,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

/// The order of a range's answer. Pairs that compare equal stay in key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ascending by key: as stored, the only order under which a limit saves work.
    Key,
    /// By a field, in a direction.
    By {
        /// The field.
        target: SortTarget,
        /// Greatest first.
        descending: bool,
    },
}

/// A field to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    Key,
    /// Writes since creation.
    Version,
    /// Revision of creation.
    CreateRevision,
    /// Revision of the last write.
    ModRevision,
    /// The value.
    Value,
}
