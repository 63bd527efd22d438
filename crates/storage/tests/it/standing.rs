//! Where a store says it stands: of one published moment, nothing that could be taken back, the same after every restart.

use std::collections::BTreeMap;

use tombolo_crdt::{Chain, Record, ReplicaId, VersionVector};
use tombolo_storage::{KeyRange, Request, Standing};

use crate::{
    memory::{Bench, Stop},
    mesh::{EVERYTHING, Mesh},
    support::*,
};

/// The chain of every author's last record, read off the log.
fn chains_of_the_log(bench: &Bench) -> BTreeMap<ReplicaId, Chain> {
    let log = bench.store.arrivals(&VersionVector::new(), 0, EVERYTHING).expect("the log is whole").records;
    let records = log.into_iter().map(|arrival| Record::decode(arrival.bytes).expect("the log holds records"));
    records.map(|record| (record.header.dot.replica, record.header.chain)).collect()
}

fn check_against_the_log(bench: &Bench) -> Standing {
    let standing = bench.store.standing();
    assert_eq!(standing.chains, chains_of_the_log(bench));
    assert_eq!(standing.frontier, bench.store.frontier());
    assert_eq!((standing.published, standing.digest), (bench.store.published(), bench.store.digest()));
    standing
}

#[test]
fn a_store_stands_where_its_log_ends() {
    let mut mesh = Mesh::new(3, 0);
    assert_eq!(check_against_the_log(&mesh.sites[0]).chains, BTreeMap::new());
    for round in 0..3 {
        for site in 0..3 {
            mesh.sites[site].run(put("a", &format!("{round} {site}")));
            // What stays at home is not told.
            mesh.sites[site].run(put("compact_rev_key", &round.to_string()));
        }
        mesh.send(0, 1, EVERYTHING).unwrap();
        mesh.send(1, 2, EVERYTHING).unwrap();
        let known: Vec<usize> = mesh.sites.iter().map(|bench| check_against_the_log(bench).chains.len()).collect();
        assert_eq!(known, [1, 2, 3]);
    }
    mesh.settle();
    let standings: Vec<Standing> = mesh.sites.iter().map(check_against_the_log).collect();
    assert!(standings.iter().all(|other| other.chains == standings[0].chains && other.digest == standings[0].digest));
}

#[test]
fn what_is_not_published_is_not_told() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    let before = check_against_the_log(&bench);
    bench.try_run(put("a", "2")).unwrap();
    assert_eq!(bench.store.standing(), before);
    let mut group = bench.committer.seal().unwrap().expect("there is something to seal");
    bench.try_run(put("a", "3")).unwrap();
    group.persist();
    assert_eq!(bench.store.standing(), before);
    bench.committer.publish(group).unwrap();
    let between = check_against_the_log(&bench);
    assert_eq!(between.published.commit, before.published.commit + 1);
    bench.commit();
    assert_eq!(check_against_the_log(&bench).published.commit, before.published.commit + 2);
}

#[test]
fn a_reopened_store_stands_where_it_stood() {
    let mut mesh = Mesh::new(2, 0);
    for round in 0..4 {
        mesh.sites[0].run(put("a", &round.to_string()));
        mesh.sites[1].run(delete(KeyRange::all()));
        mesh.sites[1].run(put("b", &round.to_string()));
        mesh.settle();
    }
    for how in [Stop::Close, Stop::Kill, Stop::Crash] {
        let before = check_against_the_log(&mesh.sites[0]);
        assert!(before.floor.is_empty());
        mesh.reopen(0, how);
        assert_eq!(check_against_the_log(&mesh.sites[0]), before, "{how:?}");
    }
    let bench = &mut mesh.sites[0];
    let revision = bench.store.published().revision.get();
    bench.run(Request::Compact { revision });
    bench.sweep();
    let before = bench.store.standing();
    assert_eq!(before.floor, before.frontier, "the log begins where the sweep ended");
    for how in [Stop::Close, Stop::Kill, Stop::Crash] {
        mesh.reopen(0, how);
        assert_eq!(mesh.sites[0].store.standing(), before, "{how:?}");
    }
}
