//! What was removed does not come back, anywhere, after any sequence of stops, transfers and merges.
//!
//! Records name what they remove. A replica that has applied a removal and shows the element again has brought it back to life,
//! by whatever way. It is judged from records and from what a store reads, and needs no model of merging.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Operation, Record, VersionVector};

use super::{Claim, Violation, records::Records};

/// All removals, as far as records were read.
#[derive(Default)]
pub struct Removals {
    /// Who removed an element.
    by: BTreeMap<Element, Vec<Dot>>,
    /// Every key with its elements, for removals of ranges.
    keys: BTreeMap<Bytes, Vec<Element>>,
    read: BTreeSet<Dot>,
}

impl Removals {
    /// Reads the records that were not read before.
    pub fn learn(&mut self, records: &Records) {
        let news = records.news(&mut self.read);
        for record in &news {
            for (index, operation) in record.numbered() {
                if let Operation::Put { key, .. } = operation {
                    self.keys.entry(key.clone()).or_default().push(record.header.dot.element(index));
                }
            }
        }
        for record in &news {
            self.learn_removals(records, record);
        }
    }

    fn learn_removals(&mut self, records: &Records, record: &Record) {
        let dot = record.header.dot;
        for operation in &record.operations {
            match operation {
                Operation::Put { supersedes: gone, .. }
                | Operation::Remove { elements: gone, .. }
                | Operation::SystemPut { supersedes: gone, .. }
                | Operation::SystemRemove { elements: gone, .. } => {
                    gone.iter().for_each(|element| self.by.entry(*element).or_default().push(dot));
                }
                Operation::RangeRemove(range) => {
                    let Some(context) = records.context(dot) else { continue };
                    let inside = |key: &Bytes| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
                    let elements = self.keys.iter().filter(|(key, _)| inside(key)).flat_map(|(_, elements)| elements);
                    let gone: Vec<Element> =
                        elements.copied().filter(|element| context.covers_element(*element)).collect();
                    gone.into_iter().for_each(|element| self.by.entry(element).or_default().push(dot));
                }
                _ => {}
            }
        }
    }

    /// Whether an element may be there at a frontier. A removal that is in the frontier has happened.
    ///
    /// # Errors
    ///
    /// It was removed.
    pub fn check(&self, site: usize, frontier: &VersionVector, element: Element) -> Result<(), Violation> {
        let removers = self.by.get(&element).into_iter().flatten();
        match removers.into_iter().find(|dot| frontier.covers(**dot)) {
            None => Ok(()),
            Some(dot) => {
                let text = format!("{element:?} is there again, and {dot}, which is applied, removed it");
                Err(Violation::at(site, Claim::Resurrection, text))
            }
        }
    }

    /// How many elements were removed by somebody.
    pub fn len(&self) -> usize {
        self.by.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.by.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Hlc, RangeRemove, RecordHeader, ReplicaId};

    use super::*;

    fn dot(replica: u64, seq: u64) -> Dot {
        Dot::new(ReplicaId::new(replica).expect("not 0"), seq)
    }

    fn removals(operation: Operation) -> Removals {
        let mut records = Records::default();
        let put = Operation::Put { key: "k".into(), value: "v".into(), lease: None, supersedes: vec![] };
        for (dot, context, operation) in [(dot(1, 1), None, put), (dot(2, 1), Some(dot(1, 1)), operation)] {
            let context_delta = context.into_iter().collect();
            let header = RecordHeader { dot, hlc: Hlc::from_millis(1), context_delta, chain: Chain::BEGINNING };
            let bytes = Record { header, operations: vec![operation] }.encode(&Chain::BEGINNING).0;
            records.note(0, &bytes).expect("it is the first");
        }
        let mut removals = Removals::default();
        removals.learn(&records);
        removals
    }

    #[test]
    fn what_was_removed_by_name_or_by_range_or_replaced_stays_away() {
        let element = dot(1, 1).element(0);
        let removes = [
            Operation::Remove { key: "k".into(), elements: vec![element] },
            Operation::RangeRemove(RangeRemove { start: "a".into(), end: None }),
            Operation::Put { key: "k".into(), value: "w".into(), lease: None, supersedes: vec![element] },
        ];
        for operation in removes {
            let removals = removals(operation);
            assert_eq!(removals.len(), 1);
            assert!(removals.check(0, &[dot(1, 1)].into_iter().collect(), element).is_ok(), "not removed here yet");
            let frontier = [dot(1, 1), dot(2, 1)].into_iter().collect();
            assert_eq!(removals.check(0, &frontier, element).unwrap_err().claim, Claim::Resurrection);
        }
    }

    #[test]
    fn a_range_elsewhere_removes_nothing() {
        assert!(removals(Operation::RangeRemove(RangeRemove { start: "x".into(), end: None })).is_empty());
    }
}
