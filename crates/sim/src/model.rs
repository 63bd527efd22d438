//! What a replica must show: its whole history worked out from the records alone, in the order in which it applied them.
//!
//! It shares nothing with the store: an element is there when its record was applied and none applied removes it, the winner is
//! the element with the greatest stamp, replica, seq and index, and a commit that changes a winner takes a revision. Every key
//! keeps all its elements for ever.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Hlc, LeaseRef, Operation, RangeRemove, Record, ReplicaId, VersionVector};
use tombolo_storage::{Event, KeyValue, Revision, Slot};

/// A replica's state and history as they must be.
#[derive(Clone, Debug)]
pub struct Model {
    keys: BTreeMap<Bytes, Key>,
    leases: BTreeMap<LeaseRef, BTreeMap<Element, u64>>,
    system: BTreeMap<Bytes, BTreeMap<Element, (Hlc, Bytes)>>,
    /// The stamp of every record.
    stamps: BTreeMap<Dot, Hlc>,
    /// The full context of each author's last record.
    contexts: BTreeMap<ReplicaId, VersionVector>,
    frontier: VersionVector,
    revision: Revision,
    commits: u64,
    met: Met,
}

/// How often something happened that is worth meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// A key had concurrent values after a commit.
    pub conflicts: u64,
    /// A key of the system's data had.
    pub system_conflicts: u64,
    /// An older value came on show.
    pub uncovered: u64,
    /// A range was removed.
    pub range_removals: u64,
}

/// A key: the elements that are there, and what clients are shown.
#[derive(Clone, Debug, Default)]
struct Key {
    elements: BTreeMap<Element, Written>,
    shown: Option<Shown>,
}

#[derive(Clone, Debug)]
struct Written {
    hlc: Hlc,
    value: Bytes,
    lease: i64,
}

#[derive(Clone, Debug)]
struct Shown {
    element: Element,
    pair: KeyValue,
}

/// A commit as it must be told to watchers.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Its number.
    pub number: u64,
    /// The revision after it.
    pub revision: Revision,
    /// What clients see differently, ascending by key.
    pub events: Vec<Event>,
    /// The keys of the system's data that changed, ascending.
    pub system: Vec<Bytes>,
}

/// The keys that a record touches.
#[derive(Default)]
struct Touched {
    keys: Vec<Bytes>,
    system: Vec<Bytes>,
}

impl Model {
    /// An empty replica that counts in a slot.
    pub fn new(slot: Slot) -> Self {
        Self {
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            system: BTreeMap::new(),
            stamps: BTreeMap::new(),
            contexts: BTreeMap::new(),
            frontier: VersionVector::new(),
            revision: slot.beginning(),
            commits: 0,
            met: Met::default(),
        }
    }

    /// Applies a record as the next commit.
    ///
    /// # Errors
    ///
    /// What is wrong with the record being applied now: it does not follow, lacks a cause, or contradicts itself.
    pub fn apply(&mut self, record: &Record) -> Result<Expected, String> {
        let dot = record.header.dot;
        let expected = self.frontier.seq(dot.replica) + 1;
        if dot.seq != expected {
            return Err(format!("{dot} was applied where seq {expected} of its author is next"));
        }
        let context = self.contexts.entry(dot.replica).or_default();
        record.extend_context(context).map_err(|fault| format!("{dot} contradicts its context: {fault}"))?;
        let context = context.clone();
        if let Some(missing) = context.iter().find(|cause| !self.frontier.covers(*cause)) {
            return Err(format!("{dot} was applied before its cause {missing}"));
        }
        self.check_stamp(record)?;
        let mut touched = Touched::default();
        for (index, operation) in record.numbered() {
            self.operation(dot.element(index), record.header.hlc, operation, &context, &mut touched);
        }
        self.frontier.raise(dot.replica, dot.seq);
        self.commits += 1;
        Ok(self.finish(dot, touched))
    }

    /// Applies records as one commit, as a transfer of state does: only what is different in the end is told. One that was prepared beside
    /// writers changes keys at a revision that was reserved for it, and history begins at `begins`, the next one.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply), and numbers that were given out before.
    pub fn join(&mut self, records: &[Record], begins: Option<Revision>) -> Result<Expected, String> {
        let before = self.clone();
        for record in records {
            self.apply(record)?;
        }
        (self.revision, self.commits) = (before.revision, before.commits + 1);
        let next = match begins {
            None => self.revision.next().unwrap_or(self.revision),
            Some(begins) => Revision::new(begins.get() - 1)
                .filter(|next| *next > self.revision)
                .ok_or_else(|| format!("a join begins history at {begins}, and {} was given out", self.revision))?,
        };
        let mut events = Vec::new();
        for (key, entry) in &mut self.keys {
            entry.shown = before.keys.get(key).and_then(|entry| entry.shown.clone());
            events.extend(entry.refresh(key, next));
        }
        if !events.is_empty() {
            self.revision = next;
        }
        self.revision = begins.unwrap_or(self.revision);
        let elements = |model: &Self, key: &Bytes| -> Vec<Element> { model.system_elements(key) };
        let system = self.system.keys().filter(|key| elements(self, key) != elements(&before, key)).cloned().collect();
        Ok(Expected { number: self.commits, revision: self.revision, events, system })
    }

