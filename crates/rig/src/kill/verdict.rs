//! Holds the notes of writers and watchers against what the server says it has.
//!
//! Pure: evidence in, faults out, so that each fault is proved to be found by forging it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use bytes::Bytes;
use tombolo_proto::mvccpb::{Event, KeyValue, event::EventType};

use super::{
    history::{Evidence, revision_of},
    ledger::{Attempt, Ledger},
};

/// What one watcher was told over all its streams.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its key.
    pub key: Bytes,
    /// The end of its range, as in etcd.
    pub end: Bytes,
    /// Its events, in order.
    pub events: Vec<Event>,
    /// The highest revision that it read in any header.
    pub seen_revision: i64,
}

impl Told {
    /// Whether an event is in its range.
    #[must_use]
    pub fn concerns(&self, event: &Event) -> bool {
        let Some(kv) = &event.kv else { return false };
        match self.end.as_ref() {
            b"" => kv.key == self.key,
            b"\0" => kv.key >= self.key,
            end => kv.key >= self.key && kv.key.as_ref() < end,
        }
    }
}

/// Something that must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the variants are explained, and their fields are revisions, keys and values")]
pub enum Fault {
    /// An acknowledged write is not in the history.
    Lost { revision: i64, value: Bytes },
    /// A write is in the history at another revision than the acknowledged one.
    Moved { acknowledged: i64, found: i64, value: Bytes },
    /// A write is in the history twice.
    Repeated { first: i64, second: i64, value: Bytes },
    /// A revision holds a part of a write, or parts of several.
    Torn { revision: i64, value: Bytes },
    /// A revision holds what nobody wrote.
    Unknown { revision: i64 },
    /// Revisions of the history do not increase.
    OutOfOrder { revision: i64, after: i64 },
    /// A counter of an event contradicts the events before it.
    Inconsistent { revision: i64, key: Bytes },
    /// The history is not the one that was read before, continued.
    Rewritten { at: usize },
    /// The current revision is below one that was given out.
    WentBack { revision: i64, seen: i64 },
    /// The state is not what the history leads to.
    WrongState { key: Bytes },
    /// An old value cannot be read at its revision.
    NotReadBack { revision: i64, key: Bytes, value: Bytes },
    /// A watcher was told something other than the history, from this event on.
    Watcher { key: Bytes, event: usize, told: Option<i64>, history: Option<i64> },
    /// A watcher was told a wrong previous value.
    WrongPrevious { revision: i64, key: Bytes },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

/// Every fault in the evidence. `before` is the history as it was read the last time.
#[must_use]
pub fn judge(ledger: &Ledger, evidence: &Evidence, told: &[Told], before: &[Event]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let previous = streams(evidence, told, before, ledger.seen_revision, &mut faults);
    writes(ledger, &evidence.history, &previous, &mut faults);
    faults
}

/// What holds whoever wrote: the history only grows, leads to the state, and is what the watchers were told. Returns what
/// each of its events replaced. `seen` is the highest revision that anybody has read in any header of this server.
pub fn streams(
    evidence: &Evidence,
    told: &[Told],
    before: &[Event],
    seen: i64,
    faults: &mut Vec<Fault>,
) -> Vec<Option<KeyValue>> {
    if evidence.revision < seen {
        faults.push(Fault::WentBack { revision: evidence.revision, seen });
    }
    if let Some(at) = (0..before.len()).find(|at| evidence.history.get(*at) != before.get(*at)) {
        faults.push(Fault::Rewritten { at });
    }
    let previous = replay(evidence, faults);
    for told in told {
        watcher(told, &evidence.history, &previous, faults);
    }
    previous
}

/// Replays the history: counters must follow, and the end must be the state. Returns what each event replaced.
fn replay(evidence: &Evidence, faults: &mut Vec<Fault>) -> Vec<Option<KeyValue>> {
    let mut state: BTreeMap<Bytes, KeyValue> = BTreeMap::new();
    let mut previous = Vec::with_capacity(evidence.history.len());
    let mut last = 0;
    for event in &evidence.history {
        let Some(kv) = &event.kv else {
            faults.push(Fault::Unknown { revision: 0 });
            previous.push(None);
            continue;
        };
        if kv.mod_revision < last {
            faults.push(Fault::OutOfOrder { revision: kv.mod_revision, after: last });
        }
        last = kv.mod_revision;
        let replaced = state.get(&kv.key).cloned();
        let (created, version) = replaced.as_ref().map_or((last, 0), |old| (old.create_revision, old.version));
        let follows = match event.r#type() {
            EventType::Put => kv.create_revision == created && kv.version == version + 1,
            EventType::Delete => replaced.is_some(),
        };
        if !follows {
            faults.push(Fault::Inconsistent { revision: last, key: kv.key.clone() });
        }
        match event.r#type() {
            EventType::Put => state.insert(kv.key.clone(), kv.clone()),
            EventType::Delete => state.remove(&kv.key),
        };
        previous.push(replaced);
    }
    let read: BTreeMap<Bytes, KeyValue> = evidence.state.iter().map(|kv| (kv.key.clone(), kv.clone())).collect();
    let keys: BTreeSet<&Bytes> = state.keys().chain(read.keys()).collect();
    for key in keys.into_iter().filter(|key| state.get(*key) != read.get(*key)) {
        faults.push(Fault::WrongState { key: key.clone() });
    }
    previous
}

