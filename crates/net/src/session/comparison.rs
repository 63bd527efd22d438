//! Comparing digests: replicas that have applied the same records must hold the same state.
//!
//! The peer's digest belongs to a frontier of a moment ago. It is compared with the standing of ours, now or recently, that has
//! exactly that frontier. When there is none, nothing is compared, and nothing is said to be equal.

use std::{collections::VecDeque, sync::Arc};

use tombolo_crdt::VersionVector;

use super::{output::Event, standing::Standing, status::Digests};

/// Recent standings, and what came of comparing.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Oldest first; the last is the present one. Shared with the other sessions.
    recent: VecDeque<Arc<Standing>>,
    outcome: Digests,
}

impl Comparison {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self { recent: VecDeque::from([standing]), outcome: Digests::Unknown }
    }

    /// Takes note of where this replica stands now, and forgets the oldest beyond `remembered`. O(1).
    pub(crate) fn note(&mut self, standing: Arc<Standing>, remembered: usize) {
        self.recent.push_back(standing);
        while self.recent.len() > remembered.max(1) {
            self.recent.pop_front();
        }
    }

    /// Compares the peer's digest at a frontier with ours. A difference is reported when it begins.
    pub(crate) fn compare(&mut self, frontier: &VersionVector, peer: u128) -> Option<Event> {
        let same = self.recent.iter().rev().find(|standing| standing.frontier == *frontier)?;
        let (own, before) = (same.digest, self.outcome);
        self.outcome = if own == peer { Digests::Equal } else { Digests::Different };
        let is_news = self.outcome == Digests::Different && before != Digests::Different;
        is_news.then(|| Event::Corrupt { frontier: frontier.clone(), own, peer })
    }

    pub(crate) fn outcome(&self) -> Digests {
        self.outcome
    }
}
