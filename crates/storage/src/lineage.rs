//! Whose work a store goes on with: the replicas of the folders that it was restored from, and the numbers they gave out.
//!
//! A restored store has an identity of its own and counts in a higher slot. What it holds was counted by its forebears: their
//! revisions up to the snapshot are its past, and compare as its own do. What a forebear gave out after that snapshot is lost here;
//! such a number is nobody's, like one of another slot.

use std::sync::Arc;

use tombolo_crdt::ReplicaId;

use crate::{Revision, Slot, is_foreign};

/// One of the replicas that a store was, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forebear {
    pub(crate) replica: ReplicaId,
    /// The last revision of it that the store holds.
    pub(crate) last: Revision,
}

/// The forebears of a store. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The oldest first.
    forebears: Arc<[Forebear]>,
    /// The replicas whose leases it counts now: its forebears, and those of their mesh, which are not of its own.
    bequeathers: Arc<[ReplicaId]>,
}

/// Which numbers a store has given out, or its forebears have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The share of the revision space in which it counts.
    pub(crate) slot: Slot,
    pub(crate) lineage: Lineage,
}

impl Lineage {
    pub(crate) fn new(forebears: Vec<Forebear>, bequeathers: Vec<ReplicaId>) -> Self {
        Self { forebears: forebears.into(), bequeathers: bequeathers.into() }
    }

    pub(crate) fn forebears(&self) -> &[Forebear] {
        &self.forebears
    }

    pub(crate) fn bequeathers(&self) -> &[ReplicaId] {
        &self.bequeathers
    }

    /// Whether the leases of this replica are counted here now.
    pub(crate) fn inherits_from(&self, replica: ReplicaId) -> bool {
        self.bequeathers.contains(&replica)
    }

    fn counted(&self, number: i64) -> bool {
        let holds = |forebear: &Forebear| !is_foreign(number, forebear.last.slot()) && number <= forebear.last.get();
        self.forebears.iter().any(holds)
    }
}

impl Numbers {
    /// Whether `number`, taken from a client, is a revision that nobody gave out whose past this store has. See [`is_foreign`].
    pub(crate) fn is_foreign(&self, number: i64) -> bool {
        is_foreign(number, self.slot) && !self.lineage.counted(number)
    }

    /// The revision with which the history of this store begins.
    pub(crate) fn beginning(&self) -> Revision {
        self.lineage.forebears.first().map_or(self.slot, |oldest| oldest.last.slot()).beginning()
    }
}

impl From<Slot> for Numbers {
    fn from(slot: Slot) -> Self {
        Self { slot, lineage: Lineage::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn the_past_is_known_up_to_the_snapshot_and_what_came_after_it_is_nobodys() {
        let at = |number: u16, more: i64| Revision::new(slot(number).beginning().get() + more).unwrap();
        let forebear = |id, last| Forebear { replica: ReplicaId::new(id).unwrap(), last };
        let lineage = Lineage::new(vec![forebear(1, at(0, 9)), forebear(2, at(4, 2))], Vec::new());
        let numbers = Numbers { slot: slot(7), lineage };
        for known in [at(0, 5), at(0, 9), at(4, 2), at(7, 0), at(7, 1_000)] {
            assert!(!numbers.is_foreign(known.get()), "{known}");
        }
        for foreign in [at(0, 10), at(4, 3), at(3, 0), at(8, 0)] {
            assert!(numbers.is_foreign(foreign.get()), "{foreign}");
        }
        for constant in [i64::MIN, 0, 1, i64::MAX] {
            assert!(!numbers.is_foreign(constant));
        }
        assert_eq!(numbers.beginning(), Slot::FIRST.beginning());
        assert_eq!(Numbers::from(slot(7)).beginning(), at(7, 0));
    }
}
