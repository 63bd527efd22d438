//! Revisions: etcd's numbers, made so that no two replicas of a mesh ever issue the same one.
//!
//! A revision is an `i64` below 2^53: fifteen bits of *slot* (which replica counts) above thirty-eight bits of *ordinal*.
//! The mesh's first replica has slot 0 and therefore counts exactly as etcd does.

use std::fmt;

/// Bits of a revision's ordinal.
const ORDINAL_BITS: u32 = 38;
/// The first number that is no revision at all.
const LIMIT: i64 = 1 << 53;

/// Ordinal of one of a replica's etcd-visible commits, with the replica's slot above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

/// The share of the revision space in which one replica counts. Handed down with invitations, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of the mesh's first replica.
    pub const FIRST: Self = Self(0);

    /// A slot by its number; `None` when it does not fit fifteen bits.
    pub const fn new(number: u16) -> Option<Self> {
        if number < 1 << 15 { Some(Self(number)) } else { None }
    }

    /// The slot's number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The revision of an empty store in this slot. As in etcd it is 1 (in slot 0), and the first write is the next.
    pub const fn beginning(self) -> Revision {
        Revision(((self.0 as i64) << ORDINAL_BITS) | 1)
    }
}

impl Revision {
    /// Reads a revision from stored bytes or from a request; `None` when no replica can have issued it.
    pub const fn new(number: i64) -> Option<Self> {
        if number >= 0 && number < LIMIT { Some(Self(number)) } else { None }
    }

    /// The number as clients see it.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The slot in which this revision was issued.
    pub const fn slot(self) -> Slot {
        Slot((self.0 >> ORDINAL_BITS) as u16)
    }

    /// The next revision of the same slot; `None` when its ordinals are used up.
    pub const fn next(self) -> Option<Self> {
        self.after(1)
    }

    /// The revision `count` places further on in the same slot; `None` when its ordinals are used up.
    pub(crate) const fn after(self, count: u32) -> Option<Self> {
        let after = Self(self.0 + count as i64);
        if after.slot().0 == self.slot().0 { Some(after) } else { None }
    }
}

/// Whether `number`, taken from a client, is a revision that only another slot than `own` can have issued.
///
/// 0, 1 and the largest `i64` are constants that clients write ("absent", "from the beginning", "no bound"), and what
/// lies outside the revision space was issued by nobody: none of these is foreign.
pub fn is_foreign(number: i64, own: Slot) -> bool {
    match Revision::new(number) {
        Some(revision) => number > 1 && revision.slot() != own,
        None => false,
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slot_counts_as_etcd_does() {
        let empty = Slot::FIRST.beginning();
        assert_eq!(empty.get(), 1);
        assert_eq!(empty.next().map(Revision::get), Some(2));
    }

    #[test]
    fn a_slot_ends_where_the_next_begins() {
        let last = Revision::new((1 << ORDINAL_BITS) - 1).unwrap();
        assert_eq!(last.slot(), Slot::FIRST);
        assert_eq!(last.next(), None);
        assert_eq!(Slot::new(1).unwrap().beginning().get(), (1 << 38) | 1);
        assert!(Slot::new(1 << 15).is_none());
        assert!(Revision::new(LIMIT).is_none());
    }

    #[test]
    fn constants_are_never_foreign() {
        let other = Slot::new(3).unwrap();
        for constant in [i64::MIN, -1, 0, 1, LIMIT, i64::MAX] {
            assert!(!is_foreign(constant, other), "{constant}");
        }
        assert!(is_foreign(2, other));
        assert!(is_foreign(other.beginning().get(), Slot::FIRST));
        assert!(!is_foreign(other.beginning().get(), other));
    }
}
