//! What the records of a tail come to: per key the value that its author showed last, or that it is gone.
//!
//! Entered as new writes, they must not undo what the mesh has written meanwhile. So each write says what its author had seen and
//! when it was made: it yields to whatever is later and was not seen, as it would have, had the records come in time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_crdt::{Element, Hlc, Operation, RangeRemove, Record, ReplicaId, Stamp, VersionVector};

use super::TailError;
use crate::{KeyRange, Store, committer::unknown_kind, index::own_key};

/// What a tail does to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailWrite {
    /// The key.
    pub key: Bytes,
    /// The value and its stamp; `None`: the key is gone.
    pub value: Option<(Bytes, Stamp)>,
    /// Elements of other records that its author had seen and replaced.
    pub seen: Vec<Element>,
}

/// What a tail comes to, so far.
#[derive(Clone, Debug)]
pub struct TailOutcome {
    author: ReplicaId,
    /// Records of the author up to here are no part of it.
    here: u64,
    keys: BTreeMap<Bytes, Key>,
    /// Ranges that were removed, with what their author had seen.
    ranges: Vec<(RangeRemove, VersionVector)>,
    /// What the author had applied.
    context: VersionVector,
    /// Writes of the system's data: users, roles, members. They are not entered.
    system: u64,
}

#[derive(Clone, Debug, Default)]
struct Key {
    /// Elements that the tail added and that are left.
    own: BTreeMap<Element, Value>,
    seen: BTreeSet<Element>,
}

#[derive(Clone, Debug)]
struct Value {
    value: Bytes,
    hlc: Hlc,
    is_leased: bool,
}

impl TailOutcome {
    /// Nothing yet, of an author whose records up to `here` and whose `context` by then are known.
    pub(super) fn new(author: ReplicaId, here: u64, context: VersionVector) -> Self {
        Self { author, here, keys: BTreeMap::new(), ranges: Vec::new(), context, system: 0 }
    }

    /// Writes of the system's data among the records.
    pub fn system_writes(&self) -> u64 {
        self.system
    }

    /// Takes in the next record.
    pub(super) fn take(&mut self, record: Record) -> Result<(), TailError> {
        let dot = record.header.dot;
        if let Some(kind) = record.operations.iter().find_map(unknown_kind) {
            return Err(TailError::UnknownOperation { dot, kind });
        }
        self.context.join(&record.header.context_delta);
        self.context.raise(dot.replica, dot.seq - 1);
        for (index, operation) in record.numbered() {
            match operation {
                Operation::Put { key, value, lease, supersedes } => {
                    self.remove(key, supersedes);
                    let value = Value { value: own_key(value), hlc: record.header.hlc, is_leased: lease.is_some() };
                    self.keys.entry(own_key(key)).or_default().own.insert(dot.element(index), value);
                }
                Operation::Remove { key, elements } => self.remove(key, elements),
                Operation::RangeRemove(range) => self.remove_range(range),
                Operation::SystemPut { .. } | Operation::SystemRemove { .. } => self.system += 1,
                Operation::LeaseGrant { .. } | Operation::LeaseEnd { .. } | Operation::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    fn remove(&mut self, key: &Bytes, elements: &[Element]) {
        let entry = self.keys.entry(own_key(key)).or_default();
        for element in elements {
            let is_of_tail = element.dot.replica == self.author && element.dot.seq > self.here;
            if is_of_tail {
                entry.own.remove(element);
            } else {
                entry.seen.insert(*element);
            }
        }
    }

    fn remove_range(&mut self, range: &RangeRemove) {
        let is_in = |key: &Bytes| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        for (_, key) in self.keys.iter_mut().filter(|(key, _)| is_in(key)) {
            key.own.clear();
        }
        self.ranges.push((range.clone(), self.context.clone()));
    }

    /// The writes, ascending by key, and how many keys are left out because their value hung on a lease: whoever held it has long
    /// let go. With `leased` these are written, without a lease. Ranges are looked up in `store`.
    pub fn settle(mut self, store: &Store, leased: bool) -> (Vec<TailWrite>, u64) {
        for (range, context) in std::mem::take(&mut self.ranges) {
            self.look_up(store, &range, &context);
        }
        let mut left_out = 0;
        let mut writes = Vec::with_capacity(self.keys.len());
        for (key, Key { own, seen }) in self.keys {
            let stamp = |(element, value): &(&Element, &Value)| Stamp { hlc: value.hlc, element: **element };
            let winner = own.iter().max_by_key(stamp);
            if winner.is_some_and(|(_, value)| value.is_leased) && !leased {
                left_out += 1;
                continue;
            }
            let value =
                winner.map(|(element, value)| (value.value.clone(), Stamp { hlc: value.hlc, element: *element }));
            writes.push(TailWrite { key, value, seen: seen.into_iter().collect() });
        }
        (writes, left_out)
    }

    /// Names what a range removal removes here.
    fn look_up(&mut self, store: &Store, range: &RangeRemove, context: &VersionVector) {
        let range = match range {
            RangeRemove { start, end: Some(end) } => KeyRange::before(own_key(start), own_key(end)),
            RangeRemove { start, end: None } => KeyRange::from_key(own_key(start)),
        };
        let state = store.shared().state.read();
        for (key, entry) in state.index.range(&range) {
            let covered = entry.register.siblings().map(|(element, _)| element);
            let covered: Vec<_> = covered.filter(|element| context.covers_element(*element)).collect();
            if !covered.is_empty() {
                self.keys.entry(own_key(key)).or_default().seen.extend(covered);
            }
        }
    }
}
