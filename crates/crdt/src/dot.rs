//! Names of records and of the things records add.

use std::fmt;

use crate::ReplicaId;

/// Names one record for ever: the `seq`-th of its replica, dense from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The author.
    pub replica: ReplicaId,
    /// The author's ordinal, from 1 to [`Dot::SEQ_MAX`]. Not comparable across replicas.
    pub seq: u64,
}

/// Names one thing that a record added: the `index`-th of it, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The record.
    pub dot: Dot,
    /// Ordinal among what the record added.
    pub index: u32,
}

impl Dot {
    /// The highest seq. The next one still fits a `u64`, and this one a signed integer: counting on from a seq that somebody
    /// else sent overflows nowhere.
    pub const SEQ_MAX: u64 = i64::MAX as u64;

    /// The dot of a replica's `seq`-th record.
    pub const fn new(replica: ReplicaId, seq: u64) -> Self {
        Self { replica, seq }
    }

    /// The `index`-th element of this record.
    pub const fn element(self, index: u32) -> Element {
        Element { dot: self, index }
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.replica, self.seq)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.dot, self.index)
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
