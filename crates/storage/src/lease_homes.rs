//! Who counts the leases of whom, where an operator has said that it is somebody else than the replica that granted them.
//!
//! What lies here is told from outside and lost at the end: whoever opens a store tells it again.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use tombolo_crdt::ReplicaId;

use crate::{Store, lineage::Lineage};

/// The homes that have moved. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseHomes(Arc<RwLock<BTreeMap<ReplicaId, ReplicaId>>>);

impl LeaseHomes {
    /// Where the leases that `granted` granted are counted, as far as was told.
    pub(crate) fn home(&self, granted: ReplicaId) -> ReplicaId {
        self.0.read().get(&granted).copied().unwrap_or(granted)
    }

    /// Whether they are counted by `own`, which goes on with the work of its `lineage`.
    pub(crate) fn is_home(&self, own: ReplicaId, granted: ReplicaId, lineage: &Lineage) -> bool {
        match self.0.read().get(&granted) {
            Some(heir) => *heir == own,
            None => granted == own || lineage.inherits_from(granted),
        }
    }
}

impl Store {
    /// Says for which replicas another one counts the leases: by who granted them, who counts them. Who is not named counts its
    /// own. [`leases`](Self::leases) tells which are counted here from now on.
    pub fn set_lease_homes(&self, homes: BTreeMap<ReplicaId, ReplicaId>) {
        *self.shared().lease_homes.0.write() = homes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_counted_by_whoever_was_named_and_otherwise_at_home() {
        let [own, gone, old, other] = [1, 2, 3, 4].map(|bits| ReplicaId::new(bits).unwrap());
        let lineage = Lineage::new(Vec::new(), vec![old], Vec::new());
        let homes = LeaseHomes::default();
        let counted = |homes: &LeaseHomes| [own, gone, old, other].map(|granted| homes.is_home(own, granted, &lineage));
        assert_eq!(counted(&homes), [true, false, true, false]);
        *homes.0.write() = [(gone, own), (old, other)].into();
        assert_eq!(counted(&homes), [true, true, false, false]);
        assert_eq!([own, gone, old, other].map(|granted| homes.home(granted)), [own, own, other, other]);
        *homes.0.write() = [(own, other)].into();
        assert_eq!(counted(&homes), [false, false, true, false], "given away");
    }
}
