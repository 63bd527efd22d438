//! A model of one replica: its whole history, kept the simplest way there is, and the store held against it.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_storage::{Commit, Event, KeyRange, KeyValue, ReadError, Store};

use crate::support::*;

/// The pairs of one revision.
pub(crate) type Pairs = BTreeMap<String, KeyValue>;

/// What was done, revision by revision.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// The pairs at revision `1 + position`.
    ages: Vec<Pairs>,
    /// What changed at each revision.
    events: Vec<Vec<Event>>,
    pub(crate) leases: BTreeMap<i64, i64>,
    pub(crate) compacted: i64,
    /// The revision after each commit.
    commits: Vec<i64>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let ages = vec![Pairs::new()];
        Self { ages, events: vec![Vec::new()], leases: BTreeMap::new(), compacted: -1, commits: Vec::new() }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.ages.len() as i64
    }

    fn now(&self) -> &Pairs {
        self.ages.last().expect("there is a first revision")
    }

    /// The oldest revision that can be read.
    pub(crate) fn oldest(&self) -> i64 {
        self.compacted.max(1)
    }

    /// The last commit at which the oldest readable revision held.
    pub(crate) fn horizon(&self) -> u64 {
        self.commits.iter().filter(|revision| **revision <= self.compacted).count() as u64
    }

    /// Writes and removals of one transaction. Each key is named once.
    pub(crate) fn write(&mut self, puts: &[(String, String, i64)], deletes: &[String]) {
        let mut pairs = self.now().clone();
        let revision = self.revision() + 1;
        let mut events = Vec::new();
        for (key, value, lease) in puts {
            let old = pairs.get(key);
            let pair = KeyValue {
                key: bytes(key),
                value: bytes(value),
                create_revision: old.map_or(revision, |old| old.create_revision),
                mod_revision: revision,
                version: old.map_or(1, |old| old.version + 1),
                lease: *lease,
            };
            events.push(Event::Put(pair.clone()));
            pairs.insert(key.clone(), pair);
        }
        for key in deletes {
            if pairs.remove(key).is_some() {
                let revision = tombolo_storage::Revision::new(revision).expect("a revision");
                events.push(Event::Delete { key: bytes(key), revision });
            }
        }
        if !events.is_empty() {
            self.ages.push(pairs);
            self.events.push(events);
            self.commits.push(self.revision());
        }
    }

    pub(crate) fn grant(&mut self, id: i64, ttl_s: i64) {
        self.leases.insert(id, ttl_s);
        self.commits.push(self.revision());
    }

    pub(crate) fn revoke(&mut self, id: i64) {
        self.leases.remove(&id);
        let keys = self.now().values().filter(|pair| pair.lease == id).map(|pair| text(&pair.key)).collect::<Vec<_>>();
        let commits = self.commits.len();
        self.write(&[], &keys);
        if self.commits.len() == commits {
            self.commits.push(self.revision());
        }
    }

    pub(crate) fn keys_in(&self, range: &KeyRange) -> Vec<String> {
        self.now().keys().filter(|key| range.contains(key.as_bytes())).cloned().collect()
    }

    /// What a client reads at the revisions given, what it is told from others on, and the store as a whole.
    pub(crate) fn check(
        &self,
        store: &Store,
        revisions: impl IntoIterator<Item = i64>,
        histories: impl IntoIterator<Item = i64>,
    ) {
        let published = store.published();
        let shape = (published.revision.get(), published.compacted, published.commit);
        assert_eq!(shape, (self.revision(), self.compacted, self.commits.len() as u64));
        assert_eq!(store.leases().into_iter().collect::<BTreeMap<_, _>>(), self.leases);
        for revision in revisions.into_iter().chain([self.oldest(), self.revision()]) {
            let expected: Vec<KeyValue> = self.ages[revision as usize - 1].values().cloned().collect();
            assert_eq!(all_at(store, revision), expected, "at revision {revision}");
        }
        histories.into_iter().for_each(|from| self.check_history(store, from));
        if self.compacted > 1 {
            let below = tombolo_storage::RangeQuery {
                revision: self.compacted - 1,
                ..tombolo_storage::RangeQuery::all(KeyRange::all())
            };
            let refused = store.range(&below);
            assert!(matches!(refused, Err(ReadError::Compacted { oldest }) if oldest == self.compacted));
        }
    }

    fn check_history(&self, store: &Store, from: i64) {
        let told: Vec<Commit> = history(store, from);
        let expected = (from..=self.revision()).filter(|revision| !self.events[*revision as usize - 1].is_empty());
        assert_eq!(told.iter().map(|c| c.revision.get()).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        for commit in told {
            let sorted = |events: &[Event]| {
                let mut events = events.to_vec();
                events.sort_by(|a, b| a.key().cmp(b.key()));
                events
            };
            let expected = &self.events[commit.revision.get() as usize - 1];
            assert_eq!(sorted(&commit.events), sorted(expected), "history from {from}");
        }
    }

    /// The most commit rows that a store may need up to its horizon once nothing is left to sweep.
    pub(crate) fn rows_needed(&self, lost: &BTreeSet<i64>) -> usize {
        let visible = self.ages[self.oldest() as usize - 1].len();
        let told = self.events[self.oldest() as usize - 1].len();
        visible + told + self.leases.len() + lost.len()
    }
}
