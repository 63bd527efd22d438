//! An engine that fails, forgets and rots: what was acknowledged is there or is named as lost, and no value is ever wrong.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tombolo_crdt::VersionVector;
use tombolo_storage::{
    CommitError, Durability, Health, IngestError, KeyRange, KeyValue, OpenError, RangeQuery, ReadError, Request,
    RequestError, Store, WallTime,
    engine::{Engine, memory::MemoryEngine},
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    support::*,
};

/// A workload with something of everything: puts, deletes, a lease, a transaction, compactions, sweeps.
fn script(bench: &mut Bench, mut after_each: impl FnMut(&mut Bench, Result<(), CommitError>)) {
    let steps = 60;
    for step in 0..steps {
        let requests = match step % 10 {
            0..5 => vec![put(&format!("k{}", step % 7), &step.to_string()), put("twice", &step.to_string())],
            5 => vec![delete(single(&format!("k{}", step % 7)))],
            6 => vec![Request::LeaseGrant { id: step, ttl_s: 9 }, put_leased("leased", &step.to_string(), step)],
            7 => vec![Request::LeaseRevoke { id: step - 1 }],
            8 => vec![put("compact_rev_key", &step.to_string())],
            _ => vec![Request::Compact { revision: bench.store.published().revision.get() - 5 }],
        };
        for request in requests {
            match bench.try_run(request) {
                Ok(_) | Err(RequestError::Poisoned { .. } | RequestError::LeaseNotFound { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let committed = bench.committer.commit().map(drop);
        after_each(bench, committed);
        if step % 10 == 9 {
            bench.pass_grace();
            let swept = bench.committer.maintain(bench.wall).map(drop);
            after_each(bench, swept);
        }
    }
}

/// What a client sees, at every revision it can read.
fn seen(store: &Store) -> Vec<Vec<KeyValue>> {
    let published = store.published();
    (published.compacted.max(1)..=published.revision.get()).map(|revision| all_at(store, revision)).collect()
}

#[test]
fn a_failed_write_poisons_until_the_store_is_reopened() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    let before = (all(&bench.store), bench.store.published());
    bench.engine.fail_in(1);
    bench.try_run(put("a", "2")).unwrap();
    bench.try_run(put("b", "2")).unwrap();
    assert!(matches!(bench.committer.commit(), Err(CommitError::Poisoned { .. })));
    assert_eq!((all(&bench.store), bench.store.published()), before, "nothing of the failed group is shown");
    assert_eq!(history(&bench.store, 1).len(), 1);
    assert_eq!(bench.store.health(), Health::Poisoned);
    // The disk is well again; nobody may believe that.
    bench.engine.fail_in(0);
    assert!(matches!(bench.try_run(put("c", "3")), Err(RequestError::Poisoned { .. })));
    assert!(matches!(bench.try_run(Request::Compact { revision: 2 }), Err(RequestError::Poisoned { .. })));
    assert!(matches!(bench.committer.commit(), Err(CommitError::Poisoned { .. })));
    assert!(matches!(bench.committer.maintain(bench.wall), Err(CommitError::Poisoned { .. })));
    let other = bench.store.arrivals(&VersionVector::new(), 0, EVERYTHING).unwrap().records.remove(0).bytes;
    assert!(matches!(bench.committer.ingest(bench.wall, other), Err(IngestError::Poisoned { .. })));
    assert_eq!((all(&bench.store), bench.store.published()), before);
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!((all(&bench.store), bench.store.health()), (before.0, Health::Ok));
    bench.run(put("a", "2"));
}

#[test]
fn a_poisoned_store_does_not_close_as_if_nothing_had_happened() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    bench.engine.fail_in(1);
    bench.try_run(put("a", "2")).unwrap();
    bench.committer.commit().unwrap_err();
    assert!(matches!(bench.committer.close(), Err(CommitError::Poisoned { .. })));
}

#[test]
fn a_failed_sync_leaves_an_unknown_and_no_half_of_it() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    bench.engine.fail_sync_in(1);
    bench.try_run(put("a", "2")).unwrap();
    bench.try_run(put("b", "2")).unwrap();
    bench.committer.commit().unwrap_err();
    assert_eq!(value(&bench.store, "a").as_deref(), Some("1"));
    let killed = Bench::on(bench.engine.kill());
    assert_eq!((value(&killed.store, "a").as_deref(), value(&killed.store, "b").as_deref()), (Some("2"), Some("2")));
    let crashed = Bench::on(bench.engine.crash());
    assert_eq!((value(&crashed.store, "a").as_deref(), value(&crashed.store, "b")), (Some("1"), None));
}

#[test]
fn what_a_reopened_store_shows_is_on_disk() {
    let mut bench = Bench::new();
    bench.engine.fail_sync_in(1);
    bench.try_run(put("a", "1")).unwrap();
    bench.committer.commit().unwrap_err();
    // The process dies, the system still has the write, and a new process shows it. Then the machine stops.
    let bench = bench.reopen(Stop::Kill);
    assert_eq!(value(&bench.store, "a").as_deref(), Some("1"));
    let bench = bench.reopen(Stop::Crash);
    assert_eq!(value(&bench.store, "a").as_deref(), Some("1"));
}

#[test]
fn under_an_interval_the_disk_is_brought_up_to_date_in_time() {
    for (durability, is_synced) in
        [(Durability::Interval(Duration::from_secs(1)), true), (Durability::Os, false), (Durability::Fsync, true)]
    {
        let engine = Arc::new(MemoryEngine::new());
        let mut options = options();
        options.durability = durability;
        let (_, mut committer) = Store::open_on(Box::new(Arc::clone(&engine)), &options).unwrap();
        run(&mut committer, put("a", "1"));
        let rows = |engine: &MemoryEngine| engine.crash().snapshot().scan(b"c", b"d").count();
        assert_eq!(rows(&engine), usize::from(durability == Durability::Fsync));
        committer.maintain(WallTime(NOW.0 + 999)).unwrap();
        assert_eq!(rows(&engine), usize::from(durability == Durability::Fsync), "not yet");
        committer.maintain(WallTime(NOW.0 + 1000)).unwrap();
        assert_eq!(rows(&engine), usize::from(is_synced), "{durability}");
        // A clock that was set back does not put the next one off.
        run(&mut committer, put("a", "2"));
        committer.maintain(WallTime(NOW.0 - 86_400_000)).unwrap();
        assert_eq!(rows(&engine), if is_synced { 2 } else { 0 }, "{durability}");
        committer.close().unwrap();
        assert_eq!(rows(&engine), 2, "{durability}");
    }
}

#[test]
fn wherever_writing_stops_what_was_acknowledged_is_there() {
    for syncs_only in [false, true] {
        for failing in 1..150 {
            let mut bench = Bench::new();
            let fail = if syncs_only { MemoryEngine::fail_sync_in } else { MemoryEngine::fail_in };
            fail(&bench.engine, failing);
            let (mut acknowledged, mut published, mut failures) = (seen(&bench.store), bench.store.published(), 0);
            script(&mut bench, |bench, outcome| match outcome {
                Ok(()) => (acknowledged, published) = (seen(&bench.store), bench.store.published()),
                Err(_) => failures += 1,
            });
            assert!(failures > 0 || failing > if syncs_only { 60 } else { 120 }, "write {failing} failed");
            assert_eq!(seen(&bench.store), acknowledged, "reads go on");
            let crashed = Bench::on(bench.engine.crash());
            assert_eq!((seen(&crashed.store), crashed.store.published()), (acknowledged.clone(), published));
            let killed = Bench::on(bench.engine.kill());
            let (after, at) = (seen(&killed.store), killed.store.published());
            assert!(at.commit >= published.commit && at.revision >= published.revision);
            let shared = (at.compacted.max(1)..=published.revision.get()).count();
            let skipped = after.len() - (at.revision.get() - published.revision.get()) as usize - shared;
            assert_eq!(after[skipped..][..shared], acknowledged[acknowledged.len() - shared..], "write {failing}");
        }
    }
}

#[test]
fn a_failed_slice_of_a_sweep_loses_nothing() {
    let mut bench = Bench::new();
    for round in 0..800 {
        bench.run(put(&format!("k{}", round % 5), &round.to_string()));
    }
    bench.compact(700);
    let before = seen(&bench.store);
    bench.pass_grace();
    bench.committer.maintain(bench.wall).unwrap();
    bench.engine.fail_in(1);
    assert!(matches!(bench.committer.maintain(bench.wall), Err(CommitError::Poisoned { .. })));
    assert_eq!(seen(&bench.store), before);
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!(seen(&bench.store), before);
    bench.sweep();
    assert_eq!(seen(&bench.store), before);
}

/// Rows of every form: whole ones and remainders, with ranges, both layers, and a base.
fn every_form() -> Bench {
    let mut bench = Bench::new();
    script(&mut bench, |_, outcome| outcome.unwrap());
    for key in 0..70 {
        bench.run(put(&format!("m{key}"), "v"));
    }
    bench.run(delete(KeyRange::from_key(bytes("m"))));
    bench.run(put("last", "1"));
    bench
}

fn all_rows(bench: &Bench) -> Vec<(bytes::Bytes, usize)> {
    let snapshot = bench.engine.snapshot();
    let rows = snapshot.scan(&[0], &[0xff]);
    rows.map(|row| row.expect("memory reads")).map(|(key, row)| (key, row.len())).collect()
}

#[test]
fn a_rotten_row_is_found_when_the_store_opens() {
    let bench = every_form();
    let expected = seen(&bench.store);
    // A base lies there twice.
    for (key, length) in all_rows(&bench).into_iter().filter(|(key, _)| key[0] == b'c') {
        // The first bytes, the hash, and some between: every field of a short row.
        let step = (length / 24).max(1);
        for at in (0..length).filter(|at| *at < 12 || at % step == 0 || *at + 9 > length) {
            let engine = bench.engine.crash();
            assert!(engine.rot(&key, |row| row[at] ^= 1 << (at % 8)));
            let opened = Bench::try_on(engine, bench.wall);
            assert!(
                matches!(opened, Err(OpenError::Damaged { .. } | OpenError::Rotten { .. })),
                "byte {at} of row {key:?}"
            );
        }
        for damage in [|row: &mut Vec<u8>| row.truncate(row.len() / 2), |row: &mut Vec<u8>| row.clear()] {
            let engine = bench.engine.crash();
            engine.rot(&key, damage);
            assert!(
                matches!(Bench::try_on(engine, bench.wall), Err(OpenError::Damaged { .. } | OpenError::Rotten { .. })),
                "row {key:?}"
            );
        }
    }
    assert_eq!(seen(&Bench::on(bench.engine.crash()).store), expected);
}

#[test]
fn a_row_that_rots_while_the_store_is_open_is_never_read_as_a_value() {
    let bench = every_form();
    let right = seen(&bench.store);
    let published = bench.store.published();
    let mut told = 0;
    for (key, length) in all_rows(&bench).into_iter().filter(|(key, _)| key.starts_with(b"c")) {
        let commit = u64::from_be_bytes(key[1..].try_into().expect("nine bytes"));
        let before = bench.engine.get(&key).unwrap().expect("the row is there");
        bench.engine.rot(&key, |row| row[length / 2] ^= 4);
        let mut found = false;
        for (revision, right) in (published.compacted..).zip(&right) {
            let query = RangeQuery { revision, ..RangeQuery::all(KeyRange::all()) };
            match bench.store.range(&query) {
                Ok(answer) => assert_eq!(&answer.pairs, right),
                Err(ReadError::Rot { commit: named }) => {
                    assert_eq!(named, commit);
                    found = true;
                }
                Err(other) => panic!("{other}"),
            }
        }
        told += usize::from(found);
        bench.engine.rot(&key, |row| *row = before.to_vec());
    }
    assert!(told > 10, "most rows hold a value that some revision shows, not {told}");
}

#[test]
fn a_lost_row_is_missed() {
    let bench = every_form();
    let last = bench.store.published().commit;
    let expected = seen(&bench.store);
    for (key, _) in all_rows(&bench) {
        let engine = bench.engine.crash();
        assert!(engine.lose(&key));
        match Bench::try_on(engine, bench.wall) {
            Err(OpenError::Damaged { .. } | OpenError::Rotten { .. }) => {}
            // The end of the log is for the fence to guard: nothing in the rows says where it was.
            Ok(opened) if key == commit_key(last) => assert_eq!(opened.store.published().commit, last - 1),
            Ok(opened) if key[0] != b'c' => assert_eq!(seen(&opened.store), expected, "a base lies there twice"),
            Ok(_) => panic!("nobody misses row {key:?}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_row_that_compaction_dropped_does_not_come_back() {
    let mut bench = Bench::new();
    for round in 0..20 {
        bench.run(put(&format!("k{}", round % 3), &round.to_string()));
    }
    bench.run(put("compact_rev_key", "1"));
    bench.run(put("compact_rev_key", "2"));
    bench.compact(22);
    let old = bench.engine.crash();
    bench.sweep();
    let (all, left): (BTreeSet<u64>, BTreeSet<u64>) =
        (Bench::on(old.crash()).commit_rows().into_iter().collect(), bench.commit_rows().into_iter().collect());
    for number in &all - &left {
        let engine = bench.engine.crash();
        let row = old.get(&commit_key(number)).unwrap().expect("it was there");
        let change = tombolo_storage::engine::Change::Put(commit_key(number), row);
        engine.write(vec![change], tombolo_storage::engine::Persist::Disk).unwrap();
        assert!(
            matches!(Bench::try_on(engine, bench.wall), Err(OpenError::Damaged { .. } | OpenError::Rotten { .. })),
            "row {number}"
        );
    }
}

#[test]
fn a_row_in_anothers_place_is_not_taken_for_it() {
    let bench = every_form();
    let last = bench.store.published().commit;
    let engine = bench.engine.crash();
    let other = engine.get(&commit_key(last - 1)).unwrap().expect("the row is there");
    engine.rot(&commit_key(last), |row| *row = other.to_vec());
    assert!(matches!(Bench::try_on(engine, bench.wall), Err(OpenError::Damaged { .. } | OpenError::Rotten { .. })));
}

fn commit_key(number: u64) -> bytes::Bytes {
    [b"c", &number.to_be_bytes()[..]].concat().into()
}
