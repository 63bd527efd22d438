//! Comparing digests: replicas that have applied the same records must hold the same state.
//!
//! The peer's digest belongs to a frontier of a moment ago. It is compared with the standing of ours, now or recently, that has
//! exactly that frontier. When there is none, nothing is compared, and nothing is said to be equal; nor when one of the two is 0, which is the
//! digest of nothing at all, and of a replica that cannot tell it.

use std::{collections::VecDeque, sync::Arc};

use tombolo_crdt::VersionVector;

use super::{
    output::Event,
    standing::{Moment, Standing},
    status::Digests,
};

/// Recent standings, and what came of comparing.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Oldest first; the last is the present one. Shared with the other sessions.
    recent: VecDeque<Arc<Standing>>,
    outcome: Digests,
    /// When there was last something to compare.
    at: Option<Moment>,
}

/// The digest of a replica that cannot tell it. A member's state is never empty: it holds who the members are.
const UNTOLD: u128 = 0;

impl Comparison {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self { recent: VecDeque::from([standing]), outcome: Digests::Unknown, at: None }
    }

    /// Takes note of where this replica stands now, and forgets the oldest beyond `remembered`. O(1).
    pub(crate) fn note(&mut self, standing: Arc<Standing>, remembered: usize) {
        self.recent.push_back(standing);
        while self.recent.len() > remembered.max(1) {
            self.recent.pop_front();
        }
    }

    /// Compares the peer's digest at a frontier with ours. A difference is reported when it begins.
    pub(crate) fn compare(&mut self, now: Moment, frontier: &VersionVector, peer: u128) -> Option<Event> {
        let same = self.recent.iter().rev().find(|standing| standing.frontier == *frontier)?;
        let (own, before) = (same.digest, self.outcome);
        if [own, peer].contains(&UNTOLD) {
            return None;
        }
        self.at = Some(now);
        self.outcome = if own == peer { Digests::Equal } else { Digests::Different };
        let is_news = self.outcome == Digests::Different && before != Digests::Different;
        is_news.then(|| Event::Corrupt { frontier: frontier.clone(), own, peer })
    }

    pub(crate) fn outcome(&self) -> Digests {
        self.outcome
    }

    /// How long ago that was found out, in milliseconds.
    pub(crate) fn age_ms(&self, now: Moment) -> Option<u64> {
        self.at.map(|at| now.0.saturating_sub(at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_is_not_told_is_compared_with_nothing() {
        let standing = |digest| Arc::new(Standing { digest, ..Standing::default() });
        let mut comparison = Comparison::new(standing(7));
        let (first, second, now) = (Moment(1_000), Moment(3_000), Moment(4_000));
        assert_eq!(comparison.compare(first, &VersionVector::new(), UNTOLD), None);
        assert_eq!((comparison.outcome(), comparison.age_ms(now)), (Digests::Unknown, None));
        assert!(comparison.compare(first, &VersionVector::new(), 8).is_some());
        comparison.note(standing(UNTOLD), 1);
        assert_eq!(comparison.compare(second, &VersionVector::new(), 8), None);
        assert_eq!(comparison.outcome(), Digests::Different, "what was seen is not taken back");
        assert_eq!(comparison.age_ms(now), Some(3_000), "since then nothing was compared");
    }
}
