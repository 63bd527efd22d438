//! Who counts the leases of whom, where an operator has said that it is somebody else than the replica that granted them.
//!
//! What lies here is told from outside and lost at the end: whoever opens a store tells it again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::RwLock;
use tombolo_crdt::ReplicaId;

use crate::{Store, lineage::Lineage};

/// The homes that have moved. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseHomes(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    homes: RwLock<BTreeMap<ReplicaId, ReplicaId>>,
    /// Whether the committer has not looked yet at what that makes it responsible for.
    is_news: AtomicBool,
}

impl LeaseHomes {
    fn tell(&self, homes: BTreeMap<ReplicaId, ReplicaId>) {
        *self.0.homes.write() = homes;
        // After the homes: who sees the one has the other.
        self.0.is_news.store(true, Ordering::Release);
    }

    /// Whether homes have moved since this was asked last.
    pub(crate) fn take_news(&self) -> bool {
        self.0.is_news.swap(false, Ordering::AcqRel)
    }

    /// Where the leases that `granted` granted are counted, as far as was told.
    pub(crate) fn home(&self, granted: ReplicaId) -> ReplicaId {
        self.0.homes.read().get(&granted).copied().unwrap_or(granted)
    }

    /// Whether they are counted by `own`, which goes on with the work of its `lineage`.
    pub(crate) fn is_home(&self, own: ReplicaId, granted: ReplicaId, lineage: &Lineage) -> bool {
        match self.0.homes.read().get(&granted) {
            Some(heir) => *heir == own,
            None => granted == own || lineage.inherits_from(granted),
        }
    }
}

impl Store {
    /// Says for which replicas another one counts the leases: by who granted them, who counts them. Who is not named counts its
    /// own. [`leases`](Self::leases) tells which are counted here from now on.
    pub fn set_lease_homes(&self, homes: BTreeMap<ReplicaId, ReplicaId>) {
        self.shared().lease_homes.tell(homes);
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
        homes.tell([(gone, own), (old, other)].into());
        assert_eq!(counted(&homes), [true, true, false, false]);
        assert_eq!([own, gone, old, other].map(|granted| homes.home(granted)), [own, own, other, other]);
        homes.tell([(own, other)].into());
        assert_eq!(counted(&homes), [false, false, true, false], "given away");
    }
}
