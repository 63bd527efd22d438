//! One name, one record: what was seen under each dot, wherever it was seen, and which record brought each value.
//!
//! Clients write every value once. A value that comes in two elements was entered a second time by somebody who should have
//! passed its record on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Operation, Record, ReplicaId, VersionVector};

use super::{Claim, Violation};

/// Every record that any site has published.
#[derive(Default)]
pub struct Records {
    bytes: BTreeMap<Dot, Bytes>,
    /// Which element brought a value.
    values: BTreeMap<Bytes, Element>,
    /// What each author had applied when it wrote a record, its own earlier records included: worked out from the deltas.
    contexts: BTreeMap<Dot, VersionVector>,
}

impl Records {
    /// Takes note of a record that a site has published, and reads it.
    ///
    /// # Errors
    ///
    /// The dot names another record, or a value of it came in another one.
    pub fn note(&mut self, site: usize, bytes: &Bytes) -> Result<Record, Violation> {
        let record = Record::decode(bytes.clone())
            .map_err(|error| Violation::at(site, Claim::Identity, format!("a record cannot be read: {error}")))?;
        let dot = record.header.dot;
        match self.bytes.get(&dot) {
            Some(known) if known == bytes => return Ok(record),
            Some(_) => return Err(Violation::at(site, Claim::Identity, format!("{dot} names two different records"))),
            None => drop(self.bytes.insert(dot, bytes.clone())),
        }
        self.note_context(site, &record)?;
        for (index, operation) in record.numbered() {
            let (Operation::Put { value, key, .. } | Operation::SystemPut { value, key, .. }) = operation else {
                continue;
            };
            let element = dot.element(index);
            if let Some(first) = self.values.insert(value.clone(), element) {
                let text = format!("{value:?} of {key:?} was written by {} and again by {dot}", first.dot);
                return Err(Violation::at(site, Claim::Identity, text));
            }
        }
        Ok(record)
    }

    /// The element that brought a value; `None` when no site ever published it.
    pub fn element_of(&self, value: &[u8]) -> Option<Element> {
        self.values.get(value).copied()
    }

    /// An author publishes its records in order, and before anybody else sees them.
    fn note_context(&mut self, site: usize, record: &Record) -> Result<(), Violation> {
        let dot = record.header.dot;
        let mut context = VersionVector::new();
        if dot.seq > 1 {
            let before = Dot::new(dot.replica, dot.seq - 1);
            let Some(known) = self.contexts.get(&before) else {
                let text = format!("{dot} was published, and nobody has seen {before}");
                return Err(Violation::at(site, Claim::Identity, text));
            };
            context = known.clone();
            context.raise(before.replica, before.seq);
        }
        context.join(&record.header.context_delta);
        self.contexts.insert(dot, context);
        Ok(())
    }

    /// What the author of a record had applied when it wrote it: all that happened before.
    pub fn context(&self, dot: Dot) -> Option<&VersionVector> {
        self.contexts.get(&dot)
    }

    /// Whether one record happened before another.
    pub fn is_before(&self, earlier: Dot, later: Dot) -> bool {
        self.contexts.get(&later).is_some_and(|context| context.covers(earlier))
    }

    /// The records that are not in a set yet, which they are put into.
    pub fn news(&self, read: &mut BTreeSet<Dot>) -> Vec<Record> {
        let unread = self.bytes.iter().filter(|(dot, _)| read.insert(**dot));
        unread.filter_map(|(_, bytes)| Record::decode(bytes.clone()).ok()).collect()
    }

    /// The records above one frontier and within another, causes first.
    pub fn between(&self, above: &VersionVector, within: &VersionVector) -> Vec<Record> {
        let wanted = self.contexts.iter().filter(|(dot, _)| within.covers(**dot) && !above.covers(**dot));
        // What happened before another record knew less than that.
        let weight = |context: &VersionVector| context.iter().map(|dot| dot.seq).sum::<u64>();
        let mut wanted: Vec<(u64, Dot)> = wanted.map(|(dot, context)| (weight(context), *dot)).collect();
        wanted.sort_unstable();
        wanted.into_iter().filter_map(|(_, dot)| self.get(dot)).collect()
    }

