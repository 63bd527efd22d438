//! Which watchers an event concerns, found without asking each of them.
//!
//! A watch of one key costs an event one hash look-up, however many there are. A watch of a range stands in a sorted list
//! (`intervals`): with `n` distinct ranges of which `k` hold the key, an event costs `O((k + 1) · log n)` comparisons, and
//! the first event after a range came or went `O(n)` besides. Watchers of equal ranges share one entry.

use std::collections::HashMap;

use bytes::Bytes;
use intervals::Intervals;
use smallvec::SmallVec;
use tombolo_storage::KeyRange;

use super::WatcherId;

mod intervals;

/// Watchers that name the same range. One is the common case and takes no allocation of its own.
type Group = SmallVec<[WatcherId; 1]>;

/// All watchers of a hub, by what they watch.
#[derive(Default)]
pub(crate) struct Index {
    /// Only looked up, never walked: its order is random, and the hub's outputs must not be.
    single: HashMap<Bytes, Group>,
    ranges: Intervals,
}

impl Index {
    pub(crate) fn insert(&mut self, range: &KeyRange, watcher: WatcherId) {
        match range.as_single() {
            Some(key) => self.single.entry(key.clone()).or_default().push(watcher),
            None => self.ranges.insert(range, watcher),
        }
    }

    pub(crate) fn remove(&mut self, range: &KeyRange, watcher: WatcherId) {
        let Some(key) = range.as_single() else { return self.ranges.remove(range, watcher) };
        if let Some(group) = self.single.get_mut(key)
            && leave(group, watcher)
        {
            self.single.remove(key);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.single.is_empty() && self.ranges.is_empty()
    }

    /// Calls `visit` once for each watcher whose range holds `key`.
    pub(crate) fn visit(&mut self, key: &[u8], mut visit: impl FnMut(WatcherId)) {
        if let Some(group) = self.single.get(key) {
            group.iter().copied().for_each(&mut visit);
        }
        self.ranges.visit(key, &mut visit);
    }
}

/// Takes `watcher` out of `group` and answers whether that left it empty.
fn leave(group: &mut Group, watcher: WatcherId) -> bool {
    if let Some(at) = group.iter().position(|member| *member == watcher) {
        group.remove(at);
    }
    group.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::slots::Slots;

    #[test]
    fn an_event_finds_exactly_the_watchers_whose_range_holds_its_key() {
        let ranges = [
            KeyRange::single("b".into()),
            KeyRange::single("b".into()),
            KeyRange::before("a".into(), "c".into()),
            KeyRange::before("b".into(), "d".into()),
            KeyRange::before("b".into(), "d".into()),
            KeyRange::from_key("bb".into()),
            KeyRange::all(),
        ];
        let mut slots = Slots::new();
        let ids: Vec<WatcherId> = ranges.iter().map(|_| WatcherId(slots.insert(()))).collect();
        let mut index = Index::default();
        ranges.iter().zip(&ids).for_each(|(range, id)| index.insert(range, *id));

        for removed in 0..=ranges.len() {
            for key in ["", "a", "b", "ba", "bb", "c", "d", "zz"] {
                let mut found = Vec::new();
                index.visit(key.as_bytes(), |id| found.push(id));
                found.sort();
                let expected =
                    ranges.iter().zip(&ids).skip(removed).filter(|(range, _)| range.contains(key.as_bytes()));
                assert_eq!(found, expected.map(|(_, id)| *id).collect::<Vec<_>>(), "{key} after {removed} removals");
            }
            assert_eq!(index.is_empty(), removed == ranges.len());
            if let Some(range) = ranges.get(removed) {
                index.remove(range, ids[removed]);
            }
        }
    }
}
