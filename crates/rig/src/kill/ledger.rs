//! What the writers tried and what was acknowledged.

use std::collections::HashMap;

use bytes::Bytes;

use crate::random::Random;

/// One write, which is one unit: all of it at one revision, or nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The value that all its puts carry and no other write does.
    pub value: Bytes,
    /// Keys put.
    pub puts: Vec<Bytes>,
    /// Keys deleted, if they were there.
    pub deletes: Vec<Bytes>,
    /// The revision of the acknowledgement.
    pub acknowledged: Option<i64>,
}

/// One writer's notes of one round.
#[derive(Debug, Default)]
pub struct Notes {
    /// Its writes, in order.
    pub attempts: Vec<Attempt>,
    /// The highest revision that it read in any header.
    pub seen_revision: i64,
}

/// All notes of all rounds.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every write by its value.
    pub attempts: HashMap<Bytes, Attempt>,
    /// The highest revision in any header that anybody read.
    pub seen_revision: i64,
}

impl Ledger {
    /// Adds one writer's notes.
    pub fn take(&mut self, notes: Notes) {
        self.seen_revision = self.seen_revision.max(notes.seen_revision);
        for attempt in notes.attempts {
            let twice = self.attempts.insert(attempt.value.clone(), attempt);
            assert!(twice.is_none(), "values are unique");
        }
    }

    /// Writes tried.
    #[must_use]
    pub fn attempted(&self) -> usize {
        self.attempts.len()
    }

    /// Writes acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.attempts.values().filter(|attempt| attempt.acknowledged.is_some()).count()
    }

    /// Some acknowledged writes, the newest among them.
    #[must_use]
    pub fn sample(&self, random: &mut Random, most: usize) -> Vec<Attempt> {
        let mut acknowledged: Vec<&Attempt> =
            self.attempts.values().filter(|attempt| attempt.acknowledged.is_some()).collect();
        acknowledged.sort_unstable_by_key(|attempt| attempt.acknowledged);
        let newest = acknowledged.len().saturating_sub(most / 2);
        let mut sample: Vec<Attempt> = acknowledged[newest..].iter().copied().cloned().collect();
        for _ in 0..newest.min(most / 2) {
            sample.push(acknowledged[random.below(newest)].clone());
        }
        sample
    }
}
