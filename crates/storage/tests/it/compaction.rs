//! Compaction forgets what nobody can ask for any more, and nothing else, wherever it is interrupted.

use tombolo_storage::{
    Event, HistoryBudget, KeyRange, Op, RangeQuery, ReadError, Request, Transaction, WallTime, engine::Engine,
};

use crate::{
    memory::{Bench, Stop},
    support::*,
    transfer_crash::send,
};

/// Everything a client can see of a store.
fn seen(bench: &Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let published = bench.store.published();
    let oldest = published.compacted.max(1);
    let ages: Vec<_> = (oldest..=published.revision.get()).map(|revision| all_at(&bench.store, revision)).collect();
    let leases = bench.store.leases();
    (published, ages, history(&bench.store, oldest), leases, bench.store.digest(), bench.store.frontier())
}

fn fill(bench: &mut Bench, rounds: i64) {
    for round in 0..rounds {
        bench.run(put(&format!("k{}", round % 10), &format!("v{round}")));
        if round % 9 == 0 {
            bench.run(delete(single(&format!("k{}", round % 7))));
        }
    }
}

#[test]
fn a_compaction_takes_effect_for_readers_at_once() {
    let mut bench = Bench::new();
    fill(&mut bench, 20);
    let current = all(&bench.store);
    let kept: Vec<_> = (10..=bench.store.published().revision.get()).map(|r| all_at(&bench.store, r)).collect();
    let told = history(&bench.store, 10);
    bench.try_run(Request::Compact { revision: 10 }).unwrap();
    assert_eq!(bench.store.published().compacted, -1, "nothing is visible before its group commits");
    bench.commit();
    let below = RangeQuery { revision: 9, ..RangeQuery::all(KeyRange::all()) };
    assert!(matches!(bench.store.range(&below), Err(ReadError::Compacted { oldest: 10 })));
    let budget = HistoryBudget { commits: 1, bytes: 1 };
    assert!(matches!(bench.store.history(9, &KeyRange::all(), budget), Err(ReadError::Compacted { oldest: 10 })));
    assert!(matches!(bench.store.history(1, &KeyRange::all(), budget), Err(ReadError::Compacted { oldest: 10 })));
    let again: Vec<_> = (10..=bench.store.published().revision.get()).map(|r| all_at(&bench.store, r)).collect();
    assert_eq!((again, history(&bench.store, 10)), (kept, told));
    assert_eq!(all(&bench.store), current);
}

#[test]
fn nothing_goes_before_the_grace_has_passed() {
    let mut bench = Bench::new();
    fill(&mut bench, 300);
    bench.compact(200);
    let rows = bench.commit_rows().len();
    bench.wall.0 += 29_999;
    assert!(!bench.committer.maintain(bench.wall).unwrap());
    assert_eq!(bench.commit_rows().len(), rows);
    bench.sweep();
    assert!(bench.commit_rows().len() < rows);
}

#[test]
fn compacting_often_does_not_put_the_work_off_for_ever() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        fill(&mut bench, 20);
        bench.compact(bench.store.published().revision.get());
        bench.wall.0 += 10_000;
        while bench.committer.maintain(bench.wall).unwrap() {}
    }
    assert!(bench.commit_rows().len() < 200, "{} rows are left", bench.commit_rows().len());
}

#[test]
fn every_stage_of_a_sweep_shows_the_same_state_and_survives_a_stop() {
    for stop in [Stop::Close, Stop::Kill, Stop::Crash] {
        let mut bench = Bench::new();
        fill(&mut bench, 1200);
        bench.compact(1100);
        let before = seen(&bench);
        let rows = bench.commit_rows().len();
        bench.pass_grace();
        let mut slices = 0;
        loop {
            slices += 1;
            let more = bench.committer.maintain(bench.wall).unwrap();
            assert_eq!(seen(&bench), before, "after slice {slices}");
            let reopened = Bench::try_on(bench.engine.crash(), bench.wall).unwrap();
            assert_eq!(seen(&reopened), before, "reopened after slice {slices}");
            if !more {
                break;
            }
        }
        assert!(slices >= 4, "the sweep takes slices");
        assert!(bench.commit_rows().len() < rows - 1000);
        let mut bench = bench.reopen(stop);
        assert_eq!(seen(&bench), before);
        bench.sweep();
        assert_eq!(seen(&bench), before);
    }
}