    /// The last record that was seen of an author.
    pub fn last_of(&self, author: ReplicaId) -> Option<Dot> {
        let all = Dot::new(author, 1)..=Dot::new(author, u64::MAX);
        self.bytes.range(all).next_back().map(|(dot, _)| *dot)
    }

    /// The record of a name.
    pub fn get(&self, dot: Dot) -> Option<Record> {
        Record::decode(self.bytes.get(&dot)?.clone()).ok()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Hlc, RecordHeader, ReplicaId, VersionVector};

    use super::*;

    fn record(replica: u64, seq: u64, value: &'static str) -> Bytes {
        let dot = Dot::new(ReplicaId::new(replica).expect("not 0"), seq);
        let context_delta = VersionVector::new();
        let header = RecordHeader { dot, hlc: Hlc::from_millis(1), context_delta, chain: Chain::BEGINNING };
        let put = Operation::Put { key: "k".into(), value: value.into(), lease: None, supersedes: vec![] };
        Record { header, operations: vec![put] }.encode(&Chain::BEGINNING).0
    }

    #[test]
    fn a_record_is_seen_at_every_site_and_stays_one() {
        let mut records = Records::default();
        for site in 0..3 {
            records.note(site, &record(1, 1, "v1")).expect("it is the same record");
        }
        assert_eq!(records.len(), 1);
        assert_eq!(records.element_of(b"v1").map(|element| element.dot.seq), Some(1));
        assert_eq!(records.element_of(b"v2"), None);
    }

    #[test]
    fn a_dot_given_to_another_record_is_found() {
        let mut records = Records::default();
        records.note(0, &record(1, 1, "v1")).expect("it is the first");
        let violation = records.note(2, &record(1, 1, "v2")).expect_err("the dot is taken");
        assert_eq!((violation.claim, violation.site), (Claim::Identity, Some(2)));
    }

    #[test]
    fn a_value_entered_again_under_another_name_is_found() {
        let mut records = Records::default();
        records.note(0, &record(1, 1, "v1")).expect("it is the first");
        let violation = records.note(1, &record(2, 1, "v1")).expect_err("the value is known");
        assert!(violation.text.contains("again"), "{violation}");
    }

    #[test]
    fn records_between_frontiers_come_after_their_causes() {
        let mut records = Records::default();
        let of = |replica: u64, seq: u64| Dot::new(ReplicaId::new(replica).expect("not 0"), seq);
        for (dot, context) in [(of(2, 1), None), (of(1, 1), Some(of(2, 1))), (of(3, 1), Some(of(1, 1)))] {
            let context_delta: VersionVector = context.into_iter().collect();
            let header = RecordHeader { dot, hlc: Hlc::from_millis(1), context_delta, chain: Chain::BEGINNING };
            records.note(0, &Record { header, operations: vec![] }.encode(&Chain::BEGINNING).0).expect("it is new");
        }
        let between = |above: &[Dot], within: &[Dot]| -> Vec<u64> {
            let vector = |dots: &[Dot]| dots.iter().copied().collect();
            let found = records.between(&vector(above), &vector(within));
            found.iter().map(|record| record.header.dot.replica.get()).collect()
        };
        assert_eq!(between(&[], &[of(1, 1), of(2, 1), of(3, 1)]), [2, 1, 3]);
        assert_eq!(between(&[of(2, 1)], &[of(1, 1), of(2, 1)]), [1]);
    }

    #[test]
    fn bytes_that_are_no_record_are_found() {
        assert!(Records::default().note(0, &Bytes::from_static(b"?")).is_err());
    }
}
