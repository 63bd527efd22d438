//! Planning what is entered from another replica's tail, as writes of our own.
//!
//! A write yields to what is later here and was not seen by its author, as it would have, had it come in time. A removal removes what
//! its author had seen, and nothing else.

use std::collections::BTreeSet;

use tombolo_crdt::{Element, Hlc, Operation, Stamp};

use super::{Plan, layer_of};
use crate::{Entered, RequestError, SystemWrite, TailWrite, row::commit::Layer, view::Rows};

/// What is to become of one key.
enum Fate {
    Put(Vec<Element>),
    Remove(Vec<Element>),
    Outdone,
}

impl<R: Rows + ?Sized> Plan<'_, R> {
    /// Plans the writes, those of the system's data, and with them `mark`, in one record.
    pub(crate) fn enter(
        &mut self,
        writes: Vec<TailWrite>,
        system: Vec<TailWrite>,
        mark: Vec<SystemWrite>,
    ) -> Result<Entered, RequestError> {
        let mut entered = Entered::default();
        for write in writes {
            let siblings = self.index.get(&write.key).into_iter().flat_map(|entry| entry.register.siblings());
            let siblings: Vec<_> = siblings.map(|(element, sibling)| (element, sibling.hlc)).collect();
            // A lease that has ended meanwhile has taken what hung on it along.
            let lease = write.lease.map(|id| self.lease(id)).transpose();
            let fate = if lease.is_ok() { self.fate(&write, &siblings) } else { Fate::Outdone };
            let TailWrite { key, value, .. } = write;
            entered.count(&fate);
            let layer = layer_of(&key);
            match (fate, value) {
                (Fate::Put(supersedes), Some((value, _))) => {
                    let lease = lease.ok().flatten();
                    self.draft.push(layer, Operation::Put { key, value, lease, supersedes });
                }
                (Fate::Remove(elements), _) => self.draft.push(layer, Operation::Remove { key, elements }),
                _ => {}
            }
        }
        for write in system {
            let siblings = self.head.system.get(&write.key).into_iter().flat_map(|register| register.siblings());
            let siblings: Vec<_> = siblings.map(|(element, sibling)| (element, sibling.hlc)).collect();
            let fate = self.fate(&write, &siblings);
            let TailWrite { key, value, .. } = write;
            match (fate, value) {
                (Fate::Put(supersedes), Some((value, _))) => {
                    self.draft.push(Layer::Mesh, Operation::SystemPut { key, value, supersedes });
                }
                (Fate::Remove(elements), _) => {
                    self.draft.push(Layer::Mesh, Operation::SystemRemove { key, elements });
                }
                _ => {}
            }
        }
        self.system(mark)?;
        Ok(entered)
    }

    /// What becomes of a key that holds these elements; notes the stamps that it has to be above.
    fn fate(&mut self, write: &TailWrite, siblings: &[(Element, Hlc)]) -> Fate {
        let seen: BTreeSet<Element> = write.seen.iter().copied().collect();
        let (known, rivals): (Vec<_>, Vec<_>) = siblings.iter().partition(|(element, _)| seen.contains(element));
        let (replaced, floor) = match &write.value {
            Some((_, stamp)) if rivals.iter().any(|(element, hlc)| Stamp { hlc: *hlc, element: *element } > *stamp) => {
                return Fate::Outdone;
            }
            // It takes the place of the write it stands for: entered again, it finds itself later than that.
            Some((_, stamp)) => (siblings.to_vec(), stamp.hlc),
            None if known.is_empty() => return Fate::Outdone,
            None => (known, Hlc::default()),
        };
        let newest = replaced.iter().map(|(_, hlc)| *hlc).max().unwrap_or_default();
        self.draft.floor = self.draft.floor.max(floor).max(newest);
        let mut elements: Vec<_> = replaced.into_iter().map(|(element, _)| element).collect();
        elements.sort_unstable();
        if write.value.is_some() { Fate::Put(elements) } else { Fate::Remove(elements) }
    }
}

impl Entered {
    fn count(&mut self, fate: &Fate) {
        match fate {
            Fate::Put(_) => self.put += 1,
            Fate::Remove(_) => self.removed += 1,
            Fate::Outdone => self.outdone += 1,
        }
    }
}