#[test]
fn a_sweep_goes_on_where_a_stop_left_it() {
    let mut bench = Bench::new();
    fill(&mut bench, 1200);
    bench.compact(1100);
    let before = seen(&bench);
    let mut expected = Bench::try_on(bench.engine.kill(), bench.wall).unwrap();
    expected.sweep();
    bench.pass_grace();
    for stop in [Stop::Crash, Stop::Kill, Stop::Close].into_iter().cycle() {
        let more = bench.committer.maintain(bench.wall).unwrap();
        bench = bench.reopen(stop);
        if !more {
            break;
        }
    }
    bench.sweep();
    assert_eq!(seen(&bench), before);
    assert_eq!(bench.commit_rows(), expected.commit_rows());
}

#[test]
fn a_deleted_key_does_not_come_back() {
    let mut bench = Bench::new();
    bench.run(put("dead", "1"));
    bench.run(put("alive", "1"));
    // The removal lies in a later slice than what it removes, beside something that is needed.
    fill(&mut bench, 600);
    let keep = Op::Put(put_op("beside", "kept"));
    let remove = Op::Delete(delete_op(single("dead")));
    bench.run(Request::Txn(Transaction { then: vec![keep, remove], ..Transaction::default() }));
    fill(&mut bench, 10);
    bench.compact(bench.store.published().revision.get());
    bench.pass_grace();
    loop {
        let more = bench.committer.maintain(bench.wall).unwrap();
        assert_eq!(value(&bench.store, "dead"), None);
        bench = bench.reopen(Stop::Crash);
        assert_eq!(value(&bench.store, "dead"), None);
        if !more {
            break;
        }
    }
    bench.sweep();
    let bench = bench.reopen(Stop::Crash);
    assert_eq!(value(&bench.store, "dead"), None);
    assert_eq!(
        (value(&bench.store, "alive").as_deref(), value(&bench.store, "beside").as_deref()),
        (Some("1"), Some("kept"))
    );
}

#[test]
fn a_lease_that_ends_between_compaction_and_sweep_is_still_the_same_history() {
    for (granted_before, ended_after) in [(true, true), (true, false), (false, false)] {
        let mut bench = Bench::new();
        bench.run(put("a", "1"));
        if granted_before {
            bench.run(Request::LeaseGrant { id: 7, ttl_s: 60 });
            bench.run(put_leased("leased", "1", 7));
        }
        bench.run(put("a", "2"));
        if !ended_after && granted_before {
            bench.run(Request::LeaseRevoke { id: 7 });
        }
        bench.run(put("a", "3"));
        bench.compact(bench.store.published().revision.get());
        if ended_after {
            bench.run(Request::LeaseRevoke { id: 7 });
        }
        bench.run(put("a", "4"));
        let before = seen(&bench);
        bench.sweep();
        assert_eq!(seen(&bench), before);
        let mut bench = bench.reopen(Stop::Crash);
        assert_eq!(seen(&bench), before);
        assert_eq!(bench.store.leases(), []);
        bench.compact(bench.store.published().revision.get());
        bench.sweep();
        let bench = bench.reopen(Stop::Crash);
        assert_eq!(bench.store.leases(), []);
        assert!(bench.commit_rows().len() <= 1, "{:?}", bench.commit_rows());
    }
}

#[test]
fn a_living_lease_and_its_keys_outlive_compactions() {
    let mut bench = Bench::new();
    bench.run(Request::LeaseGrant { id: 7, ttl_s: 60 });
    bench.run(put_leased("leased", "1", 7));
    fill(&mut bench, 50);
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!(bench.store.leases(), [(7, 60)]);
    bench.run(Request::LeaseRevoke { id: 7 });
    assert_eq!(value(&bench.store, "leased"), None);
}