    /// What comes now is counted from this revision on, unless it has been reached.
    pub fn count_from(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// The last commit has another number than one more than the one before: a transfer takes several.
    pub fn renumber(&mut self, number: u64) {
        self.commits = number;
    }

    /// A stamp is above those of the author's earlier records and of all that the record replaces.
    fn check_stamp(&mut self, record: &Record) -> Result<(), String> {
        let (dot, hlc) = (record.header.dot, record.header.hlc);
        if let Some(earlier) = followed(record, false).find(|earlier| self.stamps.get(earlier) >= Some(&hlc)) {
            return Err(format!("{dot} has a stamp that is not above that of {earlier}, which it follows"));
        }
        self.stamps.insert(dot, hlc);
        Ok(())
    }

    /// The stamp of the last record of an author.
    pub fn last_stamp_of(&self, author: ReplicaId) -> Hlc {
        let last = Dot::new(author, self.frontier.seq(author));
        self.stamps.get(&last).copied().unwrap_or_default()
    }

    /// What a record's stamp must be above.
    pub fn least_stamp(&self, record: &Record) -> Hlc {
        let named = followed(record, true).filter_map(|earlier| self.stamps.get(&earlier));
        let ranges = record.operations.iter().filter_map(|operation| match operation {
            Operation::RangeRemove(range) => Some(range),
            _ => None,
        });
        let inside = ranges.flat_map(|range| {
            let keys = self.keys.iter().filter(|(key, _)| holds(range, key));
            keys.flat_map(|(_, entry)| entry.elements.values().map(|written| &written.hlc))
        });
        named.chain(inside).max().copied().unwrap_or_default()
    }

    fn operation(
        &mut self,
        element: Element,
        hlc: Hlc,
        operation: &Operation,
        context: &VersionVector,
        touched: &mut Touched,
    ) {
        match operation {
            Operation::Put { key, value, lease, supersedes } => {
                let entry = self.keys.entry(key.clone()).or_default();
                supersedes.iter().for_each(|gone| drop(entry.elements.remove(gone)));
                let lease = lease.map_or(0, |lease| lease.id);
                entry.elements.insert(element, Written { hlc, value: value.clone(), lease });
                touched.keys.push(key.clone());
            }
            Operation::Remove { key, elements } => {
                let entry = self.keys.entry(key.clone()).or_default();
                elements.iter().for_each(|gone| drop(entry.elements.remove(gone)));
                touched.keys.push(key.clone());
            }
            Operation::RangeRemove(range) => {
                self.met.range_removals += 1;
                for (key, entry) in self.keys.iter_mut().filter(|(key, _)| holds(range, key)) {
                    entry.elements.retain(|element, _| !context.covers_element(*element));
                    touched.keys.push(key.clone());
                }
            }
            Operation::LeaseGrant { id, ttl_s } => {
                let lease = LeaseRef { home: element.dot.replica, id: *id };
                self.leases.entry(lease).or_default().insert(element, *ttl_s);
            }
            Operation::LeaseEnd { lease, elements } => {
                let grants = self.leases.entry(*lease).or_default();
                grants.retain(|grant, _| !elements.contains(grant));
                self.leases.retain(|_, grants| !grants.is_empty());
            }
            Operation::SystemPut { key, value, supersedes } => {
                let entry = self.system.entry(key.clone()).or_default();
                entry.retain(|element, _| !supersedes.contains(element));
                entry.insert(element, (hlc, value.clone()));
                touched.system.push(key.clone());
            }
            Operation::SystemRemove { key, elements } => {
                let entry = self.system.entry(key.clone()).or_default();
                let before = entry.len();
                entry.retain(|element, _| !elements.contains(element));
                touched.system.extend((entry.len() < before).then(|| key.clone()));
            }
            // What cannot be interpreted is never applied.
            Operation::Unknown { .. } => {}
        }
    }

    /// Works out what clients see differently.
    fn finish(&mut self, dot: Dot, touched: Touched) -> Expected {
        let Touched { keys: mut touched, mut system } = touched;
        for keys in [&mut touched, &mut system] {
            keys.sort_unstable();
            keys.dedup();
        }
        let next = self.revision.next().unwrap_or(self.revision);
        let mut events = Vec::new();
        for key in touched {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            events.extend(entry.refresh(&key, next));
            self.met.conflicts += u64::from(entry.elements.len() > 1);
            let is_old = entry.shown.as_ref().is_some_and(|shown| shown.element.dot != dot && shown.is_at(next));
            self.met.uncovered += u64::from(is_old);
        }
        if !events.is_empty() {
            self.revision = next;
        }
        let holds_several = |key: &&Bytes| self.system.get(*key).is_some_and(|elements| elements.len() > 1);
        self.met.system_conflicts += system.iter().filter(holds_several).count() as u64;
        Expected { number: self.commits, revision: self.revision, events, system }
    }

    /// What clients see: every pair, ascending by key.
    pub fn pairs(&self) -> impl Iterator<Item = &KeyValue> {
        self.keys.values().filter_map(|key| key.shown.as_ref()).map(|shown| &shown.pair)
    }

    /// The elements of a key, ascending.
    pub fn elements(&self, key: &Bytes) -> Vec<Element> {
        self.keys.get(key).into_iter().flat_map(|key| key.elements.keys().copied()).collect()
    }

    /// The elements of a key of the system's data, ascending.
    pub fn system_elements(&self, key: &Bytes) -> Vec<Element> {
        self.system.get(key).into_iter().flat_map(|elements| elements.keys().copied()).collect()
    }

    /// The lease that an element was written under, when the element is there.
    pub fn lease_of(&self, key: &Bytes, element: Element) -> Option<i64> {
        Some(self.keys.get(key)?.elements.get(&element)?.lease)
    }

    /// Elements of a key, with stamps and values, ascending.
    pub fn siblings(&self, key: &Bytes) -> Vec<(Element, Hlc, Bytes)> {
        let elements = self.keys.get(key).into_iter().flat_map(|key| &key.elements);
        elements.map(|(element, written)| (*element, written.hlc, written.value.clone())).collect()
    }

    /// All keys that were ever written.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.keys()
    }

