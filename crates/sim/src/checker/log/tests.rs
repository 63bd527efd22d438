//! A log that is as it must be, and every way for it not to be.

use tombolo_crdt::{Chain, Hlc, RecordHeader, ReplicaId};
use tombolo_storage::{
    ArrivalBudget, Committer, Delete, OpenOptions, Put, RangeQuery, Request, Store, SystemWrite, WallTime,
    engine::memory::MemoryEngine,
};

use super::*;

const WALL: WallTime = WallTime(1_000_000);

/// A real store, and the log that watches it.
struct Bench {
    store: Store,
    committer: Committer,
    log: Log,
    records: Records,
}

impl Bench {
    fn new() -> Self {
        let options = OpenOptions::new(WALL, [5; 32]);
        let (store, committer) = Store::open_on(Box::new(MemoryEngine::new()), &options).expect("it is empty");
        let log = Log::new(0, store.identity().replica, store.identity().slot);
        Self { store, committer, log, records: Records::default() }
    }

    fn commit(&mut self, request: Request) -> (Vec<Arrival>, Vec<Arc<Commit>>) {
        self.committer.execute(WALL, request).expect("the request is sound");
        let before = self.store.frontier();
        let commits = self.committer.commit().expect("the engine writes");
        let budget = ArrivalBudget { commits: 10, bytes: usize::MAX };
        (self.store.arrivals(&before, 0, budget).expect("nothing was compacted").records, commits)
    }

    fn take(&mut self, arrivals: &[Arrival], commits: &[Arc<Commit>]) -> Result<(), Violation> {
        self.log.published(&mut self.records, arrivals, commits, &BTreeMap::new())
    }

    fn pairs(&self) -> Vec<KeyValue> {
        self.store.range(&RangeQuery::all(KeyRange::all())).expect("it reads").pairs
    }
}

fn put(value: &str, lease: i64) -> Request {
    let lease = Some(lease);
    Request::Put(Put { key: "k".into(), value: Some(Bytes::from(value.to_owned())), lease, previous: false })
}

fn delete() -> Request {
    Request::Delete(Delete { range: KeyRange::all(), previous: false })
}

#[test]
fn a_sound_store_is_as_its_records_make_it() {
    let mut bench = Bench::new();
    for request in [put("v1", 0), put("v2", 0), delete(), put("v3", 0)] {
        let (arrivals, commits) = bench.commit(request);
        bench.take(&arrivals, &commits).expect("the store is sound");
        bench.log.check_published(bench.store.published(), &bench.store.frontier()).expect("the store is sound");
        bench.log.check_content(&bench.pairs()).expect("the store is sound");
    }
    assert_eq!(bench.log.next_match(2, &KeyRange::all()).map(|(revision, _)| revision), Some(3));
    assert_eq!(bench.log.next_match(2, &KeyRange::single("other".into())), None);
}

#[test]
fn commits_that_are_told_otherwise_are_found() {
    let spoiled: [fn(&mut Commit); 5] = [
        |commit| commit.system.push("m".into()),
        |commit| commit.number += 1,
        |commit| commit.revision = commit.revision.next().expect("there is a next one"),
        |commit| commit.events.clear(),
        |commit| commit.events.extend(commit.events.clone()),
    ];
    for spoil in spoiled {
        let mut bench = Bench::new();
        let (arrivals, commits) = bench.commit(put("v1", 0));
        let mut commit = Commit::clone(&commits[0]);
        spoil(&mut commit);
        assert!(bench.take(&arrivals, &[Arc::new(commit)]).is_err());
    }
    let mut bench = Bench::new();
    let (_, commits) = bench.commit(put("v1", 0));
    assert!(bench.take(&[], &commits).is_err(), "a commit without its record");
}

#[test]
fn readers_that_are_shown_something_else_are_found() {
    let mut bench = Bench::new();
    let (arrivals, commits) = bench.commit(put("v1", 0));
    let (published, frontier) = (bench.store.published(), bench.store.frontier());
    assert!(bench.log.check_published(published, &frontier).is_err(), "the log has not seen it");
    assert!(bench.log.check_content(&bench.pairs()).is_err());
    bench.take(&arrivals, &commits).expect("the store is sound");
    assert!(bench.log.check_published(published, &VersionVector::new()).is_err());
    let mut pairs = bench.pairs();
    pairs[0].version += 1;
    assert!(bench.log.check_content(&pairs).is_err());
}

#[test]
fn the_past_is_read_as_it_was() {
    let mut bench = Bench::new();
    for request in [put("v1", 0), put("v2", 0), delete()] {
        let (arrivals, commits) = bench.commit(request);
        bench.take(&arrivals, &commits).expect("the store is sound");
    }
    let past = |revision| RangeQuery { revision, ..RangeQuery::all(KeyRange::all()) };
    for revision in 1..=4 {
        let pairs = bench.store.range(&past(revision)).expect("it reads").pairs;
        bench.log.check_past(revision, &pairs).expect("the store is sound");
        assert_eq!(bench.log.check_past(revision % 4 + 1, &pairs).is_ok(), pairs.is_empty() && revision % 4 != 1);
    }
}

