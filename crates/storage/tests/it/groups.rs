//! Groups on their way to the disk: several at a time, and none is shown before it is there.

use std::sync::atomic::{AtomicBool, Ordering};

use tombolo_storage::{CommitError, Durability, Group, Health, RequestError, Store};

use crate::{
    memory::{Bench, Stop},
    support::*,
};

/// Seals a group of one put.
fn seal(bench: &mut Bench, key: &str) -> Group {
    bench.try_run(put(key, "v")).unwrap();
    bench.committer.seal().unwrap().expect("something was executed")
}

fn keys(store: &Store) -> Vec<String> {
    all(store).iter().map(|pair| text(&pair.key)).collect()
}

#[test]
fn a_sync_covers_every_group_that_was_sealed_before_it() {
    let mut bench = Bench::new();
    let disk = bench.committer.disk();
    assert!(!disk.is_behind());
    let (first, second) = (seal(&mut bench, "a"), seal(&mut bench, "b"));
    assert!(disk.is_behind() && !first.is_settled());
    disk.sync();
    let third = seal(&mut bench, "c");
    assert!(first.is_settled() && second.is_settled() && !third.is_settled());
    assert!(keys(&bench.store).is_empty(), "nobody has published them");
    bench.committer.publish(first).unwrap();
    assert_eq!(keys(&bench.store), ["a"]);
    bench.committer.publish(second).unwrap();
    assert_eq!(keys(&bench.store), ["a", "b"]);
    assert_eq!(keys(&Bench::on(bench.engine.crash()).store), ["a", "b"], "no sync has covered the third");
    assert_eq!(keys(&Bench::on(bench.engine.kill()).store), ["a", "b"], "nobody has written it either");
    disk.sync();
    bench.committer.publish(third).unwrap();
    assert_eq!(keys(&bench.reopen(Stop::Crash).store), ["a", "b", "c"]);
}

#[test]
#[should_panic(expected = "published before those sealed before it")]
fn groups_are_published_in_order() {
    let mut bench = Bench::new();
    let (_first, mut second) = (seal(&mut bench, "a"), seal(&mut bench, "b"));
    second.persist();
    drop(bench.committer.publish(second));
}

#[test]
fn a_failed_sync_takes_every_group_that_it_was_to_cover_and_none_before() {
    let mut bench = Bench::new();
    let mut durable = seal(&mut bench, "a");
    durable.persist();
    let (mut second, third) = (seal(&mut bench, "b"), seal(&mut bench, "c"));
    bench.engine.fail_sync_in(1);
    second.persist();
    // Whoever executes learns of it before anything is published.
    assert_eq!(bench.store.health(), Health::Poisoned);
    assert!(matches!(bench.try_run(put("d", "v")), Err(RequestError::Poisoned { .. })));
    assert!(matches!(bench.committer.seal(), Err(CommitError::Poisoned { .. })));
    bench.engine.fail_in(0);
    bench.committer.disk().sync();
    assert!(third.is_settled(), "a later sync would succeed, and mean nothing");
    assert_eq!(bench.committer.publish(durable).unwrap().len(), 1);
    for lost in [second, third] {
        assert!(matches!(bench.committer.publish(lost), Err(CommitError::Poisoned { .. })));
    }
    assert_eq!(keys(&bench.store), ["a"]);
    assert!(bench.committer.commit().is_err());
    assert_eq!(keys(&bench.reopen(Stop::Crash).store), ["a"]);
}

#[test]
fn a_durability_that_promises_no_sync_waits_for_none() {
    for (durability, is_settled) in
        [(Durability::Fsync, false), (Durability::Os, true), ("interval:1s".parse().unwrap(), true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let options = tombolo_storage::OpenOptions { durability, ..options() };
        let (store, mut committer) = Store::open(folder.path(), &options).unwrap();
        try_run(&mut committer, put("a", "v")).unwrap();
        let group = committer.seal().unwrap().expect("something was executed");
        assert_eq!((group.is_settled(), committer.disk().is_behind()), (is_settled, !is_settled), "{durability}");
        committer.disk().sync();
        committer.publish(group).unwrap();
        assert_eq!(keys(&store), ["a"]);
    }
}

#[test]
fn what_is_published_beside_a_thread_that_syncs_is_on_disk() {
    let mut bench = Bench::new();
    let (disk, is_done) = (bench.committer.disk(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                disk.sync();
                std::thread::yield_now();
            }
        });
        let mut under_way = std::collections::VecDeque::new();
        for round in 0..500 {
            under_way.push_back(seal(&mut bench, &format!("{round:04}")));
            while under_way.front().is_some_and(Group::is_settled) {
                bench.committer.publish(under_way.pop_front().expect("there is a first")).unwrap();
            }
            if round % 50 == 0 {
                let published = bench.store.published();
                let crashed = Bench::on(bench.engine.crash());
                assert!(crashed.store.published().commit >= published.commit);
            }
        }
        is_done.store(true, Ordering::Release);
    });
    assert!(bench.store.published().commit > 0, "groups were published while others were executed");
}
