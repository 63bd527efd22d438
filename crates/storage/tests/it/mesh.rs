//! Several stores that hand each other their logs, and an oracle that knows what every cut must show.
//!
//! The oracle shares nothing with the store: an element is there when its record is in the cut and no record of the cut
//! removes it. It needs no order, no index and no register.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Hlc, LeaseRef, Operation, RangeRemove, Record, VersionVector};
use tombolo_storage::{
    Arrival, ArrivalBudget, Arrivals, ArrivalsError, SiblingValue, SystemEntry, SystemSibling, WallTime,
};

use crate::{
    memory::{Bench, Stop},
    support::*,
};

pub(crate) const EVERYTHING: ArrivalBudget = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };

/// Stores that know one another's records only by what they are sent.
pub(crate) struct Mesh {
    pub(crate) sites: Vec<Bench>,
    pub(crate) oracle: Oracle,
}

impl Mesh {
    /// As many sites, their clocks set apart by so many milliseconds each.
    pub(crate) fn new(sites: u8, skew_ms: u64) -> Self {
        let at = |site: u8| Bench::of(site + 1, WallTime(NOW.0 + u64::from(site) * skew_ms));
        Self { sites: (0..sites).map(at).collect(), oracle: Oracle::default() }
    }

    /// Sends what `to` lacks of the log of `from`, and commits it there as one group. Returns the records.
    pub(crate) fn send(
        &mut self,
        from: usize,
        to: usize,
        budget: ArrivalBudget,
    ) -> Result<Vec<Arrival>, ArrivalsError> {
        let seen = self.sites[to].store.frontier();
        let Arrivals { records, .. } = self.sites[from].store.arrivals(&seen, 0, budget)?;
        let receiver = &mut self.sites[to];
        for Arrival { dot, bytes } in &records {
            self.oracle.note(bytes);
            let taken = receiver.committer.ingest(receiver.wall, bytes.clone());
            assert_eq!(taken.expect("what is sent in order is taken"), *dot);
        }
        receiver.commit();
        Ok(records)
    }

    /// Sends everything from everyone to everyone.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2 {
            for from in 0..self.sites.len() {
                for to in (0..self.sites.len()).filter(|to| *to != from) {
                    self.send(from, to, EVERYTHING).expect("the log reaches back far enough");
                }
            }
        }
    }

    pub(crate) fn reopen(&mut self, site: usize, how: Stop) {
        let bench = self.sites.remove(site);
        self.sites.insert(site, bench.reopen(how));
    }

    pub(crate) fn siblings(&self, site: usize, key: &str) -> Vec<String> {
        let frontier = self.sites[site].store.frontier();
        let siblings = self.sites[site].store.read_at(key.as_bytes(), &frontier).expect("the cut can be read");
        siblings.iter().map(|sibling| text(&sibling.value)).collect()
    }

    pub(crate) fn value(&self, site: usize, key: &str) -> Option<String> {
        value(&self.sites[site].store, key)
    }

    /// Checks a site against the oracle at its frontier: every key's siblings, the one on show, and the leases' keys.
    pub(crate) fn check(&self, site: usize) {
        let store = &self.sites[site].store;
        let cut = store.frontier();
        let expected = self.oracle.at(&cut);
        for (key, siblings) in expected.iter().filter(|(key, _)| is_sampled(key)) {
            assert_eq!(store.read_at(key, &cut).expect("the cut can be read"), values(siblings), "{key:?} at {site}");
        }
        let shown = all(store).into_iter().filter(|pair| pair.key != "compact_rev_key");
        let shown: Vec<(Bytes, Bytes)> = shown.map(|pair| (pair.key, pair.value)).collect();
        let winners =
            expected.iter().filter_map(|(key, siblings)| Some((key.clone(), winner(siblings)?.value.clone())));
        assert_eq!(shown, winners.collect::<Vec<_>>(), "what site {site} shows");
        assert_eq!(store.system(b""), self.oracle.system_at(&cut), "the system's data at {site}");
    }

    /// Checks that sites which have applied the same show the same.
    pub(crate) fn check_equal(&self) {
        let (first, others) = self.sites.split_first().expect("there is a site");
        let content = |bench: &Bench| {
            let pairs = all(&bench.store).into_iter().filter(|pair| pair.key != "compact_rev_key");
            let pairs: Vec<_> = pairs.map(|pair| (pair.key, pair.value, pair.lease)).collect();
            (pairs, bench.store.system(b""), bench.store.digest(), bench.store.frontier())
        };
        for other in others {
            assert_eq!(content(first), content(other));
        }
    }
}

