//! Digests at a cut that has passed: they are those of a store to which exactly the records of the cut were applied, and so two sites that differ are found
//! out although their frontiers are never equal.

use std::time::Duration;

use tombolo_crdt::VersionVector;
use tombolo_storage::{KeyRange, Meet, Met, Provider, Refusal, Request, TransferFault};

use crate::{
    convergence::Run,
    memory::{Bench, Stop},
    mesh::{EVERYTHING, Mesh},
    random::{Random, for_seeds},
    support::*,
    system::{system_put, system_remove},
    transfer::sign,
    transfer_crash::{apart, at_once, prepared, send, staged},
};

/// The digest of a store that has applied the records of a cut and nothing else.
fn replayed(mesh: &Mesh, cut: &VersionVector) -> u128 {
    let mut store = Bench::of(99, NOW);
    for record in mesh.oracle.written(cut) {
        store.committer.ingest(store.wall, record).unwrap();
    }
    store.commit();
    assert_eq!(store.store.frontier(), *cut);
    store.store.digest()
}

fn meet(here: &Bench, there: &Bench) -> Met {
    let meet = Meet::of(&here.store);
    let page = Provider::new(&there.store).answer(Duration::ZERO, meet.ask(), sign).unwrap();
    meet.take(page).unwrap()
}

/// How many digests at cuts were told, and how many were not.
#[derive(Default)]
struct Count {
    told: u64,
    untold: u64,
}

fn run(random: &mut Random, compacts: bool) -> Count {
    let mut run = Run::new(3, *random.pick(&[0, 1_000, 100_000_000]));
    let mut count = Count::default();
    for _ in 0..260 {
        run.step(random, compacts);
        if random.one_in(8) {
            let (here, there) = (random.at(3), random.at(3));
            let mesh = &mut run.mesh;
            mesh.oracle.note_all(&mesh.sites);
            let cut = mesh.sites[here].store.frontier().meet(&mesh.sites[there].store.frontier());
            for site in [here, there] {
                match mesh.sites[site].store.digest_at(&cut).unwrap() {
                    Some(found) => {
                        count.told += 1;
                        assert_eq!(found, replayed(mesh, &cut), "at {cut:?} of {site}");
                    }
                    None => count.untold += 1,
                }
            }
            let met = meet(&mesh.sites[here], &mesh.sites[there]);
            assert!(matches!(met, Met::Same | Met::OutOfReach), "{met:?}");
        }
    }
    count
}

