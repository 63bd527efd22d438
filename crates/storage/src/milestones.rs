//! Where in the log a peer that has a given frontier can be served from.
//!
//! A peer comes back after hours and says what it has. Finding its place by reading the log from its beginning would cost
//! as much as the log is long; so the frontier is remembered at some commits, in memory, and rebuilt at opening. Beside it stands
//! how many bytes of rows were written by then: how large a stretch of the log is.

use tombolo_crdt::VersionVector;

/// Commits between two milestones at first: looking through as many rows takes milliseconds.
const SPACING_MIN: u64 = 1 << 10;
/// Milestones kept. When there are more, every other one goes.
const MILESTONES_MAX: usize = 1 << 12;

/// The frontier at some commits, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Milestones {
    spacing: u64,
    marks: Vec<Mark>,
}

/// What was so after a commit.
#[derive(Clone, Debug)]
struct Mark {
    commit: u64,
    frontier: VersionVector,
    /// Bytes of rows that had been written, whether or not they are still there.
    written: u64,
}

impl Default for Milestones {
    fn default() -> Self {
        Self { spacing: SPACING_MIN, marks: Vec::new() }
    }
}

impl Milestones {
    /// Takes note that after `commit` everything in `frontier` was applied, and nothing else, in so many bytes of rows.
    pub(crate) fn note(&mut self, commit: u64, frontier: &VersionVector, written: u64) {
        let last = self.marks.last().map_or(0, |mark| mark.commit);
        if commit < last.saturating_add(self.spacing) {
            return;
        }
        self.marks.push(Mark { commit, frontier: frontier.clone(), written });
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
        let covered = self.marks.partition_point(|mark| seen.includes(&mark.frontier));
        covered.checked_sub(1).map_or(0, |last| self.marks[last].commit)
    }

    /// About how many bytes of rows were written by `commit`, `now` being the last commit and what was written by it.
    /// Between two milestones rows are taken to be of one size.
    pub(crate) fn written(&self, commit: u64, now: (u64, u64)) -> u64 {
        let after = self.marks.partition_point(|mark| mark.commit <= commit);
        let (from, from_bytes) =
            after.checked_sub(1).map_or((0, 0), |before| (self.marks[before].commit, self.marks[before].written));
        let (to, to_bytes) = self.marks.get(after).map_or(now, |mark| (mark.commit, mark.written));
        if to <= from || commit >= to {
            return to_bytes;
        }
        let share = u128::from(to_bytes.saturating_sub(from_bytes)) * u128::from(commit - from) / u128::from(to - from);
        from_bytes.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
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
        (1..=5_000).for_each(|commit| milestones.note(commit, &frontier(commit), 10 * commit));
        for (seen, covered) in [(0, 0), (1_023, 0), (1_024, 1_024), (3_000, 2_048), (9_000, 4_096)] {
            assert_eq!(milestones.covered(&frontier(seen)), covered, "of {seen}");
        }
    }

    #[test]
    fn milestones_thin_out_and_still_cover_nothing_that_is_lacking() {
        let mut milestones = Milestones::default();
        let commits = MILESTONES_MAX as u64 * SPACING_MIN * 5;
        (1..=commits).step_by(512).for_each(|commit| milestones.note(commit, &frontier(commit), commit));
        assert!(milestones.marks.len() <= MILESTONES_MAX);
        for seen in (0..commits).step_by(777_777) {
            let covered = milestones.covered(&frontier(seen));
            assert!(covered <= seen && seen - covered < 16 * SPACING_MIN, "{covered} of {seen}");
        }
    }

    #[test]
    fn a_stretch_of_the_log_is_as_large_as_its_rows_were() {
        let mut milestones = Milestones::default();
        let now = (300, 600);
        assert_eq!([0, 150, 300, 400].map(|commit| milestones.written(commit, now)), [0, 300, 600, 600]);
        // Rows of ten bytes, then rows of a thousand.
        milestones.note(2_000, &frontier(2_000), 20_000);
        milestones.note(4_000, &frontier(4_000), 2_020_000);
        let now = (5_000, 2_020_000);
        let expected = [10_000, 20_000, 1_020_000, 2_020_000, 2_020_000];
        assert_eq!([1_000, 2_000, 3_000, 4_000, 4_500].map(|commit| milestones.written(commit, now)), expected);
    }
}