/// Keys that come in crowds are looked at one in ten: reading each reads the whole crowd's record.
pub(crate) fn is_sampled(key: &[u8]) -> bool {
    !key.starts_with(b"m") || key.ends_with(b"3")
}

fn values(siblings: &[SiblingValue]) -> Vec<SiblingValue> {
    let mut siblings = siblings.to_vec();
    siblings.sort_by_key(|sibling| sibling.element);
    siblings
}

fn winner(siblings: &[SiblingValue]) -> Option<&SiblingValue> {
    let order = |sibling: &&SiblingValue| {
        let Element { dot: Dot { replica, seq }, index } = sibling.element;
        (sibling.hlc, replica, seq, index)
    };
    siblings.iter().max_by_key(order)
}

/// Every record there has been, with its full context.
#[derive(Default)]
pub(crate) struct Oracle {
    records: BTreeMap<Dot, (Record, VersionVector)>,
    /// Their bytes.
    written: BTreeMap<Dot, Bytes>,
    /// Who names which element.
    named: BTreeMap<(Bytes, Element), Vec<Dot>>,
    /// The grants that were ended.
    ended: BTreeSet<Element>,
    /// Who removes which range of what it had seen.
    ranges: Vec<(Dot, RangeRemove)>,
}

impl Oracle {
    /// Takes in a record as it was sent. Records of one author come in order.
    fn note(&mut self, bytes: &Bytes) {
        let record = Record::decode(bytes.clone()).expect("what is sent is a record");
        let dot = record.header.dot;
        if self.records.contains_key(&dot) {
            return;
        }
        let before = self.records.get(&Dot::new(dot.replica, dot.seq - 1));
        assert_eq!(before.is_some(), dot.seq > 1, "{dot} was sent before the record before it");
        let mut context = before.map(|(_, context)| context.clone()).unwrap_or_default();
        record.extend_context(&mut context).expect("a record is true to its context");
        for operation in &record.operations {
            match operation {
                Operation::Put { key, supersedes: elements, .. }
                | Operation::Remove { key, elements }
                | Operation::SystemPut { key, supersedes: elements, .. }
                | Operation::SystemRemove { key, elements } => {
                    for element in elements {
                        self.named.entry((key.clone(), *element)).or_default().push(dot);
                    }
                }
                Operation::LeaseEnd { elements, .. } => self.ended.extend(elements),
                Operation::RangeRemove(range) => self.ranges.push((dot, range.clone())),
                _ => {}
            }
        }
        self.records.insert(dot, (record, context));
        self.written.insert(dot, bytes.clone());
    }

    /// Takes in what the sites have written and not yet sent.
    pub(crate) fn note_all(&mut self, mesh_sites: &[Bench]) {
        for bench in mesh_sites {
            let arrivals = bench.store.arrivals(&self.seen(), 0, EVERYTHING).expect("the log reaches back far enough");
            arrivals.records.iter().for_each(|arrival| self.note(&arrival.bytes));
        }
    }

    /// Takes in what a site has written and not yet sent, from a commit on. Returns the commit to go on from.
    pub(crate) fn note_from(&mut self, bench: &Bench, from: u64) -> u64 {
        let arrivals = bench.store.arrivals(&self.seen(), from, EVERYTHING).expect("the log reaches back far enough");
        arrivals.records.iter().for_each(|arrival| self.note(&arrival.bytes));
        arrivals.next
    }

    fn seen(&self) -> VersionVector {
        self.records.keys().copied().collect()
    }

