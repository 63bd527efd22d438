//! The name of a replica: one data folder with its own log, the author of dots.

use std::{fmt, num::NonZeroU64};

/// Names one replica for ever: 64 random bits, never 0, never reused.
///
/// A restored backup or a copied folder is another replica and has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(NonZeroU64);

impl ReplicaId {
    /// Bytes of the canonical encoding, big-endian.
    pub const LEN: usize = 8;

    /// An id from stored or random bits; `None` for 0, which names nobody.
    pub const fn new(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// The id's bits.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:016x}", self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
