//! What the writers of all sites tried, what was acknowledged, and what each had read before.

use std::collections::HashMap;

use bytes::Bytes;

/// One write: a transaction with a put of its writer's own key, and whatever else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The site that it was sent to.
    pub site: usize,
    /// The value that all its puts carry and no other write does.
    pub value: Bytes,
    /// The key that no other writer puts or deletes.
    pub own: Bytes,
    /// Keys put that others put too, and nobody deletes.
    pub shared: Vec<Bytes>,
    /// The write of the same writer before this one.
    pub after: Option<Bytes>,
    /// The write that its writer had read before, by its value.
    pub saw: Option<Bytes>,
    /// The revision of the acknowledgement, as the site counts.
    pub acknowledged: Option<i64>,
}

/// One writer's notes.
#[derive(Debug, Default)]
pub struct Notes {
    /// Its writes, in order.
    pub attempts: Vec<Attempt>,
    /// The highest revision that it read in any header.
    pub seen_revision: i64,
}

/// All notes.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every write by its value.
    pub attempts: HashMap<Bytes, Attempt>,
    /// The highest revision in any header, for each site.
    pub seen_revisions: Vec<i64>,
}

impl Ledger {
    /// An empty one for so many sites.
    #[must_use]
    pub fn new(sites: usize) -> Self {
        Self { attempts: HashMap::new(), seen_revisions: vec![0; sites] }
    }

    /// Adds the notes of one writer of a site.
    pub fn take(&mut self, notes: Notes, site: usize) {
        self.seen_revisions[site] = self.seen_revisions[site].max(notes.seen_revision);
        for attempt in notes.attempts {
            let twice = self.attempts.insert(attempt.value.clone(), attempt);
            assert!(twice.is_none(), "values are unique");
        }
    }

    /// Writes acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.attempts.values().filter(|attempt| attempt.acknowledged.is_some()).count()
    }

    /// Writes that a site has acknowledged.
    #[must_use]
    pub fn acknowledged_by(&self, site: usize) -> usize {
        let by_it = |attempt: &&Attempt| attempt.site == site && attempt.acknowledged.is_some();
        self.attempts.values().filter(by_it).count()
    }
}