    /// The system's data: each key's values, the winner first.
    pub fn system(&self) -> BTreeMap<Bytes, Vec<Bytes>> {
        let held = self.system.iter().filter(|(_, elements)| !elements.is_empty());
        let values = |elements: &BTreeMap<Element, (Hlc, Bytes)>| {
            let mut ordered: Vec<_> = elements.iter().map(|(element, (hlc, value))| (*hlc, *element, value)).collect();
            ordered.sort_by(|left, right| right.cmp(left));
            ordered.into_iter().map(|(_, _, value)| value.clone()).collect()
        };
        held.map(|(key, elements)| (key.clone(), values(elements))).collect()
    }

    /// How often something happened that is worth meeting.
    pub fn met(&self) -> Met {
        self.met
    }

    /// Whether a lease of this number holds, wherever its home is.
    pub fn holds_lease(&self, id: i64) -> bool {
        self.leases.keys().any(|lease| lease.id == id)
    }

    /// Elements that are there and were written under a lease.
    pub fn leased(&self) -> usize {
        let elements = self.keys.values().flat_map(|key| key.elements.values());
        elements.filter(|written| written.lease != 0).count()
    }

    /// Leases that hold, whoever granted them.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// What an author had applied when it wrote its last record that is applied here, that record included.
    pub fn known_to(&self, author: ReplicaId) -> VersionVector {
        let mut known = self.contexts.get(&author).cloned().unwrap_or_default();
        known.raise(author, self.frontier.seq(author));
        known
    }

    /// Everything applied.
    pub fn frontier(&self) -> &VersionVector {
        &self.frontier
    }

    /// The last commit.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The revision after it.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

/// Whether a key lies in a range that is removed.
fn holds(range: &RangeRemove, key: &Bytes) -> bool {
    *key >= range.start && range.end.as_ref().is_none_or(|end| key < end)
}

/// Its author's record before a record, and the records of what it replaces, or also of what it only removes.
fn followed(record: &Record, with_removed: bool) -> impl Iterator<Item = Dot> + '_ {
    let dot = record.header.dot;
    let before = (dot.seq > 1).then(|| Dot::new(dot.replica, dot.seq - 1));
    let replaced = record.operations.iter().filter_map(move |operation| match operation {
        Operation::Put { supersedes: gone, .. } | Operation::SystemPut { supersedes: gone, .. } => Some(gone),
        Operation::Remove { elements: gone, .. } | Operation::SystemRemove { elements: gone, .. } if with_removed => {
            Some(gone)
        }
        _ => None,
    });
    before.into_iter().chain(replaced.flatten().map(|element| element.dot))
}

impl Shown {
    fn is_at(&self, revision: Revision) -> bool {
        self.pair.mod_revision == revision.get()
    }
}

impl Key {
    /// Shows the winner. Returns the event when that is another one than before.
    fn refresh(&mut self, key: &Bytes, revision: Revision) -> Option<Event> {
        let order = |(element, written): &(&Element, &Written)| (written.hlc, **element);
        let winner = self.elements.iter().max_by_key(order).map(|(element, written)| (*element, written.clone()));
        let before = self.shown.take();
        let Some((element, written)) = winner else {
            return before.map(|_| Event::Delete { key: key.clone(), revision });
        };
        if let Some(same) = before.as_ref().filter(|shown| shown.element == element) {
            self.shown = Some(same.clone());
            return None;
        }
        let pair = KeyValue {
            key: key.clone(),
            value: written.value,
            create_revision: before.as_ref().map_or(revision.get(), |shown| shown.pair.create_revision),
            mod_revision: revision.get(),
            version: before.map_or(1, |shown| shown.pair.version + 1),
            lease: written.lease,
        };
        self.shown = Some(Shown { element, pair: pair.clone() });
        Some(Event::Put(pair))
    }
}

#[cfg(test)]
mod tests;
