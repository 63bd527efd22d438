//! What one message does to the keys, as the policy has to know it.
//!
//! A message says so without looking at the store: which keys a lease has is found out by whoever judges.

use bytes::Bytes;
use tombolo_proto::Method;

mod kv;
mod lease;
mod plain;
mod watch;

/// A request message of a method.
pub(crate) trait Effects: Send + Sync {
    #[expect(dead_code, reason = "asked from the moment there is a policy")]
    /// The method that takes it.
    const METHOD: Method;

    /// Adds what this message reads, writes, reveals and removes, whatever comes of it: both branches of a transaction, and every comparison.
    fn effects(&self, needs: &mut Needs);
}

/// What a message needs leave for. A range is given as etcd writes it, with a key and a `range_end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    reads: Vec<(Bytes, Bytes)>,
    writes: Vec<(Bytes, Bytes)>,
    leases_written: Vec<i64>,
    leases_read: Vec<i64>,
    all_leases_read: bool,
    root: bool,
}

impl Needs {
    /// Keys that are read, or of which the answer tells anything.
    pub(crate) fn reads(&mut self, key: &Bytes, range_end: &Bytes) {
        self.reads.push((key.clone(), range_end.clone()));
    }

    /// Keys that are put or deleted.
    pub(crate) fn writes(&mut self, key: &Bytes, range_end: &Bytes) {
        self.writes.push((key.clone(), range_end.clone()));
    }

    /// A lease whose keys are decided on: it is revoked, kept alive, or gets another key. Whoever does that must be allowed to write all of them.
    pub(crate) fn writes_keys_of(&mut self, lease: i64) {
        self.leases_written.push(lease);
    }

    /// A lease whose keys are told.
    pub(crate) fn reads_keys_of(&mut self, lease: i64) {
        self.leases_read.push(lease);
    }

    /// That all leases are told of.
    pub(crate) fn reads_keys_of_all_leases(&mut self) {
        self.all_leases_read = true;
    }

    /// The role `root`.
    pub(crate) fn root(&mut self) {
        self.root = true;
    }
}
