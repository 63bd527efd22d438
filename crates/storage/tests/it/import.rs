//! An imported history reads as it did where it was made: at every revision, in every watch, after every restart, and for every later peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use bytes::Bytes;
use tombolo_storage::{
    Below, Commit, Event, Import, ImportEnd, ImportFault, ImportedChange, ImportedLease, ImportedPair,
    ImportedTransaction, Kept, KeyRange, KeyValue, Op, RangeQuery, ReadError, Request, RequestError, Transaction,
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    random::{Random, for_seeds},
    support::*,
};

fn begin() -> Request {
    Request::Import(Box::new(Import::Begin { plan: bytes("plan") }))
}

fn transaction(revision: i64, changes: Vec<ImportedChange>) -> Request {
    Request::Import(Box::new(Import::Transactions(vec![ImportedTransaction { revision, changes }])))
}

fn end(revision: i64, compacted: i64, leases: Vec<(i64, i64)>) -> Request {
    Request::Import(Box::new(Import::End(ImportEnd { revision, compacted, leases, summary: bytes("done") })))
}

fn pair(key: &str, value: &str, create_revision: i64, version: i64) -> ImportedChange {
    leased(key, value, create_revision, version, ImportedLease::None)
}

fn leased(key: &str, value: &str, create_revision: i64, version: i64, lease: ImportedLease) -> ImportedChange {
    let pair = ImportedPair { value: bytes(value), create_revision, version, lease };
    ImportedChange { key: bytes(key), ordinal: 0, pair: Some(pair) }
}

fn gone(key: &str) -> ImportedChange {
    ImportedChange { key: bytes(key), ordinal: 0, pair: None }
}

fn fault(refused: Result<tombolo_storage::Answer, RequestError>) -> Option<ImportFault> {
    match refused {
        Err(RequestError::Import(fault)) => Some(fault),
        _ => None,
    }
}

/// What a store knows from its compaction on, as the steps that import it.
fn steps(source: &Bench) -> Vec<Request> {
    let published = source.store.published();
    let compacted = published.compacted.max(1);
    let leases = source.store.leases();
    let live: BTreeSet<i64> = leases.iter().map(|(id, _)| *id).collect();
    let imported = |pair: &KeyValue, ordinal| ImportedChange {
        key: pair.key.clone(),
        ordinal,
        pair: Some(ImportedPair {
            value: pair.value.clone(),
            create_revision: pair.create_revision,
            version: pair.version,
            lease: match pair.lease {
                0 => ImportedLease::None,
                id if live.contains(&id) => ImportedLease::Live(id),
                id => ImportedLease::Ended(id),
            },
        }),
    };
    let mut by_revision: BTreeMap<i64, Vec<ImportedChange>> = BTreeMap::new();
    for pair in all_at(&source.store, compacted) {
        let changes = by_revision.entry(pair.mod_revision).or_default();
        changes.push(imported(&pair, changes.len() as u32));
    }
    for commit in history(&source.store, compacted) {
        if commit.revision.get() > compacted {
            let change = |(ordinal, event): (usize, &Event)| match event {
                Event::Put(pair) => imported(pair, ordinal as u32),
                Event::Delete { key, .. } => ImportedChange { key: key.clone(), ordinal: ordinal as u32, pair: None },
            };
            by_revision.insert(commit.revision.get(), commit.events.iter().enumerate().map(change).collect());
        }
    }
    let mut steps = vec![begin()];
    steps.extend(by_revision.into_iter().map(|(revision, changes)| transaction(revision, changes)));
    steps.push(end(published.revision.get(), published.compacted, leases));
    steps
}

/// Everything clients can see of a store from its compaction on. Removals at the compaction itself are left out: only who compacted still
/// knows of them.
fn seen(bench: &Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let published = bench.store.published();
    let oldest = published.compacted.max(1);
    let ages: Vec<_> = (oldest..=published.revision.get()).map(|revision| all_at(&bench.store, revision)).collect();
    let mut told = history(&bench.store, oldest);
    told.retain(|commit| commit.revision.get() > oldest);
    let told: Vec<_> = told.into_iter().map(|Commit { revision, events, .. }| (revision, events)).collect();
    let mut leases = bench.store.leases();
    leases.sort_unstable();
    (published.revision, published.compacted, ages, told, leases)
}