/// Every revision is exactly one write, whole; every acknowledged write is at its revision.
fn writes(ledger: &Ledger, history: &[Event], previous: &[Option<KeyValue>], faults: &mut Vec<Fault>) {
    let mut found: HashMap<&Bytes, i64> = HashMap::new();
    let mut at = 0;
    for group in history.chunk_by(|left, right| revision_of(left) == revision_of(right)) {
        let revision = revision_of(&group[0]);
        let replaced = &previous[at..at + group.len()];
        at += group.len();
        let Some(attempt) = author(ledger, group) else {
            faults.push(Fault::Unknown { revision });
            continue;
        };
        if !is_whole(attempt, group, replaced) {
            faults.push(Fault::Torn { revision, value: attempt.value.clone() });
        }
        if let Some(first) = found.insert(&attempt.value, revision) {
            faults.push(Fault::Repeated { first, second: revision, value: attempt.value.clone() });
        }
    }
    for attempt in ledger.attempts.values() {
        let Some(acknowledged) = attempt.acknowledged else { continue };
        let value = attempt.value.clone();
        match found.get(&attempt.value) {
            None => faults.push(Fault::Lost { revision: acknowledged, value }),
            Some(found) if *found != acknowledged => {
                faults.push(Fault::Moved { acknowledged, found: *found, value });
            }
            Some(_) => (),
        }
    }
}

/// The write that the events of one revision come from, by the value of a put.
fn author<'a>(ledger: &'a Ledger, group: &[Event]) -> Option<&'a Attempt> {
    let put = group.iter().find(|event| event.r#type() == EventType::Put)?;
    ledger.attempts.get(&put.kv.as_ref()?.value)
}

/// All its puts with its value, all its deletes of keys that were there, and nothing else.
fn is_whole(attempt: &Attempt, group: &[Event], replaced: &[Option<KeyValue>]) -> bool {
    let keys = |wanted: EventType| -> BTreeSet<Bytes> {
        let events = group.iter().filter(|event| event.r#type() == wanted);
        events.filter_map(|event| event.kv.as_ref()).map(|kv| kv.key.clone()).collect()
    };
    let (puts, deletes) = (keys(EventType::Put), keys(EventType::Delete));
    let one_author = group
        .iter()
        .filter(|event| event.r#type() == EventType::Put)
        .all(|event| event.kv.as_ref().is_some_and(|kv| kv.value == attempt.value));
    let each_once = puts.len() + deletes.len() == group.len();
    let real_deletes = group.iter().zip(replaced).all(|(event, old)| event.r#type() == EventType::Put || old.is_some());
    let wanted: BTreeSet<Bytes> = attempt.puts.iter().cloned().collect();
    one_author && each_once && real_deletes && puts == wanted && deletes.iter().all(|key| attempt.deletes.contains(key))
}

/// A watcher's events are the history's events in its range, each with the value that it replaced.
fn watcher(told: &Told, history: &[Event], previous: &[Option<KeyValue>], faults: &mut Vec<Fault>) {
    let wanted: Vec<(&Event, &Option<KeyValue>)> =
        history.iter().zip(previous).filter(|(event, _)| told.concerns(event)).collect();
    for index in 0..wanted.len().max(told.events.len()) {
        let (got, wanted) = (told.events.get(index), wanted.get(index));
        let same =
            matches!((got, wanted), (Some(got), Some((event, _))) if got.r#type == event.r#type && got.kv == event.kv);
        if !same {
            let (told_revision, history) = (got.map(revision_of), wanted.map(|(event, _)| revision_of(event)));
            faults.push(Fault::Watcher { key: told.key.clone(), event: index, told: told_revision, history });
            return;
        }
        if let (Some(got), Some((event, previous))) = (got, wanted)
            && &got.prev_kv != *previous
        {
            let key = event.kv.as_ref().map(|kv| kv.key.clone()).unwrap_or_default();
            faults.push(Fault::WrongPrevious { revision: revision_of(event), key });
        }
    }
}

#[cfg(test)]
mod tests;