    /// The siblings of every key that was ever written, at a cut.
    pub(crate) fn at(&self, cut: &VersionVector) -> BTreeMap<Bytes, Vec<SiblingValue>> {
        let mut keys: BTreeMap<Bytes, Vec<SiblingValue>> = BTreeMap::new();
        for (dot, (record, _)) in self.records.iter().filter(|(dot, _)| cut.covers(**dot)) {
            for (index, operation) in record.numbered() {
                let Operation::Put { key, value, .. } = operation else { continue };
                let element = dot.element(index);
                let siblings = keys.entry(key.clone()).or_default();
                if !self.removed(key, element, cut) {
                    siblings.push(SiblingValue { element, hlc: record.header.hlc, value: value.clone() });
                }
            }
        }
        keys
    }

    /// Writes that live at a cut although their lease does not.
    pub(crate) fn orphans_at(&self, cut: &VersionVector) -> Vec<Element> {
        let (mut granted, mut attached) = (BTreeSet::new(), Vec::new());
        for (dot, (record, _)) in self.records.iter().filter(|(dot, _)| cut.covers(**dot)) {
            for (index, operation) in record.numbered() {
                let element = dot.element(index);
                match operation {
                    Operation::LeaseGrant { id, .. } if !self.ended.contains(&element) => {
                        granted.insert(LeaseRef { home: dot.replica, id: *id });
                    }
                    Operation::Put { key, lease: Some(lease), .. } if !self.removed(key, element, cut) => {
                        attached.push((*lease, element));
                    }
                    _ => {}
                }
            }
        }
        attached.into_iter().filter(|(lease, _)| !granted.contains(lease)).map(|(_, element)| element).collect()
    }

    /// What the system's keys hold at a cut, winners first.
    fn system_at(&self, cut: &VersionVector) -> Vec<SystemEntry> {
        let mut keys: BTreeMap<Bytes, Vec<SystemSibling>> = BTreeMap::new();
        for (dot, (record, _)) in self.records.iter().filter(|(dot, _)| cut.covers(**dot)) {
            for (index, operation) in record.numbered() {
                let Operation::SystemPut { key, value, .. } = operation else { continue };
                let (element, hlc) = (dot.element(index), record.header.hlc);
                if !self.named(key, element, cut) {
                    let sibling = SystemSibling { element, hlc, value: value.clone() };
                    keys.entry(key.clone()).or_default().push(sibling);
                }
            }
        }
        let entries = keys.into_iter().map(|(key, mut siblings)| {
            siblings.sort_by_key(|sibling| std::cmp::Reverse((sibling.hlc, sibling.element)));
            SystemEntry { key, siblings }
        });
        entries.collect()
    }

    fn removed(&self, key: &Bytes, element: Element, cut: &VersionVector) -> bool {
        let holds = |RangeRemove { start, end }: &RangeRemove| key >= start && end.as_ref().is_none_or(|end| key < end);
        let by_range = |(dot, range): &(Dot, RangeRemove)| {
            cut.covers(*dot) && holds(range) && self.records[dot].1.covers_element(element)
        };
        self.named(key, element, cut) || self.ranges.iter().any(by_range)
    }

    /// Whether a record of the cut removes an element by its name.
    fn named(&self, key: &Bytes, element: Element, cut: &VersionVector) -> bool {
        self.named.get(&(key.clone(), element)).into_iter().flatten().any(|dot| cut.covers(*dot))
    }

    /// The records of a cut, each after its causes.
    pub(crate) fn written(&self, cut: &VersionVector) -> Vec<Bytes> {
        let mut dots: Vec<_> = self.records.iter().filter(|(dot, _)| cut.covers(**dot)).collect();
        dots.sort_by_key(|(_, (_, context))| context.iter().map(|dot| dot.seq).sum::<u64>());
        dots.into_iter().map(|(dot, _)| self.written[dot].clone()).collect()
    }

    /// The stamp of a record.
    pub(crate) fn hlc(&self, dot: Dot) -> Hlc {
        self.records[&dot].0.header.hlc
    }
}