fn random_request(random: &mut Random) -> Request {
    let key = format!("k{}", random.below(12));
    match random.below(12) {
        0 => delete(KeyRange::before(bytes(&key), bytes("k9"))),
        1 => delete(single(&key)),
        2 => Request::LeaseGrant { id: 1 + random.below(4) as i64, ttl_s: 60 },
        3 => Request::LeaseRevoke { id: 1 + random.below(4) as i64 },
        4 | 5 => put_leased(&key, "leased", 1 + random.below(4) as i64),
        6 => {
            let puts = (0..3).map(|at| Op::Put(put_op(&format!("t{at}{}", random.below(3)), "in a transaction")));
            Request::Txn(Transaction { then: puts.collect(), ..Transaction::default() })
        }
        7 => put("compact_rev_key", "stays at home"),
        _ => put(&key, &random.next().to_string()),
    }
}

/// A store with some history, compacted somewhere or nowhere.
fn some_source(random: &mut Random) -> Bench {
    let mut source = Bench::of(3, NOW);
    for _ in 0..random.below(80) {
        // A lease that is there already, or is not, is refused: so it goes.
        let _ = source.try_run(random_request(random));
        source.commit();
    }
    let revision = source.store.published().revision.get();
    if random.one_in(3) {
        source.compact(1 + random.below(revision as u64) as i64);
        source.sweep();
    }
    source
}

#[test]
fn an_imported_history_reads_as_it_did_and_goes_on_as_it_would_have() {
    for_seeds(0..60, |random| {
        let mut source = some_source(random);
        let mut target = Bench::new();
        for step in steps(&source) {
            let is_end = matches!(&step, Request::Import(step) if matches!(**step, Import::End(_)));
            target.try_run(step).expect("the step is carried out");
            if random.one_in(5) {
                target.commit();
            }
            if random.one_in(10) {
                target.commit();
                target = target.reopen(*random.pick(&[Stop::Close, Stop::Kill, Stop::Crash]));
                assert_eq!(target.store.is_importing(), !is_end);
            }
        }
        target.commit();
        assert!(!target.store.is_importing());
        assert_eq!(seen(&target), seen(&source));
        target = target.reopen(Stop::Kill);
        assert_eq!(seen(&target), seen(&source), "after a restart");
        for _ in 0..20 {
            let request = random_request(random);
            assert_eq!(target.try_run(request.clone()).ok(), source.try_run(request).ok());
            target.commit();
            source.commit();
        }
        assert_eq!(seen(&target), seen(&source), "after more of both");
        let revision = source.store.published().revision.get();
        if revision > source.store.published().compacted {
            target.compact(revision);
            source.compact(revision);
            target.sweep();
            source.sweep();
        }
        target = target.reopen(Stop::Crash);
        assert_eq!(seen(&target), seen(&source), "after another compaction");
    });
}

#[test]
fn a_later_peer_receives_what_was_imported_whatever_was_compacted_there() {
    for_seeds(0..20, |random| {
        let source = some_source(random);
        let mut target = Bench::new();
        for step in steps(&source) {
            target.run(step);
        }
        target.sweep();
        target = target.reopen(Stop::Crash);
        target.sweep();
        let mut peer = Bench::of(9, NOW);
        for arrival in target.store.arrivals(&peer.store.frontier(), 0, EVERYTHING).unwrap().records {
            peer.committer.ingest(NOW, arrival.bytes).unwrap();
        }
        peer.commit();
        assert_eq!(peer.store.digest(), target.store.digest());
        let kept_home = |pair: &KeyValue| pair.key != "compact_rev_key";
        let values = |bench: &Bench| {
            let pairs = all(&bench.store).into_iter().filter(kept_home);
            pairs.map(|pair| (pair.key, pair.value, pair.lease)).collect::<Vec<_>>()
        };
        assert_eq!(values(&peer), values(&target));
    });
}