#[test]
fn the_systems_data_is_held_against_the_records() {
    let mut bench = Bench::new();
    let write = SystemWrite::Put { key: "m".into(), value: "s1".into() };
    let (arrivals, commits) = bench.commit(Request::System(vec![write]));
    bench.take(&arrivals, &commits).expect("the store is sound");
    bench.log.check_system(&bench.store.system(b"")).expect("the store is sound");
    assert!(bench.log.check_system(&[]).is_err());
}

#[test]
fn a_record_that_does_not_know_what_counted_as_stable_is_found() {
    let dot = |replica, seq| Dot::new(ReplicaId::new(replica).expect("not 0"), seq);
    let record = |dot: Dot, delta: &[Dot]| {
        let context_delta = delta.iter().copied().collect();
        let header = RecordHeader { dot, hlc: Hlc::from_millis(dot.seq), context_delta, chain: Chain::BEGINNING };
        Record { header, operations: Vec::new() }
    };
    let mut log = Log::new(0, dot(9, 1).replica, Slot::FIRST);
    log.apply(&record(dot(1, 1), &[])).expect("it follows");
    let members = [2, 3].map(|member| dot(member, 1).replica).into_iter().collect();
    assert!(log.note_stable(&members, &[dot(2, 1)].into_iter().collect()).is_err(), "it is not applied");
    log.note_stable(&members, &[dot(1, 1)].into_iter().collect()).expect("it is applied");
    log.apply(&record(dot(2, 1), &[dot(1, 1)])).expect("its author knew");
    log.apply(&record(dot(4, 1), &[])).expect("its author was none of them");
    assert_eq!(log.apply(&record(dot(3, 1), &[])).unwrap_err().claim, Claim::Stability);
}

#[test]
fn numbers_between_two_names_of_a_site_are_nobodys() {
    let id = |bits| ReplicaId::new(bits).expect("not 0");
    let mut log = Log::new(0, id(1), Slot::FIRST);
    let begins = Revision::new(1_000).expect("it is one");
    log.renamed(id(2), begins);
    assert_eq!(log.model().revision(), begins);
    assert_eq!([1, 2, 999, 1_000, 2_000].map(|number| log.counts(number)), [true, false, false, true, true]);
}

#[test]
fn a_write_that_leaves_a_sibling_standing_is_found() {
    let dot = |replica, seq| Dot::new(ReplicaId::new(replica).expect("not 0"), seq);
    let put = |dot: Dot, delta: &[Dot], supersedes: Vec<Element>| {
        let context_delta = delta.iter().copied().collect();
        let header = RecordHeader { dot, hlc: Hlc::from_millis(dot.seq), context_delta, chain: Chain::BEGINNING };
        Record {
            header,
            operations: vec![Operation::Put { key: "k".into(), value: "v".into(), lease: None, supersedes }],
        }
    };
    let seen = [dot(1, 1), dot(2, 1)];
    for named in [2, 1, 0] {
        let mut log = Log::new(0, dot(9, 1).replica, Slot::FIRST);
        for other in seen {
            log.apply(&put(other, &[], vec![])).expect("others may write beside one another");
        }
        let supersedes = seen[..named].iter().map(|dot| dot.element(0)).collect();
        let mut record = put(dot(9, 1), &seen, supersedes);
        record.header.hlc = Hlc::from_millis(7);
        assert_eq!(log.apply(&record).is_ok(), named == 2);
    }
}

#[test]
fn a_log_that_has_lost_its_end_or_changed_its_order_is_found() {
    let mut bench = Bench::new();
    let mut all = Vec::new();
    for value in ["v1", "v2"] {
        let (arrivals, commits) = bench.commit(put(value, 0));
        bench.take(&arrivals, &commits).expect("the store is sound");
        all.extend(arrivals);
    }
    let floor = VersionVector::new();
    bench.log.reopened(&mut bench.records, &all, &floor, None).expect("it is the same log");
    assert!(bench.log.reopened(&mut bench.records, &all[..1], &floor, None).is_err());
    all.reverse();
    assert!(bench.log.reopened(&mut bench.records, &all, &floor, None).is_err());
}

#[test]
fn what_was_on_disk_and_not_published_is_shown_after_a_restart() {
    let mut bench = Bench::new();
    let (arrivals, _) = bench.commit(put("v1", 0));
    bench.log.reopened(&mut bench.records, &arrivals, &VersionVector::new(), None).expect("a log may go on");
    bench.log.check_published(bench.store.published(), &bench.store.frontier()).expect("the log has seen it");
}

