//! Whose work a store goes on with: the replicas that its folder was before, or was restored from, and the numbers they gave out.
//!
//! What a store holds was counted by its forebears: their revisions up to the last that it holds for certain are its past, and compare as its
//! own do. What a forebear gave out after that is lost here; such a number is nobody's, like one of another slot. A restored store counts in a
//! higher slot; a successor in the same folder counts in the same one, above everything that its predecessor may have given out.

use std::sync::Arc;

use tombolo_crdt::{ReplicaId, mutation::Mutation};

use crate::{Revision, Slot, is_foreign};

/// One of the replicas that a store was, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forebear {
    pub(crate) replica: ReplicaId,
    /// Where it began to count.
    pub(crate) first: Revision,
    /// The last revision of it that the store holds.
    pub(crate) last: Revision,
}

/// A replica of the same mesh that a folder was before, and is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Who it was.
    pub replica: ReplicaId,
    /// What it lost its name for, in a word: see [`IdentityLoss::word`](crate::IdentityLoss::word).
    pub cause: String,
}

/// The forebears of a store. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The oldest first.
    forebears: Arc<[Forebear]>,
    /// The replicas whose leases it counts now: its forebears, and those of a mesh that it is not in any more.
    bequeathers: Arc<[ReplicaId]>,
    /// Those of its forebears that were in its mesh, in this folder; the oldest first.
    predecessors: Arc<[Predecessor]>,
}

/// Which numbers a store has given out, or its forebears have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The share of the revision space in which it counts.
    pub(crate) slot: Slot,
    /// Where it begins to count there: the revision that it has before its first write.
    pub(crate) begins: Revision,
    pub(crate) lineage: Lineage,
}

impl Lineage {
    pub(crate) fn new(forebears: Vec<Forebear>, bequeathers: Vec<ReplicaId>, predecessors: Vec<Predecessor>) -> Self {
        Self { forebears: forebears.into(), bequeathers: bequeathers.into(), predecessors: predecessors.into() }
    }

    pub(crate) fn forebears(&self) -> &[Forebear] {
        &self.forebears
    }

    pub(crate) fn bequeathers(&self) -> &[ReplicaId] {
        &self.bequeathers
    }

    pub(crate) fn predecessors(&self) -> &[Predecessor] {
        &self.predecessors
    }

    /// Whether the leases of this replica are counted here now.
    pub(crate) fn inherits_from(&self, replica: ReplicaId) -> bool {
        self.bequeathers.contains(&replica) && !Mutation::LeasesLeftBehind.is_on()
    }

    fn counted(&self, number: i64) -> bool {
        self.forebears.iter().any(|forebear| (forebear.first.get()..=forebear.last.get()).contains(&number))
    }
}

impl Numbers {
    /// Whether `number`, taken from a client, is a revision that nobody gave out whose past this store has. See [`is_foreign`].
    pub(crate) fn is_foreign(&self, number: i64) -> bool {
        let is_constant = number <= 1 || Revision::new(number).is_none();
        let is_ours = !is_foreign(number, self.slot) && number >= self.begins.get();
        !is_constant && !is_ours && !self.lineage.counted(number)
    }

    /// Whether somebody of this past began to count elsewhere than at the beginning of a slot.
    pub(crate) fn has_gaps(&self) -> bool {
        let firsts = self.lineage.forebears.iter().map(|forebear| forebear.first);
        firsts.chain([self.begins]).any(|first| first != first.slot().beginning())
    }

    /// The revision with which the history of this store begins.
    pub(crate) fn beginning(&self) -> Revision {
        self.lineage.forebears.first().map_or(self.begins, |oldest| oldest.first)
    }
}

impl From<Slot> for Numbers {
    fn from(slot: Slot) -> Self {
        Self { slot, begins: slot.beginning(), lineage: Lineage::default() }
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
        let forebear = |id, last: Revision| {
            let first = last.slot().beginning();
            Forebear { replica: ReplicaId::new(id).unwrap(), first, last }
        };
        let lineage = Lineage::new(vec![forebear(1, at(0, 9)), forebear(2, at(4, 2))], Vec::new(), Vec::new());
        let numbers = Numbers { lineage, ..slot(7).into() };
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

    #[test]
    fn between_what_a_predecessor_left_and_where_its_successor_begins_numbers_are_nobodys() {
        let at = |more: i64| Revision::new(Slot::FIRST.beginning().get() + more).unwrap();
        let forebear = |id, first, last| Forebear { replica: ReplicaId::new(id).unwrap(), first, last };
        let forebears = vec![forebear(1, at(0), at(9)), forebear(2, at(100), at(109))];
        let numbers = Numbers { begins: at(200), lineage: Lineage::new(forebears, vec![], vec![]), ..slot(0).into() };
        for known in [1, 5, 9, 100, 109, 200, 201, 1_000_000] {
            assert!(!numbers.is_foreign(at(known).get()), "{known}");
        }
        for lost in [10, 99, 110, 199] {
            assert!(numbers.is_foreign(at(lost).get()), "{lost}");
        }
        assert_eq!(numbers.beginning(), at(0));
    }
}