#[test]
fn numbers_are_kept_across_the_gaps_that_a_compaction_left() {
    let mut bench = Bench::new();
    bench.run(begin());
    bench.run(transaction(7, vec![pair("a", "1", 3, 4)]));
    bench.run(transaction(5_000_000, vec![pair("b", "1", 5_000_000, 1), pair("c", "1", 9, 2)]));
    bench.run(end(6_000_000, 6_000_000, Vec::new()));
    assert_eq!(bench.store.published().revision.get(), 6_000_000);
    let a = get(&bench.store, "a").unwrap();
    assert_eq!((a.create_revision, a.mod_revision, a.version), (3, 7, 4));
    let below = RangeQuery { revision: 5_999_999, ..RangeQuery::all(KeyRange::all()) };
    assert!(matches!(bench.store.range(&below), Err(ReadError::Compacted { oldest: 6_000_000 })));
    let mut bench = bench.reopen(Stop::Crash);
    bench.run(put("a", "2"));
    let a = get(&bench.store, "a").unwrap();
    assert_eq!((a.create_revision, a.mod_revision, a.version), (3, 6_000_001, 5));
}

#[test]
fn each_change_keeps_its_place_in_its_transaction() {
    let mut bench = Bench::new();
    bench.run(begin());
    let change = |ordinal, change: ImportedChange| ImportedChange { ordinal, ..change };
    bench.run(transaction(2, vec![change(3, pair("a", "1", 2, 1)), change(7, pair("b", "1", 2, 1))]));
    bench.run(transaction(4, vec![change(1, gone("a")), change(2, pair("c", "1", 4, 1))]));
    bench.run(end(4, 0, Vec::new()));
    let bench = bench.reopen(Stop::Crash);
    let mut kept = Vec::new();
    let mut note = |kept_one: Kept| {
        kept.push((kept_one.revision, kept_one.ordinal));
        ControlFlow::Continue(())
    };
    bench.store.kept(0, Below::Readable, &mut note).unwrap();
    assert_eq!(kept, [(2, 3), (2, 7), (4, 1), (4, 2)]);
}

#[test]
fn nothing_else_is_written_while_an_import_is_under_way_whoever_restarts() {
    let mut bench = Bench::new();
    bench.run(begin());
    for _ in 0..2 {
        for request in [put("x", "1"), Request::Compact { revision: 1 }, Request::LeaseGrant { id: 1, ttl_s: 9 }] {
            assert!(matches!(bench.try_run(request), Err(RequestError::Importing)));
        }
        assert!(bench.store.is_importing());
        assert_eq!(bench.store.import_plan(), Some(bytes("plan")));
        bench = bench.reopen(Stop::Kill);
    }
    bench.run(begin());
    let other = Request::Import(Box::new(Import::Begin { plan: bytes("another") }));
    assert_eq!(fault(bench.try_run(other)), Some(ImportFault::OtherPlan));
    bench.run(end(1, 0, Vec::new()));
    bench.run(put("x", "1"));
}

#[test]
fn an_import_begins_only_where_nothing_was_counted() {
    for used in [put("x", "1"), Request::LeaseGrant { id: 1, ttl_s: 9 }] {
        let mut bench = Bench::new();
        bench.run(used);
        assert_eq!(fault(bench.try_run(begin())), Some(ImportFault::NotEmpty));
    }
    let mut bench = Bench::new();
    let mut peer = Bench::of(9, NOW);
    peer.run(Request::System(vec![tombolo_storage::SystemWrite::Put { key: bytes("m"), value: bytes("1") }]));
    for arrival in peer.store.arrivals(&Default::default(), 0, EVERYTHING).unwrap().records {
        bench.committer.ingest(NOW, arrival.bytes).unwrap();
    }
    bench.commit();
    assert_eq!(fault(bench.try_run(begin())), Some(ImportFault::NotEmpty), "it knows another replica");
}