#[test]
fn a_removal_at_the_oldest_readable_revision_is_still_told() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    bench.run(put("b", "1"));
    let told = bench.run(delete(single("a"))).revision;
    bench.run(put("b", "2"));
    bench.compact(told.get());
    let before = history(&bench.store, told.get());
    bench.sweep();
    assert_eq!(history(&bench.store, told.get()), before);
    assert_eq!(before[0].events, [Event::Delete { key: bytes("a"), revision: told }]);
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!(history(&bench.store, told.get()), before);
    // It goes with the next one.
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    assert_eq!(bench.commit_rows(), [4]);
}

#[test]
fn a_transaction_of_which_one_value_is_left_becomes_a_remainder() {
    let mut bench = Bench::new();
    let ops = ["x", "y", "z"].map(|key| Op::Put(put_op(key, &"v".repeat(1000))));
    bench.run(Request::Txn(Transaction { then: ops.to_vec(), ..Transaction::default() }));
    bench.run(put("x", "2"));
    bench.run(put("z", "2"));
    bench.compact(4);
    let before = seen(&bench);
    let in_use = bench.store.sizes().in_use_bytes;
    bench.sweep();
    assert_eq!(bench.commit_rows(), [1, 2, 3]);
    assert!(bench.store.sizes().in_use_bytes < in_use - 2000);
    assert_eq!(seen(&bench), before);
    let sizes = bench.store.sizes();
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!((seen(&bench), bench.store.sizes()), (before, sizes));
    bench.run(delete(single("y")));
    bench.compact(5);
    bench.sweep();
    let bench = bench.reopen(Stop::Crash);
    assert_eq!(value(&bench.store, "y"), None);
    assert_eq!(bench.commit_rows(), [2, 3, 4]);
}

#[test]
fn a_range_removal_goes_with_what_it_removed() {
    let mut bench = Bench::new();
    for key in 0..100 {
        bench.run(put(&format!("r{key:03}"), "v"));
    }
    bench.run(delete(KeyRange::from_key(bytes("r"))));
    bench.run(put("r050", "again"));
    bench.compact(bench.store.published().revision.get());
    let before = seen(&bench);
    bench.sweep();
    assert_eq!(bench.commit_rows(), [102]);
    let bench = bench.reopen(Stop::Crash);
    assert_eq!(seen(&bench), before);
    assert_eq!(all(&bench.store).len(), 1);
}

#[test]
fn a_pair_before_the_oldest_readable_revision_is_not_told() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    let second = bench.run(put("a", "2")).revision;
    assert!(bench.store.previous(b"a", second).unwrap().is_some());
    bench.compact(second.get());
    assert_eq!(bench.store.previous(b"a", second).unwrap(), None);
    bench.sweep();
    assert_eq!(bench.store.previous(b"a", second).unwrap(), None);
}

#[test]
fn a_store_whose_last_rows_were_dropped_goes_on_counting() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    bench.run(delete(single("a")));
    bench.compact(3);
    bench.run(Request::LeaseGrant { id: 1, ttl_s: 1 });
    bench.run(Request::LeaseRevoke { id: 1 });
    bench.sweep();
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!(bench.store.published().commit, 4);
    assert_eq!(bench.run(put("b", "1")).revision.get(), 4);
    assert_eq!(bench.store.published().commit, 5);
}

#[test]
fn a_store_that_is_never_idle_is_swept_all_the_same() {
    let mut bench = Bench::new();
    fill(&mut bench, 1000);
    bench.compact(900);
    bench.pass_grace();
    let rows = bench.commit_rows().len();
    for round in 0..10 {
        bench.try_run(put("busy", &round.to_string())).unwrap();
        let mut group = bench.committer.seal().unwrap().expect("there is something to write");
        bench.try_run(put("busy", "next")).unwrap();
        bench.committer.maintain(bench.wall).unwrap();
        group.persist();
        bench.committer.publish(group).unwrap();
    }
    assert!(bench.commit_rows().len() < rows - 800);
    bench.commit();
    let before = seen(&bench);
    assert_eq!(seen(&bench.reopen(Stop::Crash)), before);
}

