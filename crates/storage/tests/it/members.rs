//! What a store does for those who come and go: streams that are complete, a log that is held as long as there is room, leases that have moved.

use bytes::Bytes;
use tombolo_crdt::Dot;
use tombolo_storage::{HeldBack, IngestError, OpenOptions, Request, engine::memory::MemoryEngine};

use crate::{
    memory::{Bench, Stop, entropy_of},
    mesh::{EVERYTHING, Mesh},
    support::*,
};

#[test]
fn a_frozen_stream_takes_nothing_more_and_all_others_do() {
    let mut mesh = Mesh::new(3, 0);
    mesh.sites[2].run(put("a", "1"));
    mesh.send(2, 0, EVERYTHING).unwrap();
    mesh.sites[2].run(put("a", "2"));
    let gone = mesh.sites[2].store.identity().replica;
    let late: Vec<Bytes> = mesh.sites[2]
        .store
        .arrivals(&mesh.sites[0].store.frontier(), 0, EVERYTHING)
        .unwrap()
        .records
        .into_iter()
        .map(|arrival| arrival.bytes)
        .collect();
    let before = mesh.sites[0].store.standing();
    mesh.sites[0].store.freeze([gone]);
    let bench = &mut mesh.sites[0];
    let refused = bench.committer.ingest(bench.wall, late[0].clone());
    let expected = Dot::new(gone, 2);
    assert!(matches!(refused, Err(IngestError::Frozen { dot, last: 1 }) if dot == expected), "{refused:?}");
    bench.commit();
    assert_eq!(bench.store.standing(), before, "nothing has changed");
    // What is here already is no late record.
    let known = mesh.sites[0].store.arrivals(&Default::default(), 0, EVERYTHING).unwrap().records.remove(0);
    let bench = &mut mesh.sites[0];
    assert!(matches!(bench.committer.ingest(bench.wall, known.bytes), Err(IngestError::Duplicate { .. })));
    mesh.sites[1].run(put("b", "1"));
    mesh.send(1, 0, EVERYTHING).unwrap();
    assert_eq!(mesh.value(0, "b").as_deref(), Some("1"));
}

/// A site with as many writes of one key, of which a peer has the first `seen`, and a compaction that would take nearly all.
fn lagging(writes: usize, seen: usize, budget: u64) -> (Bench, tombolo_crdt::VersionVector) {
    let options = OpenOptions { log_budget_bytes: budget, ..OpenOptions::new(NOW, entropy_of(1)) };
    let engine = std::sync::Arc::new(MemoryEngine::new());
    let mut bench = Bench::with(engine, &options);
    let mut applied = bench.store.frontier();
    for at in 0..writes {
        bench.run(put("k", &format!("{at:0100}")));
        if at + 1 == seen {
            applied = bench.store.frontier();
        }
    }
    bench.store.hold_log(Some(applied.clone()));
    bench.compact(bench.store.published().revision.get());
    (bench, applied)
}

#[test]
fn what_everybody_has_goes_and_the_rest_is_held() {
    let (mut bench, applied) = lagging(5_000, 3_000, u64::MAX);
    let rows = bench.commit_rows().len();
    let held = bench.store.held_back_by(&applied);
    assert!((2_000..4_100).contains(&held.commits), "{held:?}");
    assert!((100 * held.commits..400 * held.commits).contains(&held.bytes), "{held:?}");
    assert_eq!(bench.store.held_back_by(&bench.store.frontier()), HeldBack::default());
    bench.sweep();
    let gone = rows - bench.commit_rows().len();
    assert!((1_500..=3_000).contains(&gone), "{gone} rows went");
    let lacking = bench.store.arrivals(&applied, 0, EVERYTHING).unwrap().records.len();
    assert_eq!(lacking, 2_000, "the peer is served");
    assert_eq!(
        bench.store.held_back_by(&applied),
        HeldBack { commits: held.commits, ..bench.store.held_back_by(&applied) }
    );
    bench.store.hold_log(None);
    bench.sweep();
    assert!(bench.commit_rows().len() <= 2);
    assert!(bench.store.arrivals(&applied, 0, EVERYTHING).is_err());
    assert_eq!(bench.store.held_back_by(&applied), HeldBack::default(), "what is gone is held by nobody");
}