#[test]
fn a_step_that_cannot_be_true_is_refused_and_changes_nothing() {
    let mut bench = Bench::new();
    assert_eq!(fault(bench.try_run(transaction(2, vec![pair("a", "1", 2, 1)]))), Some(ImportFault::NotBegun));
    assert_eq!(fault(bench.try_run(end(1, 0, Vec::new()))), Some(ImportFault::NotBegun));
    bench.run(begin());
    bench.run(transaction(5, vec![pair("a", "1", 5, 1)]));
    for (step, expected) in [
        (transaction(5, vec![pair("b", "1", 5, 1)]), ImportFault::Revision { revision: 5, reached: 5 }),
        (transaction(1 << 38, vec![pair("b", "1", 5, 1)]), ImportFault::Revision { revision: 1 << 38, reached: 5 }),
        (transaction(-1, vec![pair("b", "1", 5, 1)]), ImportFault::Revision { revision: -1, reached: 5 }),
        (
            transaction(6, vec![pair("b", "1", 7, 1)]),
            ImportFault::Counts { revision: 6, create_revision: 7, version: 1 },
        ),
        (
            transaction(6, vec![pair("b", "1", 6, 0)]),
            ImportFault::Counts { revision: 6, create_revision: 6, version: 0 },
        ),
        (transaction(6, vec![pair("b", "1", 6, 1), gone("b")]), ImportFault::Key { revision: 6 }),
        (transaction(6, vec![pair("", "1", 6, 1)]), ImportFault::Key { revision: 6 }),
        (transaction(6, Vec::new()), ImportFault::Key { revision: 6 }),
        (transaction(6, vec![gone("b")]), ImportFault::Absent { revision: 6 }),
        (end(4, 0, Vec::new()), ImportFault::Revision { revision: 4, reached: 5 }),
        (end(5, 6, Vec::new()), ImportFault::Compaction { compacted: 6, revision: 5 }),
        (end(5, 0, vec![(1, 9), (1, 9)]), ImportFault::Lease { id: 1 }),
        (end(5, 0, vec![(0, 9)]), ImportFault::Lease { id: 0 }),
    ] {
        assert_eq!(fault(bench.try_run(step)), Some(expected));
    }
    assert!(matches!(bench.try_run(end(5, 0, vec![(1, 0)])), Err(RequestError::LeaseTtl { ttl_s: 0 })));
    bench.commit();
    assert_eq!(all(&bench.store).len(), 1);
    bench.run(end(5, 0, Vec::new()));
}

#[test]
fn leases_hold_what_was_attached_to_them_and_those_that_ended_hold_nothing() {
    let mut bench = Bench::new();
    bench.run(begin());
    bench.run(transaction(2, vec![leased("live", "1", 2, 1, ImportedLease::Live(7))]));
    bench.run(transaction(3, vec![leased("ended", "1", 3, 1, ImportedLease::Ended(8))]));
    // Whoever restarts before the leases are granted does not take their keys for orphans.
    bench = bench.reopen(Stop::Kill);
    bench.committer.maintain(NOW).unwrap();
    bench.run(begin());
    bench.run(end(3, 0, vec![(7, 60)]));
    bench.sweep();
    bench = bench.reopen(Stop::Crash);
    bench.sweep();
    assert_eq!(get(&bench.store, "live").unwrap().lease, 7);
    assert_eq!(get(&bench.store, "ended").unwrap().lease, 8);
    assert!(matches!(bench.try_run(Request::LeaseRevoke { id: 8 }), Err(RequestError::LeaseNotFound { id: 8 })));
    bench.run(Request::LeaseRevoke { id: 7 });
    assert_eq!((get(&bench.store, "live"), get(&bench.store, "ended").is_some()), (None, true));
}

#[test]
fn a_removal_of_many_keys_is_one_transaction_and_spares_what_lies_between() {
    let keys: Vec<String> = (0..900).map(|number| format!("k{number:04}")).collect();
    let mut bench = Bench::new();
    bench.run(begin());
    for (at, key) in keys.iter().enumerate() {
        bench.run(transaction(2 + at as i64, vec![pair(key, "1", 2 + at as i64, 1)]));
    }
    let spared = ["k0300", "k0301", "k0700"];
    let mut changes: Vec<ImportedChange> =
        keys.iter().filter(|key| !spared.contains(&key.as_str())).map(|key| gone(key)).collect();
    changes.push(pair("k0700", "2", 702, 2));
    bench.run(transaction(2_000, changes));
    bench.run(end(2_000, 0, Vec::new()));
    let expect = |bench: &Bench| {
        let left: Vec<Bytes> = all(&bench.store).into_iter().map(|pair| pair.key).collect();
        assert_eq!(left, spared);
        assert_eq!(all_at(&bench.store, 1_999).len(), 900);
        let told = history(&bench.store, 2_000);
        assert_eq!((told.len(), told[0].events.len()), (1, 898));
    };
    expect(&bench);
    expect(&bench.reopen(Stop::Crash));
}
