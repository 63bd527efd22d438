//! Leases between sites: whom a number means, and writes that reach the home of a lease when it has ended.

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Hlc, LeaseRef, Operation, Record, RecordHeader, VersionVector};
use tombolo_storage::{Event, Op, OpenOptions, Outcome, Put, Request, RequestError, Store, Transaction};

use crate::{
    memory::{Bench, Stop, entropy_of},
    mesh::{EVERYTHING, Mesh},
    support::*,
};

fn grant(id: i64) -> Request {
    Request::LeaseGrant { id, ttl_s: 60 }
}

fn revoke(id: i64) -> Request {
    Request::LeaseRevoke { id }
}

/// The keys attached to a lease, as a site sees it.
fn keys(bench: &mut Bench, id: i64) -> Vec<String> {
    match bench.try_run(Request::LeaseKeys { id }).expect("the lease is there").outcome {
        Outcome::LeaseKeys(keys) => {
            assert_eq!(bench.store.lease_keys(id), keys, "a reader sees what the committer does");
            keys.iter().map(|key| text(key)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn home(mesh: &Mesh, site: usize, id: i64) -> Option<usize> {
    let home = mesh.sites[site].store.lease_home(id)?;
    mesh.sites.iter().position(|bench| bench.store.identity().replica == home)
}

/// Two sites that both know lease 7 of the first, which has just ended it and has not said so.
fn ended() -> Mesh {
    let mut mesh = Mesh::new(3, 0);
    mesh.sites[0].run(grant(7));
    mesh.sites[0].run(put_leased("early", "1", 7));
    mesh.settle();
    mesh.sites[0].run(revoke(7));
    mesh
}

#[test]
fn a_number_means_the_own_lease_or_the_only_other_one() {
    let mut mesh = Mesh::new(3, 0);
    mesh.sites[0].run(grant(7));
    mesh.settle();
    mesh.sites[1].run(put_leased("a", "1", 7));
    assert_eq!(keys(&mut mesh.sites[1], 7), ["a"]);
    assert_eq!([0, 1, 2].map(|site| home(&mesh, site, 7)), [Some(0); 3]);
    assert_eq!(home(&mesh, 1, 8), None);
    assert!(matches!(mesh.sites[1].try_run(put_leased("a", "1", 8)), Err(RequestError::LeaseNotFound { id: 8 })));

    // Apart from each other, two sites give out one number.
    mesh.sites[0].run(grant(8));
    mesh.sites[1].run(grant(8));
    mesh.settle();
    assert_eq!([0, 1, 2].map(|site| home(&mesh, site, 8)), [Some(0), Some(1), None]);
    let [at_home, elsewhere, third] = &mut mesh.sites[..] else { panic!("there are three sites") };
    for request in [put_leased("b", "1", 8), revoke(8), Request::LeaseKeys { id: 8 }] {
        assert!(matches!(third.try_run(request), Err(RequestError::LeaseAmbiguous { id: 8 })));
    }
    assert!(matches!(third.try_run(grant(8)), Err(RequestError::LeaseExists { id: 8 })));
    at_home.run(put_leased("b", "1", 8));
    elsewhere.run(put_leased("c", "1", 8));
    assert_eq!((keys(at_home, 8), keys(elsewhere, 8)), (vec!["b".to_owned()], vec!["c".to_owned()]));
    at_home.run(revoke(8));
    mesh.settle();
    assert_eq!(home(&mesh, 2, 8), Some(1), "one is left, and meant");
    for how in [Stop::Close, Stop::Kill, Stop::Crash] {
        mesh.reopen(2, how);
        assert_eq!((home(&mesh, 2, 7), home(&mesh, 2, 8)), (Some(0), Some(1)));
    }
}

#[test]
fn a_put_that_keeps_the_lease_keeps_the_one_there_is_and_not_its_namesake() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(grant(7));
    mesh.sites[0].run(put_leased("a", "1", 7));
    mesh.sites[1].run(grant(7));
    mesh.settle();
    mesh.sites[1].run(Request::Put(Put { lease: None, ..put_op("a", "2") }));
    assert_eq!(keys(&mut mesh.sites[1], 7), [""; 0]);
    mesh.settle();
    assert_eq!(keys(&mut mesh.sites[0], 7), ["a"]);
    mesh.sites[0].run(revoke(7));
    mesh.settle();
    assert_eq!((mesh.value(0, "a"), mesh.value(1, "a")), (None, None));
    // The lease of what is on show is gone, and with it what could be kept.
    let kept = mesh.sites[1].try_run(Request::Put(Put { lease: None, ..put_op("a", "3") }));
    assert!(matches!(kept, Err(RequestError::KeyNotFound)));
}

#[test]
fn a_write_that_comes_after_its_lease_has_ended_goes_with_the_group_that_brings_it() {
    let mut mesh = ended();
    mesh.sites[1].run(put_leased("late", "1", 7));
    mesh.sites[1].run(put("other", "1"));
    let log = mesh.sites[1].store.arrivals(&mesh.sites[0].store.frontier(), 0, EVERYTHING).unwrap();
    let at_home = &mut mesh.sites[0];
    for arrival in log.records {
        at_home.committer.ingest(at_home.wall, arrival.bytes).unwrap();
    }
    let told = at_home.commit();
    let events: Vec<_> = told.iter().map(|commit| &commit.events[..]).collect();
    assert!(
        matches!(events[..], [[Event::Put(late)], [Event::Put(_)], [Event::Delete { key, .. }]]
            if late.key == "late" && key == "late"),
        "{events:?}"
    );
    assert_eq!(at_home.commit_rows().len() as u64, at_home.store.published().commit);
    mesh.settle();
    for site in 0..3 {
        assert_eq!((mesh.value(site, "late"), mesh.value(site, "other")), (None, Some("1".to_owned())));
    }
    mesh.check_equal();
    // Only its home removes it: two that do would be two records for one thing.
    assert_eq!(mesh.sites[2].store.frontier().seq(mesh.sites[2].store.identity().replica), 0);
}

#[test]
fn exactly_what_is_attached_goes() {
    let mut mesh = ended();
    mesh.sites[2].run(put("late", "of nobody's lease"));
    mesh.sites[1].wall.0 += 5;
    mesh.sites[1].run(put_leased("late", "on show", 7));
    mesh.send(2, 0, EVERYTHING).unwrap();
    mesh.send(1, 0, EVERYTHING).unwrap();
    assert_eq!(mesh.siblings(0, "late"), ["of nobody's lease"]);
    mesh.settle();
    assert_eq!(mesh.value(1, "late").as_deref(), Some("of nobody's lease"));
    mesh.check_equal();
}

#[test]
fn a_lease_that_is_revoked_elsewhere_takes_the_late_writes_along_in_either_order() {
    for puts_first in [true, false] {
        let mut mesh = Mesh::new(3, 0);
        mesh.sites[0].run(grant(7));
        mesh.settle();
        mesh.sites[1].run(put_leased("late", "1", 7));
        mesh.sites[2].run(revoke(7));
        let order = if puts_first { [1, 2] } else { [2, 1] };
        for from in order {
            mesh.send(from, 0, EVERYTHING).unwrap();
        }
        assert_eq!(mesh.value(0, "late"), None, "puts first: {puts_first}");
        mesh.settle();
        assert_eq!(mesh.value(2, "late"), None);
        mesh.check_equal();
    }
}

#[test]
fn a_write_with_a_lease_that_never_was_goes_too() {
    let mut bench = Bench::new();
    let author = Bench::of(99, NOW).store.identity().replica;
    let lease = Some(LeaseRef { home: bench.store.identity().replica, id: 5 });
    let put = Operation::Put { key: bytes("a"), value: bytes("1"), lease, supersedes: Vec::new() };
    let header = RecordHeader {
        dot: Dot::new(author, 1),
        hlc: Hlc::from_millis(NOW.0),
        context_delta: VersionVector::new(),
        chain: Chain::BEGINNING,
    };
    let (bytes, _) = Record { header, operations: vec![put] }.encode(&Chain::BEGINNING);
    bench.committer.ingest(NOW, bytes).unwrap();
    bench.commit();
    assert_eq!((value(&bench.store, "a"), bench.store.digest()), (None, 0));
}

#[test]
fn a_lease_that_is_granted_again_in_time_keeps_what_is_attached() {
    let mut mesh = ended();
    mesh.sites[1].run(put_leased("late", "1", 7));
    let log = mesh.sites[1].store.arrivals(&mesh.sites[0].store.frontier(), 0, EVERYTHING).unwrap();
    let at_home = &mut mesh.sites[0];
    at_home.try_run(grant(7)).unwrap();
    for arrival in log.records {
        at_home.committer.ingest(at_home.wall, arrival.bytes).unwrap();
    }
    at_home.commit();
    assert_eq!(keys(at_home, 7), ["late"]);
}

#[test]
fn more_than_a_record_can_name_goes_in_several() {
    let mut mesh = ended();
    let key = |at: usize| format!("{at:01000}");
    let then = (0..2200).map(|at| Op::Put(Put { lease: Some(7), ..put_op(&key(at), "") })).collect();
    mesh.sites[1].run(Request::Txn(Transaction { then, ..Transaction::default() }));
    let before = mesh.sites[0].store.published().commit;
    mesh.send(1, 0, EVERYTHING).unwrap();
    assert_eq!(mesh.sites[0].store.published().commit, before + 3, "the record, and two that remove");
    assert_eq!(all(&mesh.sites[0].store), []);
    mesh.settle();
    mesh.check_equal();
}

/// Rows as a home leaves them that has no room to remove anything: they are a third site's, opened under the home's name.
fn home_that_is_behind(how: Stop) -> Bench {
    let mut mesh = ended();
    mesh.sites[1].run(put_leased("late", "1", 7));
    mesh.send(0, 2, EVERYTHING).unwrap();
    mesh.send(1, 2, EVERYTHING).unwrap();
    assert_eq!(mesh.value(2, "late").as_deref(), Some("1"));
    Bench::reopen_as(mesh.sites.remove(2), how, 1)
}

#[test]
fn a_home_that_is_reopened_finds_what_was_left() {
    for how in [Stop::Close, Stop::Kill, Stop::Crash] {
        let mut home = home_that_is_behind(how);
        assert_eq!(value(&home.store, "late").as_deref(), Some("1"));
        assert_eq!(home.committer.pending(), 0);
        home.committer.maintain(home.wall).unwrap();
        assert_eq!(home.committer.pending(), 1, "housekeeping has begun a group");
        home.commit();
        assert_eq!(value(&home.store, "late"), None);

        let mut home = home_that_is_behind(how);
        assert_eq!(home.commit().len(), 1, "and so does whoever commits");
        let home = home.reopen(how);
        assert_eq!(value(&home.store, "late"), None);
        assert_eq!(home.store.leases(), []);
    }
}

#[test]
fn what_has_gone_by_itself_is_not_removed_again() {
    let mut mesh = ended();
    mesh.sites[1].run(put_leased("late", "1", 7));
    mesh.sites[1].run(put("late", "2"));
    let before = mesh.sites[0].store.frontier();
    mesh.send(1, 0, EVERYTHING).unwrap();
    let own = mesh.sites[0].store.identity().replica;
    assert_eq!(mesh.sites[0].store.frontier().seq(own), before.seq(own), "there was nothing to do");
    assert_eq!(mesh.value(0, "late").as_deref(), Some("2"));
    assert!(mesh.sites[0].commit().is_empty());
}

#[test]
fn a_crash_leaves_the_write_and_its_removal_or_neither() {
    let mut mesh = ended();
    mesh.sites[1].run(put_leased("late", "1", 7));
    let log = mesh.sites[1].store.arrivals(&mesh.sites[0].store.frontier(), 0, EVERYTHING).unwrap();
    let ingest = |bench: &mut Bench| {
        let records: Vec<Bytes> = log.records.iter().map(|arrival| arrival.bytes.clone()).collect();
        records.into_iter().for_each(|record| _ = bench.committer.ingest(bench.wall, record).unwrap());
        bench.committer.seal().unwrap().expect("there is a group")
    };
    let bench = mesh.sites.first_mut().unwrap();
    drop(ingest(bench));
    let before = bench.store.frontier();
    mesh.reopen(0, Stop::Crash);
    let bench = mesh.sites.first_mut().unwrap();
    assert_eq!(bench.store.frontier(), before);
    let mut group = ingest(bench);
    group.persist();
    drop(group);
    mesh.reopen(0, Stop::Crash);
    assert_eq!(mesh.value(0, "late"), None);
    assert_ne!(mesh.sites[0].store.frontier(), before);
    let options = OpenOptions::new(NOW, entropy_of(1));
    let (store, _committer) = Store::open_on(Box::new(mesh.sites[0].engine.crash()), &options).unwrap();
    assert_eq!(store.standing(), mesh.sites[0].store.standing());
}

#[test]
fn a_lease_is_ended_with_the_keys_that_were_looked_at_or_not_at_all() {
    let mut mesh = Mesh::new(1, 0);
    let site = &mut mesh.sites[0];
    site.run(grant(7));
    site.run(put_leased("a", "1", 7));
    let seen = site.store.lease_keys(7);
    site.run(put_leased("b", "1", 7));
    let end = |keys| Request::LeaseRevokeOf { id: 7, keys };
    assert!(matches!(site.try_run(end(seen)), Err(RequestError::LeaseHoldsOthers { id: 7 })));
    assert_eq!(keys(site, 7), ["a", "b"], "nothing has gone");
    let more = ["a", "b", "gone"].map(Bytes::from).to_vec();
    site.run(end(more));
    assert_eq!(site.store.lease_home(7), None);
    assert!(matches!(site.try_run(end(Vec::new())), Err(RequestError::LeaseNotFound { id: 7 })));
}
