//! Planning what is entered from another replica's tail, as writes of our own.
//!
//! A write yields to what is later here and was not seen by its author, as it would have, had it come in time. A removal removes what
//! its author had seen, and nothing else.

use std::collections::BTreeSet;

use tombolo_crdt::{Element, Operation, Stamp};

use super::{Plan, layer_of};
use crate::{Entered, RequestError, SystemWrite, TailWrite, view::Rows};

impl<R: Rows + ?Sized> Plan<'_, R> {
    /// Plans the writes, and with them `mark`, in one record.
    pub(crate) fn enter(&mut self, writes: Vec<TailWrite>, mark: Vec<SystemWrite>) -> Result<Entered, RequestError> {
        let mut entered = Entered::default();
        for TailWrite { key, value, seen } in writes {
            let entry = self.index.get(&key);
            let siblings = entry.into_iter().flat_map(|entry| entry.register.siblings());
            let seen: BTreeSet<Element> = seen.into_iter().collect();
            let (known, rivals): (Vec<_>, Vec<_>) = siblings.partition(|(element, _)| seen.contains(element));
            match value {
                Some((_, stamp))
                    if rivals.iter().any(|(element, rival)| Stamp { hlc: rival.hlc, element: *element } > stamp) =>
                {
                    entered.outdone += 1;
                }
                Some((value, stamp)) => {
                    // It takes the place of the write it stands for: entered again, it finds itself later than that.
                    self.draft.floor = self.draft.floor.max(stamp.hlc);
                    let supersedes = self.supersede(entry);
                    entered.put += 1;
                    self.draft.push(layer_of(&key), Operation::Put { key, value, lease: None, supersedes });
                }
                None if known.is_empty() => entered.outdone += 1,
                None => {
                    let newest = known.iter().map(|(_, sibling)| sibling.hlc).max();
                    self.draft.floor = self.draft.floor.max(newest.unwrap_or_default());
                    entered.removed += 1;
                    let elements = known.into_iter().map(|(element, _)| element).collect();
                    self.draft.push(layer_of(&key), Operation::Remove { key, elements });
                }
            }
        }
        self.system(mark)?;
        Ok(entered)
    }
}