#[test]
fn nothing_is_swept_for_a_compaction_that_is_not_durable() {
    let mut bench = Bench::new();
    fill(&mut bench, 600);
    bench.compact(500);
    bench.pass_grace();
    bench.try_run(put("a", "1")).unwrap();
    bench.try_run(Request::Compact { revision: 550 }).unwrap();
    let mut group = bench.committer.seal().unwrap().expect("there is something to write");
    let rows = bench.commit_rows();
    bench.committer.maintain(bench.wall).unwrap();
    assert_eq!(bench.commit_rows(), rows);
    let crashed = Bench::try_on(bench.engine.crash(), bench.wall).unwrap();
    assert_eq!(crashed.store.published().compacted, 500);
    group.persist();
    bench.committer.publish(group).unwrap();
    bench.sweep();
    assert!(bench.commit_rows().len() < rows.len() - 500);
}

#[test]
fn a_remainder_without_its_base_is_damage() {
    let mut bench = Bench::new();
    let both = vec![Op::Put(put_op("kept", "1")), Op::Put(put_op("gone", "1"))];
    bench.run(Request::Txn(Transaction { then: both, ..Transaction::default() }));
    bench.run(delete(single("gone")));
    bench.run(put("last", "1"));
    bench.compact(3);
    bench.sweep();
    let snapshot = bench.engine.snapshot();
    let rows = [(b"b", b"c"), (b"d", b"e")].map(|(start, end)| snapshot.scan(start, end));
    let bases: Vec<_> = rows.into_iter().flatten().map(|row| row.unwrap().0).collect();
    assert_eq!(bases.len(), 2);
    bases.iter().for_each(|base| assert!(bench.engine.lose(base)));
    let wall = bench.wall;
    assert!(Bench::try_on(bench.stop(crate::memory::Stop::Kill), wall).is_err());
}

#[test]
fn a_sweep_that_met_a_damaged_row_goes_on_when_that_is_whole_as_if_nothing_had_been() {
    let mut bench = Bench::new();
    bench.run(put("gone", "1"));
    bench.run(put("stays", "1"));
    bench.compact(3);
    bench.sweep();
    bench.run(delete(single("gone")));
    bench.run(put("stays", "2"));
    bench.compact(5);
    bench.pass_grace();
    let key = [&b"c"[..], &1_u64.to_be_bytes()].concat();
    let whole = bench.engine.get(&key).unwrap().expect("what was swept keeps the row of what is live");
    assert!(bench.engine.rot(&key, |row| row.clear()));
    assert!(bench.committer.maintain(bench.wall).is_err(), "the row that is to go cannot be read");
    assert!(bench.engine.rot(&key, |row| *row = whole.to_vec()));
    bench.sweep();
    assert!(!bench.commit_rows().contains(&1), "what was removed leaves nothing");
    let before = seen(&bench);
    assert_eq!(seen(&bench.reopen(Stop::Crash)), before);
}

#[test]
fn a_key_that_is_not_swept_points_to_no_row_that_goes_for_another_ones_sake() {
    let (mut bench, mut other) = (Bench::of(1, NOW), Bench::of(2, WallTime(NOW.0 - 1_000)));
    bench.run(put("y", "winner"));
    let both = ["x", "y"].map(|key| Op::Put(put_op(key, "loser")));
    other.run(Request::Txn(Transaction { then: both.to_vec(), ..Transaction::default() }));
    // For `y` the row changes nothing that clients see; it is there for a sibling.
    send(&other, &mut bench);
    // The next sweep begins with the row of this revision.
    let revision = bench.run(put("z", "1")).revision.get();
    bench.compact(revision);
    bench.sweep();
    let revision = bench.run(put("x", "new")).revision.get();
    bench.run(put("y", "new"));
    bench.compact(revision);
    bench.sweep();
    let frontier = bench.store.frontier();
    for key in ["x", "y"] {
        let siblings = bench.store.read_at(key.as_bytes(), &frontier).unwrap();
        assert_eq!(siblings.into_iter().map(|sibling| sibling.value).collect::<Vec<_>>(), ["new"], "{key}");
    }
    let before = seen(&bench);
    assert_eq!(seen(&bench.reopen(Stop::Crash)), before);
}
