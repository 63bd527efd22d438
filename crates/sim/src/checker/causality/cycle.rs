//! Finds a circle in a graph, a short one.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use super::Why;

/// The edges of a circle as `(from, to, why)`; none when there is no circle.
pub(super) fn find_cycle(next: &[Vec<(usize, Why)>]) -> Vec<(usize, usize, Why)> {
    let left = unfinished(next);
    // Whatever is left leads to a circle, though not every one of it lies on one.
    let circles = left.iter().filter_map(|start| shortest(next, *start)).take(TRIED_MAX);
    circles.min_by_key(Vec::len).unwrap_or_default()
}

/// Any circle is a proof; a few are tried for one that is good to read.
const TRIED_MAX: usize = 32;

/// What cannot be put in order: everything from which a circle is reached forwards after taking away all that nothing precedes.
fn unfinished(next: &[Vec<(usize, Why)>]) -> Vec<usize> {
    let mut waits = vec![0_usize; next.len()];
    for (after, _) in next.iter().flatten() {
        waits[*after] += 1;
    }
    let mut ready: Vec<usize> = (0..next.len()).filter(|number| waits[*number] == 0).collect();
    while let Some(number) = ready.pop() {
        for (after, _) in &next[number] {
            waits[*after] -= 1;
            if waits[*after] == 0 {
                ready.push(*after);
            }
        }
    }
    (0..next.len()).filter(|number| waits[*number] > 0).collect()
}

/// The shortest way from a place back to itself.
fn shortest(next: &[Vec<(usize, Why)>], start: usize) -> Option<Vec<(usize, usize, Why)>> {
    let mut came: BTreeMap<usize, (usize, Why)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(number) = queue.pop_front() {
        for &(after, why) in &next[number] {
            if after == start {
                let mut edges = vec![(number, start, why)];
                let mut at = number;
                while at != start {
                    let (before, why) = *came.get(&at)?;
                    edges.push((before, at, why));
                    at = before;
                }
                edges.reverse();
                return Some(edges);
            }
            if let Entry::Vacant(entry) = came.entry(after) {
                entry.insert((number, why));
                queue.push_back(after);
            }
        }
    }
    None
}
