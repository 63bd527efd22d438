//! A history that is right by being simple: a list of commits, and a number below which it is compacted.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_site::Load;
use tombolo_storage::{Commit, Event, HistoryChunk, KeyValue, LeaseChange, ReadError, Revision, Slot};

/// What a store knows, published or not.
pub(crate) struct History {
    pub(crate) commits: Vec<Arc<Commit>>,
    pub(crate) revision: Revision,
    pub(crate) compacted: i64,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { commits: Vec::new(), revision: Slot::FIRST.beginning(), compacted: -1 }
    }

    /// One commit that puts each key with a value of so many bytes, or deletes it.
    pub(crate) fn commit(&mut self, changes: &[(&str, Option<usize>)]) -> Arc<Commit> {
        self.revision = self.revision.next().unwrap();
        let events = changes.iter().map(|(key, value_bytes)| event(key, *value_bytes, self.revision)).collect();
        self.append(events, Vec::new())
    }

    /// One commit that puts one key with an empty value.
    pub(crate) fn put(&mut self, key: &str) -> Arc<Commit> {
        self.commit(&[(key, Some(0))])
    }

    /// One commit without events: it has no revision of its own.
    pub(crate) fn grant_lease(&mut self) -> Arc<Commit> {
        self.append(Vec::new(), vec![LeaseChange::Granted { id: 1, ttl_s: 60 }])
    }

    fn append(&mut self, events: Vec<Event>, leases: Vec<LeaseChange>) -> Arc<Commit> {
        let number = self.commits.len() as u64 + 1;
        let commit = Arc::new(Commit { number, revision: self.revision, events, leases, system: Vec::new() });
        self.commits.push(Arc::clone(&commit));
        commit
    }

    /// Reads what a load asks for, as far as the first `known` commits go.
    pub(crate) fn read(&self, load: &Load, known: usize) -> Result<HistoryChunk, ReadError> {
        let published = self.commits[..known].last().map_or(Slot::FIRST.beginning(), |commit| commit.revision);
        if load.from < self.compacted || tombolo_storage::is_foreign(load.from, published.slot()) {
            return Err(ReadError::Compacted { oldest: self.compacted.max(1) });
        }
        let (mut chunk, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
        let wanted = |commit: &&Arc<Commit>| commit.revision.get() >= load.from && !commit.events.is_empty();
        for commit in self.commits[..known].iter().filter(wanted) {
            if looked_at >= load.budget.commits || bytes >= load.budget.bytes {
                return Ok(HistoryChunk { commits: chunk, next: commit.revision.get() });
            }
            looked_at += 1;
            let matching = |event: &&Event| load.range.contains(event.key());
            let events: Vec<Event> = commit.events.iter().filter(matching).cloned().collect();
            bytes += events.iter().map(|event| event.key().len() + value_bytes(event)).sum::<usize>();
            if !events.is_empty() {
                chunk.push(Commit { events, leases: Vec::new(), ..Commit::clone(commit) });
            }
        }
        Ok(HistoryChunk { commits: chunk, next: published.get() + 1 })
    }
}

pub(crate) fn value_bytes(event: &Event) -> usize {
    match event {
        Event::Put(pair) => pair.value.len(),
        Event::Delete { .. } => 0,
    }
}

fn event(key: &str, value_bytes: Option<usize>, revision: Revision) -> Event {
    let key = Bytes::copy_from_slice(key.as_bytes());
    match value_bytes {
        Some(len) => Event::Put(KeyValue {
            key,
            value: vec![b'v'; len].into(),
            mod_revision: revision.get(),
            ..KeyValue::default()
        }),
        None => Event::Delete { key, revision },
    }
}