#[test]
fn the_digest_at_a_meet_is_that_of_a_store_which_applied_exactly_that() {
    let untold = std::sync::atomic::AtomicU64::new(0);
    for_seeds(0..5, |random| {
        untold.fetch_add(run(random, false).untold, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(untold.into_inner(), 0, "nothing is out of reach where nothing was compacted");
}

#[test]
fn so_it_is_while_sites_compact_as_far_as_it_is_told() {
    let told = std::sync::atomic::AtomicU64::new(0);
    for_seeds(300..306, |random| {
        told.fetch_add(run(random, true).told, std::sync::atomic::Ordering::Relaxed);
    });
    let told = told.into_inner();
    assert!(told > 80, "{told} digests were told: too few to learn from");
}

/// Two sites that have applied the same, and then each something of its own; `first` and `second` are what the two have written.
fn parted(first: Vec<Request>, second: Vec<Request>) -> Mesh {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(Request::LeaseGrant { id: 5, ttl_s: 60 });
    mesh.sites[0].run(put_leased("leased", "1", 5));
    for key in ["a", "b", "c"] {
        mesh.sites[0].run(put(key, "1"));
    }
    mesh.sites[0].run(Request::System(vec![system_put("s", "1"), system_put("t", "1")]));
    mesh.settle();
    let cut = mesh.sites[0].store.frontier();
    first.into_iter().for_each(|request| drop(mesh.sites[0].run(request)));
    second.into_iter().for_each(|request| drop(mesh.sites[1].run(request)));
    assert_eq!(mesh.sites[0].store.frontier().meet(&mesh.sites[1].store.frontier()), cut);
    mesh
}

fn check(mesh: &Mesh, cut: &VersionVector, site: usize) {
    assert_eq!(mesh.sites[site].store.digest_at(cut).unwrap(), Some(replayed(mesh, cut)), "{cut:?} at {site}");
}

#[test]
fn what_a_record_of_the_cut_removes_too_is_not_put_back() {
    let removals = || {
        vec![
            delete(KeyRange::before(bytes("a"), bytes("c"))),
            put("c", "2"),
            Request::LeaseRevoke { id: 5 },
            Request::System(vec![system_put("s", "2"), system_remove("t")]),
        ]
    };
    let mut mesh = parted(removals(), removals());
    mesh.send(1, 0, EVERYTHING).unwrap();
    mesh.oracle.note_all(&mesh.sites);
    // At the first site the removals of the second, which alone are of the cut, came after its own.
    let cut = mesh.sites[1].store.frontier();
    check(&mesh, &cut, 0);
    assert_eq!(meet(&mesh.sites[0], &mesh.sites[1]), Met::Same);
    assert_eq!(meet(&mesh.sites[1], &mesh.sites[0]), Met::Same);
}

#[test]
fn ranges_remove_what_they_cover_and_no_more_at_a_cut_as_well() {
    let all = || delete(KeyRange::from_key(bytes("m")));
    let crowd = |value: &str| {
        let then = (0..70).map(|key| tombolo_storage::Op::Put(put_op(&format!("m{key:03}"), value)));
        Request::Txn(tombolo_storage::Transaction { then: then.collect(), ..Default::default() })
    };
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(crowd("1"));
    mesh.settle();
    mesh.sites[0].run(crowd("2"));
    mesh.sites[0].run(all());
    mesh.sites[1].run(all());
    mesh.sites[1].run(crowd("3"));
    mesh.send(1, 0, EVERYTHING).unwrap();
    mesh.oracle.note_all(&mesh.sites);
    check(&mesh, &mesh.sites[1].store.frontier(), 0);
    let first = mesh.sites[0].store.identity().replica;
    let own: VersionVector = mesh.sites[0].store.frontier().iter().filter(|dot| dot.replica == first).collect();
    check(&mesh, &own, 0);
}

#[test]
fn a_difference_is_found_although_both_have_gone_on() {
    let mut sites = [(1, "one"), (2, "other")].map(|(name, value)| {
        let mut author = Bench::of(7, NOW);
        author.run(put("same", "1"));
        author.run(put("k", value));
        author.run(put("k", "the same again"));
        author.run(put("twofaced", value));
        let mut site = Bench::of(name, NOW);
        send(&author, &mut site);
        site
    });
    for round in 0..50 {
        sites.iter_mut().for_each(|site| drop(site.run(put("busy", &round.to_string()))));
    }
    let [here, there] = &mut sites;
    let author = here.store.frontier().meet(&there.store.frontier());
    let Met::Differs { cut, own, theirs } = meet(here, there) else { panic!("they differ") };
    assert_eq!((cut, author.len()), (author, 1));
    assert_eq!(
        meet(there, here),
        Met::Differs { cut: here.store.frontier().meet(&there.store.frontier()), own: theirs, theirs: own }
    );
    // What covers the difference up mends it.
    send(here, there);
    there.run(put("twofaced", "mended"));
    here.run(put("busy", "still"));
    send(there, here);
    there.run(put("busy", "too"));
    assert_eq!(meet(here, there), Met::Same);
}

#[test]
fn what_lies_below_a_compaction_is_refused_and_the_rest_is_not() {
    let mut mesh = parted(vec![put("a", "2"), put("b", "2")], vec![]);
    let cut = mesh.sites[1].store.frontier();
    check(&mesh, &cut, 0);
    let revision = mesh.sites[0].store.published().revision.get();
    mesh.sites[0].compact(revision);
    mesh.sites[0].sweep();
    assert_eq!(mesh.sites[0].store.digest_at(&cut).unwrap(), None);
    assert_eq!(meet(&mesh.sites[0], &mesh.sites[1]), Met::OutOfReach, "ours");
    assert_eq!(meet(&mesh.sites[1], &mesh.sites[0]), Met::OutOfReach, "theirs");
    let frontier = mesh.sites[0].store.frontier();
    mesh.sites[0].run(put("a", "3"));
    mesh.oracle.note_all(&mesh.sites[1..]);
    mesh.reopen(0, Stop::Crash);
    let (before, now) = (mesh.sites[0].store.digest_at(&frontier).unwrap(), mesh.sites[0].store.digest());
    assert!(before.is_some_and(|before| before != now), "from the compaction on it is told");
}

#[test]
fn what_a_transfer_brought_is_of_no_cut_that_is_told() {
    for join in [at_once, prepared] {
        let (mut from, mut to) = apart();
        let cut = from.store.frontier().meet(&to.store.frontier());
        assert!(to.store.digest_at(&cut).unwrap().is_some());
        let transfer = staged(&from, &mut to);
        to.run(delete(single("mine00")));
        join(&mut to, transfer).unwrap();
        assert_eq!(to.store.digest_at(&cut).unwrap(), None);
        assert_eq!(meet(&from, &to), Met::OutOfReach);
        // From there on it is told again.
        send(&to, &mut from);
        to.run(put("mine01", "2"));
        from.run(put("mine02", "2"));
        assert_eq!(meet(&to, &from), Met::Same);
        assert_eq!(meet(&from, &to), Met::Same);
    }
}

#[test]
fn nothing_is_said_of_vectors_that_are_not_covered_and_of_nothing_at_all() {
    let mesh = parted(vec![put("a", "2")], vec![put("b", "2")]);
    let other = mesh.sites[1].store.frontier();
    assert_eq!(mesh.sites[0].store.digest_at(&other).unwrap(), None);
    assert_eq!(meet(&mesh.sites[0], &Bench::of(9, NOW)), Met::OutOfReach);
}

#[test]
fn an_answer_to_something_else_is_none() {
    let mesh = parted(vec![put("a", "2")], vec![put("b", "2")]);
    let [here, there] = &mesh.sites[..] else { panic!("there are two") };
    let page = Provider::new(&there.store).answer(Duration::ZERO, Meet::of(&there.store).ask(), sign).unwrap();
    // At a cut that we did not ask about.
    assert!(matches!(Meet::of(&here.store).take(page), Err(TransferFault::WrongAnswer)));
    let refused = Meet::of(&here.store).take(Provider::refusal(Refusal::Damaged));
    assert!(matches!(refused, Err(TransferFault::Refused(Refusal::Damaged))));
    // Who does not know the question says nothing.
    assert!(matches!(Meet::of(&here.store).take(Default::default()), Err(TransferFault::Malformed(_))));
}
