//! The system's own data: what a mesh must know of itself, such as its members.
//!
//! It lies in registers of a keyspace apart, replicated like everything else and kept for ever, but without revisions, events or
//! history: what is asked for is what holds. There is little of it, so that values are held in memory. [`SystemRegisters`]
//! is where the committer stands; readers see what is published.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tombolo_crdt::{DotMap, Element, Hlc, Register, Sibling, Stamp};

use crate::{Store, index::own_key};

/// A key of the system's data, and everything that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemEntry {
    /// The key.
    pub key: Bytes,
    /// The concurrent writes, at least one, the winner first.
    pub siblings: Vec<SystemSibling>,
}

/// One of the concurrent values of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemSibling {
    /// The write. Its author wrote the value.
    pub element: Element,
    /// Its stamp.
    pub hlc: Hlc,
    /// What it wrote.
    pub value: Bytes,
}

impl Store {
    /// The system's data under the keys that begin with `prefix`, ascending by key. O(entries).
    pub fn system(&self, prefix: &[u8]) -> Vec<SystemEntry> {
        let state = self.shared().state.read();
        let from = state.system.range(own_key(prefix)..);
        let found = from.take_while(|(key, _)| key.starts_with(prefix));
        found.map(|(key, siblings)| SystemEntry { key: key.clone(), siblings: siblings.to_vec() }).collect()
    }
}

/// What is published of the system's data, siblings in the order in which they are told.
pub(crate) type PublishedSystem = BTreeMap<Bytes, Arc<[SystemSibling]>>;

/// Publishes what a key holds by now, which may be nothing.
pub(crate) fn publish(published: &mut PublishedSystem, key: Bytes, siblings: Arc<[SystemSibling]>) {
    if siblings.is_empty() {
        published.remove(&key);
    } else {
        published.insert(key, siblings);
    }
}

/// The registers of the system's data, published or not.
#[derive(Default)]
pub(crate) struct SystemRegisters {
    registers: DotMap<Bytes, Register<SystemValue>>,
}

/// What a live element of the system's data holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SystemValue {
    /// The commit that wrote it.
    pub(crate) commit: u64,
    pub(crate) value: Bytes,
}

impl SystemRegisters {
    pub(crate) fn get(&self, key: &Bytes) -> Option<&Register<SystemValue>> {
        self.registers.get(key)
    }

    pub(crate) fn update<T>(&mut self, key: Bytes, change: impl FnOnce(&mut Register<SystemValue>) -> T) -> T {
        self.registers.update(key, change)
    }

    /// Whether what a commit added is live.
    pub(crate) fn holds(&self, key: &Bytes, element: Element, commit: u64) -> bool {
        let is_it =
            |(live, sibling): (Element, &Sibling<SystemValue>)| live == element && sibling.value.commit == commit;
        self.get(key).is_some_and(|register| register.siblings().any(is_it))
    }

    /// What a key holds, as readers are told it.
    pub(crate) fn told(&self, key: &Bytes) -> Arc<[SystemSibling]> {
        self.get(key).map(told).unwrap_or_default()
    }

    /// Everything, as readers are told it.
    pub(crate) fn all(&self) -> PublishedSystem {
        self.registers.iter().map(|(key, register)| (key.clone(), told(register))).collect()
    }
}

fn told(register: &Register<SystemValue>) -> Arc<[SystemSibling]> {
    let siblings = register.siblings();
    let mut siblings: Vec<SystemSibling> = siblings
        .map(|(element, sibling)| SystemSibling { element, hlc: sibling.hlc, value: sibling.value.value.clone() })
        .collect();
    siblings.sort_unstable_by_key(|&SystemSibling { hlc, element, .. }| Reverse(Stamp { hlc, element }));
    siblings.into()
}
