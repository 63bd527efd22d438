//! Planning an imported transaction: the operations that it comes to.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use tombolo_crdt::{Hlc, LeaseRef, Operation, RangeRemove, ReplicaId};

use crate::{
    ImportFault, ImportedLease, ImportedPair, ImportedTransaction, KeyRange, RequestError, SystemWrite,
    index::own_key,
    plan::{NAMED_REMOVALS_MAX, Plan, layer_of},
    row::commit::Layer,
    view::Rows,
};

/// The home of leases that have ended: nobody is it, so that nobody grants them and nobody looks for what they hold.
const NOWHERE: ReplicaId = match ReplicaId::new(u64::MAX) {
    Some(id) => id,
    None => unreachable!(),
};

impl<R: Rows + ?Sized> Plan<'_, R> {
    /// Plans a transaction. Of many removals, those of keys without another between them are named by their range.
    pub(crate) fn import(&mut self, transaction: ImportedTransaction) -> Result<(), RequestError> {
        let revision = transaction.revision;
        let mut runs = self.runs(&transaction);
        let run_of: HashMap<Bytes, usize> =
            runs.iter().enumerate().flat_map(|(at, run)| run.keys.iter().map(move |key| (key.clone(), at))).collect();
        for change in transaction.changes {
            let key = change.key;
            match change.pair {
                Some(ImportedPair { value, lease, .. }) => {
                    let supersedes = self.supersede(self.index.get(&key));
                    let lease = self.imported_lease(lease);
                    self.draft.push(layer_of(&key), Operation::Put { key, value, lease, supersedes });
                }
                None => match run_of.get(&key).and_then(|&at| runs.get_mut(at)) {
                    Some(run) => {
                        self.draft.floor = self.draft.floor.max(run.floor);
                        if let Some(removal) = run.take() {
                            self.draft.push(Layer::Mesh, Operation::RangeRemove(removal));
                        }
                    }
                    None => {
                        let elements = self.supersede(self.index.get(&key));
                        if elements.is_empty() {
                            return Err(ImportFault::Absent { revision }.into());
                        }
                        self.draft.push(layer_of(&key), Operation::Remove { key, elements });
                    }
                },
            }
        }
        Ok(())
    }

    /// Plans to write or to remove a datum of the import's own.
    pub(crate) fn import_mark(&mut self, key: &Bytes, value: Option<Bytes>) -> Result<(), RequestError> {
        let key = key.clone();
        self.system(vec![match value {
            Some(value) => SystemWrite::Put { key, value },
            None => SystemWrite::Remove { key },
        }])
    }

    fn imported_lease(&self, lease: ImportedLease) -> Option<LeaseRef> {
        match lease {
            ImportedLease::None => None,
            ImportedLease::Live(id) => Some(LeaseRef { home: self.head.mesh.own(), id }),
            ImportedLease::Ended(id) => Some(LeaseRef { home: NOWHERE, id }),
        }
    }

    /// The stretches of keys that are all removed, and of the mesh layer: a range may name no others. Few keys make none.
    fn runs(&self, transaction: &ImportedTransaction) -> Vec<Run> {
        let removed = transaction.changes.iter().filter(|change| change.pair.is_none());
        let removed: BTreeSet<&Bytes> = removed.map(|change| &change.key).collect();
        let (Some(first), Some(last)) = (removed.first(), removed.last()) else { return Vec::new() };
        if removed.len() <= NAMED_REMOVALS_MAX {
            return Vec::new();
        }
        let mut runs = vec![Run::default()];
        let range = KeyRange::before(own_key(first), after(last));
        for (key, entry) in self.index.range(&range).filter(|(_, entry)| !entry.register.is_empty()) {
            let newest = entry.register.siblings().map(|(_, sibling)| sibling.hlc).max().unwrap_or_default();
            let key = own_key(key);
            match runs.last_mut() {
                Some(run) if removed.contains(&key) && layer_of(&key) == Layer::Mesh => run.push(key, newest),
                _ => runs.push(Run::default()),
            }
        }
        runs.retain(|run| run.keys.len() > NAMED_REMOVALS_MAX);
        runs
    }
}

/// Keys that are removed by their range.
#[derive(Default)]
struct Run {
    keys: Vec<Bytes>,
    /// The newest stamp among what they hold.
    floor: Hlc,
    is_planned: bool,
}

impl Run {
    fn push(&mut self, key: Bytes, newest: Hlc) {
        self.keys.push(key);
        self.floor = self.floor.max(newest);
    }

    /// The removal, for whoever asks first.
    fn take(&mut self) -> Option<RangeRemove> {
        let (first, last) = (self.keys.first()?, self.keys.last()?);
        let is_first = !std::mem::replace(&mut self.is_planned, true);
        is_first.then(|| RangeRemove { start: first.clone(), end: Some(after(last)) })
    }
}

/// The first key beyond this one.
fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
