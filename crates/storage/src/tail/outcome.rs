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
    /// The lease on which the value is to hang.
    pub lease: Option<i64>,
    /// Elements of other records that its author had seen and replaced.
    pub seen: Vec<Element>,
}

/// What becomes of values that hung on a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailLeases {
    /// They are left out: whoever held the lease has long let go.
    #[default]
    LeftOut,
    /// They are written without it.
    Unbound,
    /// They hang on it again: it was counted in this very folder, and its holders are here.
    Kept,
}

/// What a tail comes to, so far.
#[derive(Clone, Debug, Default)]
pub struct TailOutcome {
    streams: BTreeMap<ReplicaId, Part>,
    keys: BTreeMap<Bytes, Key>,
    /// Ranges that were removed, with what their author had seen.
    ranges: Vec<(RangeRemove, VersionVector)>,
    /// Leases that were granted and did not end: number and seconds.
    grants: BTreeMap<Element, (i64, u64)>,
    /// Users, roles and members.
    system: BTreeMap<Bytes, Key>,
    system_writes: u64,
}

/// Which records of a name are the tail's.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Up to here they are everybody's.
    common: u64,
    /// From here on they are the tail's. Between the two it is not known which ones an element's name means.
    own: u64,
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
    lease: Option<i64>,
}

impl TailOutcome {
    /// From here on come records of this author's: those up to `common` are everybody's, those from `own` on the tail's.
    pub(super) fn begin(&mut self, author: ReplicaId, common: u64, own: u64) {
        self.streams.insert(author, Part { common, own });
    }

    /// Writes of the system's data among the records.
    pub fn system_writes(&self) -> u64 {
        self.system_writes
    }

    /// Takes in the next record, with what its author had applied if it removes a range.
    pub(super) fn take(&mut self, record: Record, context: Option<VersionVector>) -> Result<(), TailError> {
        let dot = record.header.dot;
        if let Some(kind) = record.operations.iter().find_map(unknown_kind) {
            return Err(TailError::UnknownOperation { dot, kind });
        }
        let hlc = record.header.hlc;
        let context = context.unwrap_or_default();
        for (index, operation) in record.numbered() {
            let element = dot.element(index);
            match operation {
                Operation::Put { key, value, lease, supersedes } => {
                    let entry = self.keys.entry(own_key(key)).or_default();
                    entry.remove(&self.streams, supersedes);
                    let lease = lease.map(|lease| lease.id);
                    entry.own.insert(element, Value { value: own_key(value), hlc, lease });
                }
                Operation::Remove { key, elements } => {
                    self.keys.entry(own_key(key)).or_default().remove(&self.streams, elements);
                }
                Operation::RangeRemove(range) => self.remove_range(range, &context),
                Operation::SystemPut { key, value, supersedes } => {
                    self.system_writes += 1;
                    let entry = self.system.entry(own_key(key)).or_default();
                    entry.remove(&self.streams, supersedes);
                    entry.own.insert(element, Value { value: own_key(value), hlc, lease: None });
                }
                Operation::SystemRemove { key, elements } => {
                    self.system_writes += 1;
                    self.system.entry(own_key(key)).or_default().remove(&self.streams, elements);
                }
                Operation::LeaseGrant { id, ttl_s } => {
                    self.grants.insert(element, (*id, *ttl_s));
                }
                Operation::LeaseEnd { elements, .. } => {
                    for element in elements {
                        self.grants.remove(element);
                    }
                }
                Operation::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    fn remove_range(&mut self, range: &RangeRemove, context: &VersionVector) {
        let is_in = |key: &Bytes| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        for (_, key) in self.keys.iter_mut().filter(|(key, _)| is_in(key)) {
            key.own.clear();
        }
        self.ranges.push((range.clone(), context.clone()));
    }

    /// The leases that were granted and did not end, with their seconds.
    pub fn grants(&self) -> impl Iterator<Item = (i64, u64)> {
        self.grants.values().copied()
    }

    /// What the records come to for the system's data, ascending by key.
    pub fn system(&self) -> Vec<TailWrite> {
        self.system.iter().map(|(key, held)| held.write(key.clone(), TailLeases::LeftOut)).collect()
    }

    /// The writes, ascending by key, and how many keys are left out because their value hung on a lease. Ranges are looked up in `store`.
    pub fn settle(mut self, store: &Store, leases: TailLeases) -> (Vec<TailWrite>, u64) {
        for (range, context) in std::mem::take(&mut self.ranges) {
            self.look_up(store, &range, &context);
        }
        let mut left_out = 0;
        let mut writes = Vec::with_capacity(self.keys.len());
        for (key, held) in self.keys {
            let hung = held.winner().is_some_and(|(_, value)| value.lease.is_some());
            if hung && leases == TailLeases::LeftOut {
                left_out += 1;
                continue;
            }
            // What came and went within the tail is nothing to anybody.
            if !held.own.is_empty() || !held.seen.is_empty() {
                writes.push(held.write(key, leases));
            }
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
                self.keys.entry(own_key(key)).or_default().see(&self.streams, &covered);
            }
        }
    }
}

impl Key {
    /// What the author removed: of the tail's own, or of what it had seen.
    fn remove(&mut self, streams: &BTreeMap<ReplicaId, Part>, elements: &[Element]) {
        for element in elements {
            if streams.get(&element.dot.replica).is_some_and(|part| element.dot.seq >= part.own) {
                self.own.remove(element);
            }
        }
        self.see(streams, elements);
    }

    /// Takes note of elements that the author had seen. A name under which the tail has another record than the mesh means nothing here.
    fn see(&mut self, streams: &BTreeMap<ReplicaId, Part>, elements: &[Element]) {
        let is_common =
            |element: &&Element| streams.get(&element.dot.replica).is_none_or(|part| element.dot.seq <= part.common);
        self.seen.extend(elements.iter().filter(is_common));
    }

    fn winner(&self) -> Option<(Element, &Value)> {
        let stamp = |(element, value): &(&Element, &Value)| Stamp { hlc: value.hlc, element: **element };
        self.own.iter().max_by_key(stamp).map(|(element, value)| (*element, value))
    }

    fn write(&self, key: Bytes, leases: TailLeases) -> TailWrite {
        let winner = self.winner();
        let lease = winner.and_then(|(_, value)| value.lease).filter(|_| leases == TailLeases::Kept);
        let value = winner.map(|(element, Value { value, hlc, .. })| (value.clone(), Stamp { hlc: *hlc, element }));
        TailWrite { key, value, lease, seen: self.seen.iter().copied().collect() }
    }
}
