//! What one message does to the keys, as the policy has to know it.
//!
//! A message says so without looking at the store: which keys a lease has is found out by whoever judges.

use bytes::Bytes;
use tombolo_auth::{Concerned, Span};
use tombolo_proto::Method;

pub(crate) use self::lease::{KeysDecided, KeysTold};

mod auth;
#[cfg(test)]
mod contracts;
mod kv;
mod lease;
mod lock;
mod plain;
#[cfg(test)]
mod tests;
mod watch;

/// A request message of a method.
pub(crate) trait Effects: Send + Sync {
    /// The method that takes it; one of them, where several take it under the same rule.
    const METHOD: Method;

    /// Adds what this message reads, writes, reveals and removes, whatever comes of it: both branches of a transaction, and every comparison.
    fn effects(&self, reach: &mut Reach);
}

/// How far a message reaches. A range is given as etcd writes it, with a key and a `range_end`, and is turned here into the one interval type of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(super) read: Vec<Span>,
    pub(super) write: Vec<Span>,
    /// Leases, whose keys have to be found.
    pub(super) leases: Vec<Held>,
    /// What is asked beside rights on keys.
    pub(super) asks: Option<Asks>,
}

/// Keys that are held by leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The keys of this lease are read.
    Read(i64),
    /// The keys of this lease are decided on.
    Write(i64),
    /// The keys of all leases are read.
    ReadAll,
}

/// What a message asks of its sender beside rights on keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Root,
    RootOr(Concerned),
}

impl Reach {
    /// Keys that are read, or of which the answer tells anything.
    pub(crate) fn reads(&mut self, key: &Bytes, range_end: &Bytes) {
        self.read.push(Span::of(key.clone(), range_end.clone()));
    }

    /// Keys that are put or deleted.
    pub(crate) fn writes(&mut self, key: &Bytes, range_end: &Bytes) {
        self.write.push(Span::of(key.clone(), range_end.clone()));
    }

    /// A lease whose keys are decided on: it is revoked, kept alive, or gets another key. Whoever does that must be allowed to write all of them.
    pub(crate) fn writes_keys_of(&mut self, lease: i64) {
        self.leases.push(Held::Write(lease));
    }

    /// A lease whose keys are told.
    pub(crate) fn reads_keys_of(&mut self, lease: i64) {
        self.leases.push(Held::Read(lease));
    }

    /// That all leases are told of.
    pub(crate) fn reads_keys_of_all_leases(&mut self) {
        self.leases.push(Held::ReadAll);
    }

    /// The role `root`.
    pub(crate) fn root(&mut self) {
        self.asks = Some(Asks::Root);
    }

    /// The role `root`, or to be the one it is about.
    pub(crate) fn root_or(&mut self, concerned: Concerned) {
        self.asks = Some(Asks::RootOr(concerned));
    }
}
