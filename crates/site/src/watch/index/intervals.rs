//! Ranges in a sorted list that is searched as a balanced tree, each node knowing how far its subtree reaches.
//!
//! The tree is implied by the positions (the middle of a stretch is its root), so that it takes no pointers and its shape
//! cannot degenerate. What it costs: coming and going shifts the list and marks the reaches as outdated; they are computed
//! anew, all at once, by the next search.

use std::cmp::Ordering;

use tombolo_storage::{KeyRange, RangeEnd};

use super::{Group, WatcherId, leave};

/// Distinct ranges and who watches them.
#[derive(Default)]
pub(super) struct Intervals {
    /// Ascending by start, then by end.
    nodes: Vec<Node>,
    /// For the root of each stretch, which node of the stretch has the greatest end.
    reach: Vec<usize>,
    outdated: bool,
}

struct Node {
    range: KeyRange,
    watchers: Group,
}

impl Intervals {
    pub(super) fn insert(&mut self, range: &KeyRange, watcher: WatcherId) {
        match self.find(range) {
            Ok(at) => self.nodes[at].watchers.push(watcher),
            Err(at) => {
                self.nodes.insert(at, Node { range: range.clone(), watchers: Group::from_elem(watcher, 1) });
                self.outdated = true;
            }
        }
    }

    pub(super) fn remove(&mut self, range: &KeyRange, watcher: WatcherId) {
        let Ok(at) = self.find(range) else { return };
        if leave(&mut self.nodes[at].watchers, watcher) {
            self.nodes.remove(at);
            self.outdated = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn visit(&mut self, key: &[u8], visit: &mut impl FnMut(WatcherId)) {
        if self.outdated {
            self.reach.resize(self.nodes.len(), 0);
            self.measure(0, self.nodes.len());
            self.outdated = false;
        }
        self.descend(0, self.nodes.len(), key, visit);
    }

    fn find(&self, range: &KeyRange) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| {
            node.range.start().cmp(range.start()).then_with(|| compare_ends(node.range.end(), range.end()))
        })
    }

    /// Fills in `reach` for the stretch and answers the node of it that reaches furthest.
    fn measure(&mut self, low: usize, high: usize) -> Option<usize> {
        if low >= high {
            return None;
        }
        let root = low.midpoint(high);
        let mut furthest = root;
        for candidate in [self.measure(low, root), self.measure(root + 1, high)].into_iter().flatten() {
            if compare_ends(self.nodes[candidate].range.end(), self.nodes[furthest].range.end()).is_gt() {
                furthest = candidate;
            }
        }
        self.reach[root] = furthest;
        Some(furthest)
    }

    fn descend(&self, low: usize, high: usize, key: &[u8], visit: &mut impl FnMut(WatcherId)) {
        if low >= high {
            return;
        }
        let root = low.midpoint(high);
        if !ends_beyond(&self.nodes[self.reach[root]].range, key) {
            return;
        }
        self.descend(low, root, key, visit);
        let node = &self.nodes[root];
        if node.range.start().as_ref() <= key {
            if ends_beyond(&node.range, key) {
                node.watchers.iter().copied().for_each(&mut *visit);
            }
            self.descend(root + 1, high, key, visit);
        }
    }
}

/// Whether `key` lies before the range's end, wherever the range starts.
fn ends_beyond(range: &KeyRange, key: &[u8]) -> bool {
    match range.end() {
        RangeEnd::Single => key <= range.start().as_ref(),
        RangeEnd::Before(end) => key < end.as_ref(),
        RangeEnd::Unbounded => true,
    }
}

/// Orders ends by how far they reach. Single keys do not come here: the index keeps them apart.
fn compare_ends(left: &RangeEnd, right: &RangeEnd) -> Ordering {
    match (left, right) {
        (RangeEnd::Before(left), RangeEnd::Before(right)) => left.cmp(right),
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

fn rank(end: &RangeEnd) -> u8 {
    match end {
        RangeEnd::Single => 0,
        RangeEnd::Before(_) => 1,
        RangeEnd::Unbounded => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::slots::Slots;

    #[test]
    fn every_small_set_of_ranges_is_searched_right() {
        // All subsets of the ten ranges over five points: shapes of every size, nested, staggered and apart.
        let points = ["a", "b", "c", "d", "e"];
        let pairs = (0..5).flat_map(|low| (low + 1..5).map(move |high| (low, high)));
        let all: Vec<KeyRange> =
            pairs.map(|(low, high)| KeyRange::before(points[low].into(), points[high].into())).collect();
        let mut slots = Slots::new();
        let ids: Vec<WatcherId> = all.iter().map(|_| WatcherId(slots.insert(()))).collect();
        for subset in 0..1_u32 << all.len() {
            let chosen =
                || all.iter().zip(&ids).enumerate().filter(|(at, _)| subset >> at & 1 == 1).map(|(_, pair)| pair);
            let mut intervals = Intervals::default();
            chosen().for_each(|(range, id)| intervals.insert(range, *id));
            for key in points {
                let mut found = Vec::new();
                intervals.visit(key.as_bytes(), &mut |id| found.push(id));
                found.sort();
                let expected = chosen().filter(|(range, _)| range.contains(key.as_bytes())).map(|(_, id)| *id);
                assert_eq!(found, expected.collect::<Vec<_>>(), "{key} in {subset:b}");
            }
        }
    }
}