#[test]
fn beyond_its_budget_the_log_is_held_for_nobody() {
    let budget = 200_000;
    let (mut bench, applied) = lagging(5_000, 10, budget);
    assert!(bench.store.held_back_by(&applied).bytes > budget);
    bench.sweep();
    let left = bench.store.held_back_by(&applied);
    assert!(left.bytes <= budget && left.bytes > budget / 2, "{left:?}: no more goes than has to");
    assert!(bench.store.arrivals(&applied, 0, EVERYTHING).is_err());
    let (mut bench, applied) = lagging(500, 10, budget);
    bench.sweep();
    assert_eq!(bench.store.arrivals(&applied, 0, EVERYTHING).unwrap().records.len(), 490, "it fits");
}

#[test]
fn a_log_that_was_compacted_when_it_was_empty_is_held_as_well() {
    let mut bench = Bench::with(std::sync::Arc::new(MemoryEngine::new()), &OpenOptions::new(NOW, entropy_of(1)));
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    (0..10).for_each(|at| drop(bench.run(put("k", &at.to_string()))));
    let applied = Default::default();
    bench.store.hold_log(Some(Default::default()));
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    assert_eq!(bench.store.arrivals(&applied, 0, EVERYTHING).unwrap().records.len(), 10, "the peer is served");
}

#[test]
fn a_log_that_is_held_does_not_shut_the_clients_out() {
    let quota_bytes = Some(300_000);
    let options = OpenOptions { quota_bytes, ..OpenOptions::new(NOW, entropy_of(1)) };
    let mut bench = Bench::with(std::sync::Arc::new(MemoryEngine::new()), &options);
    bench.store.hold_log(Some(Default::default()));
    let mut at = 0;
    while bench.try_run(put("k", &format!("{at:01000}"))).is_ok() {
        bench.commit();
        at += 1;
        assert!(at < 1_000, "the quota is used up some time");
    }
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    bench.try_run(put("k", "again")).expect("there is room, at the cost of a peer that is not there");
}

#[test]
fn leases_that_have_moved_are_counted_by_their_heir_and_nobody_else() {
    let mut mesh = Mesh::new(3, 0);
    let ids: Vec<_> = mesh.sites.iter().map(|site| site.store.identity().replica).collect();
    mesh.sites[0].run(Request::LeaseGrant { id: 7, ttl_s: 60 });
    mesh.sites[0].run(put_leased("a", "1", 7));
    mesh.settle();
    let counted = |mesh: &Mesh| mesh.sites.iter().map(|site| site.store.leases().len()).collect::<Vec<_>>();
    assert_eq!(counted(&mesh), [1, 0, 0]);
    for site in &mesh.sites {
        site.store.set_lease_homes([(ids[0], ids[1])].into());
    }
    assert_eq!(counted(&mesh), [0, 1, 0]);
    assert!(mesh.sites.iter().all(|site| site.store.lease_home(7) == Some(ids[1])));
    mesh.sites[1].run(Request::LeaseRevoke { id: 7 });
    mesh.settle();
    assert_eq!((mesh.value(0, "a"), counted(&mesh)), (None, vec![0, 0, 0]));
    mesh.check_equal();
    mesh.reopen(1, Stop::Close);
    assert_eq!(mesh.value(1, "a"), None);
}

#[test]
fn the_heir_of_leases_removes_what_came_after_their_end_before_it_was_the_heir() {
    let mut mesh = Mesh::new(3, 0);
    let ids: Vec<_> = mesh.sites.iter().map(|site| site.store.identity().replica).collect();
    mesh.sites[0].run(Request::LeaseGrant { id: 7, ttl_s: 60 });
    mesh.settle();
    mesh.sites[2].run(put_leased("late", "1", 7));
    mesh.sites[0].run(Request::LeaseRevoke { id: 7 });
    // The site that ended it goes before it hears of the write.
    mesh.send(0, 1, EVERYTHING).unwrap();
    mesh.send(2, 1, EVERYTHING).unwrap();
    assert_eq!(mesh.value(1, "late").as_deref(), Some("1"), "nobody is responsible");
    mesh.sites[1].store.set_lease_homes([(ids[0], ids[1])].into());
    mesh.sites[1].committer.maintain(NOW).unwrap();
    mesh.sites[1].commit();
    assert_eq!(mesh.value(1, "late"), None);
}