#[test]
fn an_expiry_that_takes_what_is_not_its_own_is_found() {
    let mut bench = Bench::new();
    for request in [Request::LeaseGrant { id: 7, ttl_s: 5 }, put("v1", 7)] {
        let (arrivals, commits) = bench.commit(request);
        bench.take(&arrivals, &commits).expect("the store is sound");
    }
    let expiry = |commits: &[Arc<Commit>]| commits.iter().map(|commit| (commit.number, 7)).collect();
    let (arrivals, commits) = bench.commit(Request::LeaseRevoke { id: 7 });
    bench.log.published(&mut bench.records, &arrivals, &commits, &expiry(&commits)).expect("it takes what is attached");
    let (arrivals, commits) = bench.commit(put("v2", 0));
    bench.take(&arrivals, &commits).expect("the store is sound");
    let (arrivals, commits) = bench.commit(delete());
    let taken = bench.log.published(&mut bench.records, &arrivals, &commits, &expiry(&commits));
    assert_eq!(taken.unwrap_err().claim, Claim::Leases);
}

/// A site's log at the end of a lease, a record of somebody who put a key under it, and the site's removal of that key.
fn beyond_a_lease() -> (Log, Records, Arrival, Arrival) {
    let [own, other] = [9, 3].map(|id| ReplicaId::new(id).expect("not 0"));
    let lease = tombolo_crdt::LeaseRef { home: own, id: 7 };
    let arrival = |dot: Dot, delta: &[Dot], operation: Operation| {
        let context_delta = delta.iter().copied().collect();
        let header = RecordHeader { dot, hlc: Hlc::from_millis(10 * dot.seq), context_delta, chain: Chain::BEGINNING };
        Arrival { dot, bytes: Record { header, operations: vec![operation] }.encode(&Chain::BEGINNING).0 }
    };
    let put = Dot::new(other, 1);
    let written = [
        arrival(Dot::new(own, 1), &[], Operation::LeaseGrant { id: 7, ttl_s: 5 }),
        arrival(Dot::new(own, 2), &[], Operation::LeaseEnd { lease, elements: vec![Dot::new(own, 1).element(0)] }),
    ];
    let (mut log, mut records) = (Log::new(0, own, Slot::FIRST), Records::default());
    for arrival in &written {
        let record = records.note(0, &arrival.bytes).expect("it is new");
        log.apply(&record).expect("it follows");
    }
    let late = Operation::Put { key: "k".into(), value: "v".into(), lease: Some(lease), supersedes: vec![] };
    let late = arrival(put, &[Dot::new(own, 1)], late);
    records.note(1, &late.bytes).expect("it is new");
    let removal = Operation::Remove { key: "k".into(), elements: vec![put.element(0)] };
    let removal = arrival(Dot::new(own, 3), &[put], removal);
    (log, records, late, removal)
}

/// What a store tells of the transfer that brings the key, and of its removal.
fn told_of_a_join() -> [Commit; 2] {
    let revision =
        |ordinal: i64| (1..ordinal).fold(Slot::FIRST.beginning(), |last, _| last.next().expect("there is one"));
    let (create_revision, mod_revision) = (2, 2);
    let pair = KeyValue { key: "k".into(), value: "v".into(), create_revision, mod_revision, version: 1, lease: 7 };
    let commit = |number: u64, at: i64, event: Event| Commit {
        number,
        revision: revision(at),
        events: vec![event],
        leases: vec![],
        system: vec![],
    };
    [commit(4, 2, Event::Put(pair)), commit(5, 3, Event::Delete { key: "k".into(), revision: revision(3) })]
}

#[test]
fn what_a_transfer_brings_beyond_its_lease_is_told_and_then_removed() {
    let (_, _, late, removal) = beyond_a_lease();
    let frontier: VersionVector = [Dot::new(removal.dot.replica, 3), late.dot].into_iter().collect();
    let [transfer, removed] = told_of_a_join().map(Arc::new);
    let join = |own: &[Arrival], commits: &[Arc<Commit>]| {
        let (mut log, mut records, ..) = beyond_a_lease();
        log.joined(&mut records, &frontier, own, commits, None).and_then(|()| log.check_content(&[]))
    };
    let own = [removal];
    join(&own, &[transfer.clone(), removed.clone()]).expect("it is as it must be");
    assert!(join(&own, &[removed.clone(), transfer.clone()]).is_err(), "in another order");
    assert!(join(&own, std::slice::from_ref(&transfer)).is_err(), "the removal is not told of");
    assert!(join(&[], &[transfer.clone(), removed]).is_err(), "there is no record of the removal");
    assert!(join(&[], &[transfer]).is_err(), "what outlived its lease is shown");
}

#[test]
fn a_join_that_nobody_was_shown_is_found_with_what_was_removed_after_it() {
    let (mut log, mut records, late, removal) = beyond_a_lease();
    let own = removal.dot.replica;
    let floor: VersionVector = [Dot::new(own, 2), late.dot].into_iter().collect();
    let is_found = log.reopened(&mut records, &[removal], &floor, None).expect("causes come first");
    assert!(is_found);
    log.check_content(&[]).expect("it was removed");
}
