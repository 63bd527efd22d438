//! What was live at the newest compaction and has been removed since.
//!
//! A compaction writes down the digest of its moment, and from that moment on every cut can be read. What was live then is
//! therefore needed on disk until the next compaction, removed or not. Of what etcd clients were shown the index knows that;
//! the rest, concurrent writes that lost, grants of leases and the system's data, is remembered here. It is rebuilt when rows are replayed.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tombolo_crdt::Element;

/// Elements that the newest base counts and the state has lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct SinceBase {
    /// The commit after which the base was written.
    commit: u64,
    /// With the commit that added each.
    elements: HashSet<(Element, u64)>,
    /// The commits of those that are writes, by key.
    commits: BTreeMap<Bytes, Vec<u64>>,
}

impl SinceBase {
    /// Begins anew: a base was written after `commit`.
    pub(crate) fn at(commit: u64) -> Self {
        Self { commit, ..Self::default() }
    }

    /// Whether what commit `by` removes and commit `added` added was live at the base.
    pub(crate) fn counts(&self, added: u64, by: u64) -> bool {
        added <= self.commit && self.commit < by
    }

    /// Takes note of a write that is gone without having been shown.
    pub(crate) fn note_write(&mut self, key: &Bytes, element: Element, added: u64) {
        self.elements.insert((element, added));
        self.commits.entry(key.clone()).or_default().push(added);
    }

    /// Takes note of a grant, or a value of the system's data, that is gone.
    pub(crate) fn note_apart(&mut self, element: Element, added: u64) {
        self.elements.insert((element, added));
    }

    /// Whether the row that added an element is still needed.
    pub(crate) fn holds(&self, element: Element, added: u64) -> bool {
        self.elements.contains(&(element, added))
    }

    /// The commits whose doing at a key is still needed.
    pub(crate) fn commits(&self, key: &[u8]) -> &[u64] {
        self.commits.get(key).map_or(&[], Vec::as_slice)
    }
}
