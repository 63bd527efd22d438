//! The state that records describe, in the plainest form: registers by key, leases, and the system's own registers, under one
//! context.
//!
//! A store does the same on disk. Here it is short enough to be compared with the format's text by eye, and it is the one
//! place where the tests say what an operation means.

use bytes::Bytes;
use tombolo_crdt::{
    DotFun, DotMap, DotStore, Element, LeaseRef, Operation, RangeRemove, Record, Register, VersionVector,
};

/// What a register holds in each sibling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) value: Bytes,
    pub(crate) lease: Option<LeaseRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) registers: DotMap<Bytes, Register<Cell>>,
    pub(crate) leases: DotMap<LeaseRef, DotFun<u64>>,
    pub(crate) system: DotMap<Bytes, Register<Bytes>>,
}

/// One record as everybody may see it: with its full context, and the author's state after it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) context: VersionVector,
    pub(crate) after: State,
}

impl State {
    /// Applies a record by what its operations say.
    pub(crate) fn apply(&mut self, record: &Record, context: &VersionVector) {
        for (index, operation) in record.numbered() {
            self.apply_one(record, record.header.dot.element(index), operation, context);
        }
    }

    fn apply_one(&mut self, record: &Record, element: Element, operation: &Operation, context: &VersionVector) {
        match operation {
            Operation::Put { key, value, lease, supersedes } => self.registers.update(key.clone(), |register| {
                supersedes.iter().for_each(|old| _ = register.remove(*old));
                register.add(element, record.header.hlc, Cell { value: value.clone(), lease: *lease });
            }),
            Operation::Remove { key, elements } => self.registers.update(key.clone(), |register| {
                elements.iter().for_each(|old| _ = register.remove(*old));
            }),
            Operation::RangeRemove(range) => self.remove_range(range, context),
            Operation::LeaseGrant { id, ttl_s } => {
                let lease = LeaseRef { home: record.header.dot.replica, id: *id };
                self.leases.update(lease, |grants| grants.insert(element, *ttl_s));
            }
            Operation::LeaseEnd { lease, elements } => self.leases.update(*lease, |grants| {
                elements.iter().for_each(|old| _ = grants.remove(*old));
            }),
            Operation::SystemPut { key, value, supersedes } => self.system.update(key.clone(), |register| {
                supersedes.iter().for_each(|old| _ = register.remove(*old));
                register.add(element, record.header.hlc, value.clone());
            }),
            Operation::SystemRemove { key, elements } => self.system.update(key.clone(), |register| {
                elements.iter().for_each(|old| _ = register.remove(*old));
            }),
            Operation::Unknown { kind, .. } => panic!("nobody here writes kind {kind}"),
        }
    }

    fn remove_range(&mut self, range: &RangeRemove, context: &VersionVector) {
        let keys: Vec<Bytes> =
            self.registers.iter().map(|(key, _)| key.clone()).filter(|key| in_range(range, key)).collect();
        for key in keys {
            self.registers.update(key, |register| {
                let seen: Vec<_> =
                    register.siblings().map(|(element, _)| element).filter(|e| context.covers_element(*e)).collect();
                seen.into_iter().for_each(|element| _ = register.remove(element));
            });
        }
    }

    /// Applies a record by joining its delta: what the author held, after it, of the keys and leases that it touched, under
    /// the author's context with the record itself.
    pub(crate) fn join_delta(&mut self, ours: &VersionVector, entry: &Entry) {
        let theirs = context_with(entry);
        for key in self.touched_keys(entry) {
            let delta = entry.after.registers.get(&key).cloned().unwrap_or_default();
            self.registers.update(key, |register| register.join(ours, &delta, &theirs));
        }
        for operation in &entry.record.operations {
            if let Operation::SystemPut { key, .. } | Operation::SystemRemove { key, .. } = operation {
                let delta = entry.after.system.get(key).cloned().unwrap_or_default();
                self.system.update(key.clone(), |register| register.join(ours, &delta, &theirs));
            }
            let lease = match operation {
                Operation::LeaseGrant { id, .. } => LeaseRef { home: entry.record.header.dot.replica, id: *id },
                Operation::LeaseEnd { lease, .. } => *lease,
                _ => continue,
            };
            let delta = entry.after.leases.get(&lease).cloned().unwrap_or_default();
            self.leases.update(lease, |grants| grants.join(ours, &delta, &theirs));
        }
    }

    fn touched_keys(&self, entry: &Entry) -> Vec<Bytes> {
        let held = self.registers.iter().chain(entry.after.registers.iter()).map(|(key, _)| key);
        let touched = |key: &Bytes| {
            entry.record.operations.iter().any(|operation| match operation {
                Operation::Put { key: put, .. } | Operation::Remove { key: put, .. } => put == key,
                Operation::RangeRemove(range) => in_range(range, key),
                _ => false,
            })
        };
        held.filter(|key| touched(key)).cloned().collect()
    }

    /// Joins another replica's whole state.
    pub(crate) fn join(&mut self, ours: &VersionVector, other: &Self, theirs: &VersionVector) {
        self.registers.join(ours, &other.registers, theirs);
        self.leases.join(ours, &other.leases, theirs);
        self.system.join(ours, &other.system, theirs);
    }

    pub(crate) fn for_each_element(&self, visit: &mut dyn FnMut(Element)) {
        self.registers.for_each_element(visit);
        self.leases.for_each_element(visit);
        self.system.for_each_element(visit);
    }
}

/// The author's context once its record is written: that of the record, and the record.
pub(crate) fn context_with(entry: &Entry) -> VersionVector {
    let mut context = entry.context.clone();
    context.raise(entry.record.header.dot.replica, entry.record.header.dot.seq);
    context
}

pub(crate) fn in_range(range: &RangeRemove, key: &Bytes) -> bool {
    *key >= range.start && range.end.as_ref().is_none_or(|end| key < end)
}
