//! One name, one record: what was seen under each dot, wherever it was seen, and which record brought each value.
//!
//! Clients write every value once. A value that comes in two elements was entered a second time by somebody who should have
//! passed its record on.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Operation, Record};

use super::{Claim, Violation};

/// Every record that any site has published.
#[derive(Default)]
pub struct Records {
    bytes: BTreeMap<Dot, Bytes>,
    /// Which element brought a value.
    values: BTreeMap<Bytes, Element>,
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
    fn bytes_that_are_no_record_are_found() {
        assert!(Records::default().note(0, &Bytes::from_static(b"?")).is_err());
    }
}
