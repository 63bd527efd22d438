//! Where in the log a peer that has a given frontier can be served from.
//!
//! A peer comes back after hours and says what it has. Finding its place by reading the log from its beginning would cost
//! as much as the log is long; so the frontier is remembered at some commits, in memory, and rebuilt at opening.

use tombolo_crdt::VersionVector;

/// Commits between two milestones at first: looking through as many rows takes milliseconds.
const SPACING_MIN: u64 = 1 << 10;
/// Milestones kept. When there are more, every other one goes.
const MILESTONES_MAX: usize = 1 << 12;

/// The frontier at some commits, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Milestones {
    spacing: u64,
    marks: Vec<(u64, VersionVector)>,
}

impl Default for Milestones {
    fn default() -> Self {
        Self { spacing: SPACING_MIN, marks: Vec::new() }
    }
}

impl Milestones {
    /// Takes note that after `commit` everything in `frontier` was applied, and nothing else.
    pub(crate) fn note(&mut self, commit: u64, frontier: &VersionVector) {
        let last = self.marks.last().map_or(0, |(commit, _)| *commit);
        if commit < last.saturating_add(self.spacing) {
            return;
        }
        self.marks.push((commit, frontier.clone()));
        if self.marks.len() > MILESTONES_MAX {
            let mut at = 0;
            self.marks.retain(|_| {
                at += 1;
                at % 2 == 0
            });
            self.spacing *= 2;
        }
    }

    /// The last milestone up to which a peer that has `seen` lacks nothing; 0 when it lacks something before the first.
    /// O(log milestones × entries).
    pub(crate) fn covered(&self, seen: &VersionVector) -> u64 {
        // Frontiers rise along the log: once one is not covered, none after it is.
        let covered = self.marks.partition_point(|(_, frontier)| seen.includes(frontier));
        covered.checked_sub(1).map_or(0, |last| self.marks[last].0)
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Dot, ReplicaId};

    use super::*;

    fn frontier(seq: u64) -> VersionVector {
        [Dot::new(ReplicaId::new(7).unwrap(), seq)].into_iter().collect()
    }

    #[test]
    fn a_peer_is_served_from_the_last_milestone_it_covers() {
        let mut milestones = Milestones::default();
        (1..=5_000).for_each(|commit| milestones.note(commit, &frontier(commit)));
        for (seen, covered) in [(0, 0), (1_023, 0), (1_024, 1_024), (3_000, 2_048), (9_000, 4_096)] {
            assert_eq!(milestones.covered(&frontier(seen)), covered, "of {seen}");
        }
    }

    #[test]
    fn milestones_thin_out_and_still_cover_nothing_that_is_lacking() {
        let mut milestones = Milestones::default();
        let commits = MILESTONES_MAX as u64 * SPACING_MIN * 5;
        (1..=commits).step_by(512).for_each(|commit| milestones.note(commit, &frontier(commit)));
        assert!(milestones.marks.len() <= MILESTONES_MAX);
        for seen in (0..commits).step_by(777_777) {
            let covered = milestones.covered(&frontier(seen));
            assert!(covered <= seen && seen - covered < 16 * SPACING_MIN, "{covered} of {seen}");
        }
    }
}
