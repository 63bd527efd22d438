//! A replica that writes and receives records, without a disk: the gate, the contexts and the state.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{
    Chain, Clock, Dot, Element, Hlc, LeaseRef, Operation, RangeRemove, Record, RecordHeader, ReplicaId, VersionVector,
};

use super::model::{Entry, State};

#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) state: State,
    pub(crate) frontier: VersionVector,
    contexts: BTreeMap<ReplicaId, VersionVector>,
    clock: Clock,
    chain: Chain,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) enum Intent {
    /// Replaces everything the replica holds of the key.
    Put {
        key: Bytes,
        leased: bool,
    },
    /// Replaces nothing: a write that has read nothing.
    BlindPut {
        key: Bytes,
    },
    Remove {
        key: Bytes,
    },
    RangeRemove(RangeRemove),
    Grant {
        id: i64,
    },
    /// Ends the first lease the replica holds.
    EndLease,
    /// Replaces everything the replica holds of a key of the system's.
    SystemPut {
        key: Bytes,
    },
    SystemRemove {
        key: Bytes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    Applied,
    Duplicate,
    /// A cause is missing.
    TooEarly,
}

impl Replica {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id: ReplicaId::new(id).unwrap(),
            state: State::default(),
            frontier: VersionVector::new(),
            contexts: BTreeMap::new(),
            clock: Clock::default(),
            chain: Chain::BEGINNING,
        }
    }

    /// Writes one record, through its bytes; `None` when there is nothing to do.
    pub(crate) fn write(&mut self, intents: &[Intent], wall_ms: u64) -> Option<Entry> {
        let operations: Vec<Operation> = intents.iter().filter_map(|intent| self.operation(intent)).collect();
        if operations.is_empty() {
            return None;
        }
        let previous = self.contexts.get(&self.id).cloned().unwrap_or_default();
        let news = |entry: &Dot| entry.replica != self.id && entry.seq > previous.seq(entry.replica);
        let floor = operations.iter().flat_map(|operation| operation.named()).filter_map(|e| self.stamp_of(*e)).max();
        let header = RecordHeader {
            dot: Dot::new(self.id, self.frontier.seq(self.id) + 1),
            hlc: self.clock.tick(wall_ms, floor.unwrap_or_default()),
            context_delta: self.frontier.iter().filter(news).collect(),
            chain: Chain::BEGINNING,
        };
        let (bytes, chain) = Record { header, operations }.encode(&self.chain);
        assert!(Record::follows(&bytes, &self.chain));
        self.chain = chain;
        let record = Record::decode(bytes).unwrap();
        assert_eq!(self.receive(&record), Receipt::Applied);
        let context = self.contexts[&self.id].clone();
        Some(Entry { record, context, after: self.state.clone() })
    }

    /// Applies a record if it is the next of its author and its causes are here.
    pub(crate) fn receive(&mut self, record: &Record) -> Receipt {
        let dot = record.header.dot;
        if self.frontier.covers(dot) {
            return Receipt::Duplicate;
        }
        if dot.seq != self.frontier.seq(dot.replica) + 1 {
            return Receipt::TooEarly;
        }
        let mut context = self.contexts.get(&dot.replica).cloned().unwrap_or_default();
        record.extend_context(&mut context).unwrap();
        if !self.frontier.includes(&context) {
            return Receipt::TooEarly;
        }
        self.state.apply(record, &context);
        self.frontier.raise(dot.replica, dot.seq);
        self.contexts.insert(dot.replica, context);
        Receipt::Applied
    }

    fn operation(&self, intent: &Intent) -> Option<Operation> {
        match intent {
            Intent::Put { key, leased } => {
                let lease = if *leased { self.first_lease() } else { None };
                Some(Operation::Put { key: key.clone(), value: self.value(), lease, supersedes: self.held(key) })
            }
            Intent::BlindPut { key } => {
                Some(Operation::Put { key: key.clone(), value: self.value(), lease: None, supersedes: Vec::new() })
            }
            Intent::Remove { key } => {
                let elements = self.held(key);
                (!elements.is_empty()).then(|| Operation::Remove { key: key.clone(), elements })
            }
            Intent::RangeRemove(range) => Some(Operation::RangeRemove(range.clone())),
            Intent::Grant { id } => Some(Operation::LeaseGrant { id: *id, ttl_s: 60 }),
            Intent::EndLease => {
                let lease = self.first_lease()?;
                let elements = self.state.leases.get(&lease)?.iter().map(|(element, _)| element).collect();
                Some(Operation::LeaseEnd { lease, elements })
            }
            Intent::SystemPut { key } => Some(Operation::SystemPut {
                key: key.clone(),
                value: self.value(),
                supersedes: self.held_by_system(key),
            }),
            Intent::SystemRemove { key } => {
                let elements = self.held_by_system(key);
                (!elements.is_empty()).then(|| Operation::SystemRemove { key: key.clone(), elements })
            }
        }
    }

    fn held(&self, key: &Bytes) -> Vec<Element> {
        self.state.registers.get(key).into_iter().flat_map(|r| r.siblings()).map(|(element, _)| element).collect()
    }

    fn held_by_system(&self, key: &Bytes) -> Vec<Element> {
        self.state.system.get(key).into_iter().flat_map(|r| r.siblings()).map(|(element, _)| element).collect()
    }

    fn first_lease(&self) -> Option<LeaseRef> {
        self.state.leases.iter().next().map(|(lease, _)| *lease)
    }

    fn stamp_of(&self, element: Element) -> Option<Hlc> {
        let siblings = self.state.registers.iter().flat_map(|(_, register)| register.siblings());
        let stamps = siblings.map(|(held, sibling)| (held, sibling.hlc));
        let system = self.state.system.iter().flat_map(|(_, register)| register.siblings());
        let mut stamps = stamps.chain(system.map(|(held, sibling)| (held, sibling.hlc)));
        stamps.find(|(held, _)| *held == element).map(|(_, hlc)| hlc)
    }

    /// A value that no other record writes.
    fn value(&self) -> Bytes {
        format!("{}:{}", self.id.get(), self.frontier.seq(self.id) + 1).into()
    }
}
