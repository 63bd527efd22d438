//! What happens when stores hand each other their records: the same everywhere, and what clients were promised.

use tombolo_storage::{ArrivalBudget, ArrivalsError, Event, KeyRange, Op, Request, Transaction};

use crate::{
    memory::Stop,
    mesh::{EVERYTHING, Mesh},
    support::*,
};

fn transaction(puts: &[(&str, &str)]) -> Request {
    let then = puts.iter().map(|(key, value)| Op::Put(put_op(key, value))).collect();
    Request::Txn(Transaction { then, ..Transaction::default() })
}

#[test]
fn of_two_concurrent_writes_the_later_stamp_is_shown_everywhere_and_both_are_kept() {
    let mut mesh = Mesh::new(2, 5);
    mesh.sites[0].run(put("lamp", "early"));
    mesh.sites[1].run(put("lamp", "late"));
    mesh.settle();
    for site in 0..2 {
        assert_eq!(mesh.value(site, "lamp").as_deref(), Some("late"));
        assert_eq!(mesh.siblings(site, "lamp"), ["early", "late"]);
        mesh.check(site);
    }
    mesh.check_equal();
}

#[test]
fn equal_stamps_are_told_apart_by_the_replica() {
    let mut mesh = Mesh::new(3, 0);
    for (site, word) in ["low", "middle", "high"].into_iter().enumerate() {
        mesh.sites[site].run(put("lamp", word));
    }
    let by_name = |mesh: &Mesh| (0..3).map(|site| mesh.sites[site].store.identity().replica).collect::<Vec<_>>();
    assert!(by_name(&mesh).is_sorted());
    mesh.settle();
    for site in 0..3 {
        assert_eq!(mesh.value(site, "lamp").as_deref(), Some("high"));
        mesh.check(site);
    }
}

#[test]
fn a_write_supersedes_what_its_author_had_seen_whatever_the_clocks_say() {
    let ten_years_ms = 10 * 365 * 86_400_000;
    let mut mesh = Mesh::new(2, ten_years_ms);
    mesh.sites[1].run(put("lamp", "from the future"));
    mesh.send(1, 0, EVERYTHING).unwrap();
    mesh.sites[0].run(put("lamp", "seen and replaced"));
    mesh.settle();
    let [first, second] = [0, 1].map(|site| mesh.sites[site].store.identity().replica);
    assert!(mesh.oracle.hlc(tombolo_crdt::Dot::new(first, 1)) > mesh.oracle.hlc(tombolo_crdt::Dot::new(second, 1)));
    for site in 0..2 {
        assert_eq!(mesh.siblings(site, "lamp"), ["seen and replaced"]);
        assert_eq!(mesh.value(site, "lamp").as_deref(), Some("seen and replaced"));
    }
    // A key nobody has written to takes the slow clock's stamp: one site's clock does not carry the other's away.
    mesh.sites[0].run(put("other", "1"));
    mesh.settle();
    let stamp = mesh.oracle.hlc(tombolo_crdt::Dot::new(first, 2));
    assert!(stamp > mesh.oracle.hlc(tombolo_crdt::Dot::new(first, 1)), "stamps of one replica grow");
}

#[test]
fn a_stamp_from_the_future_draws_the_clock_a_minute_at_most() {
    let mut mesh = Mesh::new(2, 86_400_000);
    mesh.sites[1].run(put("lamp", "from tomorrow"));
    mesh.send(1, 0, EVERYTHING).unwrap();
    mesh.sites[0].run(put("other", "1"));
    mesh.settle();
    let own = tombolo_crdt::Dot::new(mesh.sites[0].store.identity().replica, 1);
    assert!(mesh.oracle.hlc(own).millis() <= NOW.0 + 60_000);
}

#[test]
fn a_concurrent_put_survives_a_delete_and_a_range_removal() {
    let mut mesh = Mesh::new(2, 0);
    let many: Vec<String> = (0..80).map(|key| format!("k{key:02}")).collect();
    let puts: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "old")).collect();
    mesh.sites[0].run(transaction(&puts));
    mesh.sites[0].run(put("lamp", "old"));
    mesh.settle();
    mesh.sites[0].run(delete(single("lamp")));
    mesh.sites[0].run(delete(KeyRange::from_key(bytes("k"))));
    mesh.sites[1].run(put("lamp", "new"));
    mesh.sites[1].run(put("k07", "new"));
    mesh.sites[1].run(put("k99", "new"));
    mesh.settle();
    for site in 0..2 {
        let left: Vec<_> = all(&mesh.sites[site].store).iter().map(|pair| text(&pair.key)).collect();
        assert_eq!(left, ["k07", "k99", "lamp"]);
        mesh.check(site);
        mesh.reopen(site, Stop::Crash);
        mesh.check(site);
    }
    mesh.check_equal();
}

#[test]
fn a_write_that_loses_takes_a_commit_and_no_revision() {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[0].run(put("lamp", "early"));
    mesh.sites[1].run(put("lamp", "late"));
    let before = mesh.sites[1].store.published();
    let pair = get(&mesh.sites[1].store, "lamp");
    mesh.send(0, 1, EVERYTHING).unwrap();
    let after = mesh.sites[1].store.published();
    assert_eq!((after.commit, after.revision), (before.commit + 1, before.revision));
    assert_eq!(get(&mesh.sites[1].store, "lamp"), pair);
    assert_eq!(history(&mesh.sites[1].store, 1).len(), 1);
    // The other way round it is a change like any other.
    mesh.send(1, 0, EVERYTHING).unwrap();
    assert_eq!(get(&mesh.sites[0].store, "lamp").map(|pair| (pair.mod_revision, pair.version)), Some((3, 2)));
}

#[test]
fn a_foreign_transaction_is_one_commit_and_one_revision() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(transaction(&[("a", "1"), ("b", "1"), ("c", "1")]));
    mesh.sites[0].run(transaction(&[("a", "2"), ("d", "2")]));
    let sent = mesh.send(0, 1, EVERYTHING).unwrap();
    let store = &mesh.sites[1].store;
    assert_eq!((sent.len(), store.published().commit, store.published().revision.get()), (2, 2, 3));
    let told = history(store, 1);
    assert_eq!(told.iter().map(|commit| commit.events.len()).collect::<Vec<_>>(), [3, 2]);
    assert!(told.iter().all(|commit| commit.events.iter().all(|event| event.revision() == commit.revision.get())));
}

#[test]
fn the_private_key_never_leaves() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(put("compact_rev_key", "42"));
    mesh.sites[0].run(transaction(&[("a", "1"), ("compact_rev_key", "43"), ("b", "1")]));
    mesh.sites[0].run(delete(single("compact_rev_key")));
    mesh.sites[0].run(put("compact_rev_key", "44"));
    assert_eq!(mesh.sites[0].store.published().revision.get(), 5);
    let sent = mesh.send(0, 1, EVERYTHING).unwrap();
    assert_eq!(sent.len(), 1, "what is private has records of its own");
    let needle = b"compact_rev_key";
    assert!(sent.iter().all(|arrival| !arrival.bytes.windows(needle.len()).any(|window| window == needle)));
    assert_eq!((mesh.value(0, "compact_rev_key").as_deref(), mesh.value(1, "compact_rev_key")), (Some("44"), None));
    mesh.check_equal();
    mesh.sites[1].run(put("a", "2"));
    mesh.sites[1].run(delete(KeyRange::all()));
    mesh.settle();
    assert_eq!(mesh.value(0, "compact_rev_key").as_deref(), Some("44"), "nobody else's removal reaches it");
    mesh.reopen(0, Stop::Crash);
    assert_eq!(mesh.value(0, "compact_rev_key").as_deref(), Some("44"));
    mesh.check_equal();
}

/// A loser of the first site comes to light when the second one's lease, which the winner hangs on, ends.
fn uncovered() -> Mesh {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[1].run(Request::LeaseGrant { id: 9, ttl_s: 10 });
    mesh.sites[0].run(put("lamp", "early"));
    mesh.sites[1].run(put_leased("lamp", "late", 9));
    mesh.send(1, 0, EVERYTHING).unwrap();
    mesh.sites[1].run(Request::LeaseRevoke { id: 9 });
    mesh.settle();
    mesh
}

#[test]
fn a_removal_uncovers_the_concurrent_write_that_had_lost() {
    let mut mesh = uncovered();
    assert_eq!(mesh.value(0, "lamp").as_deref(), Some("early"));
    assert_eq!(mesh.value(1, "lamp").as_deref(), Some("early"));
    let told = history(&mesh.sites[0].store, 4);
    let [Event::Put(pair)] = &told[0].events[..] else { panic!("an uncovering is a put: {told:?}") };
    assert_eq!(
        (text(&pair.value), pair.create_revision, pair.mod_revision, pair.version),
        ("early".to_owned(), 2, 4, 3)
    );
    for site in 0..2 {
        mesh.check(site);
        let before = (all(&mesh.sites[site].store), history(&mesh.sites[site].store, 1));
        mesh.reopen(site, Stop::Crash);
        assert_eq!((all(&mesh.sites[site].store), history(&mesh.sites[site].store, 1)), before);
    }
    mesh.check_equal();
}

#[test]
fn what_was_uncovered_outlives_a_compaction() {
    let mut mesh = uncovered();
    mesh.sites[0].run(put("other", "1"));
    let bench = &mut mesh.sites[0];
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    let before = (all(&bench.store), bench.store.digest());
    mesh.reopen(0, Stop::Crash);
    let bench = &mut mesh.sites[0];
    assert_eq!((all(&bench.store), bench.store.digest()), before);
    assert_eq!(value(&bench.store, "lamp").as_deref(), Some("early"));
    bench.run(put("lamp", "new"));
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    mesh.reopen(0, Stop::Crash);
    assert_eq!(mesh.value(0, "lamp").as_deref(), Some("new"));
    assert_eq!(mesh.sites[0].commit_rows().len(), 2);
}

#[test]
fn a_loser_that_dies_between_compaction_and_sweep_is_still_in_the_cuts_before() {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[0].run(put("lamp", "early"));
    mesh.sites[1].run(put("lamp", "late"));
    mesh.send(1, 0, EVERYTHING).unwrap();
    let bench = &mut mesh.sites[0];
    let cut = bench.store.frontier();
    bench.compact(bench.store.published().revision.get());
    bench.run(put("lamp", "both are replaced"));
    let before = bench.store.read_at(b"lamp", &cut).unwrap();
    assert_eq!(before.iter().map(|sibling| text(&sibling.value)).collect::<Vec<_>>(), ["early", "late"]);
    bench.sweep();
    assert_eq!(bench.store.read_at(b"lamp", &cut).unwrap(), before);
    mesh.reopen(0, Stop::Crash);
    let bench = &mut mesh.sites[0];
    assert_eq!(bench.store.read_at(b"lamp", &cut).unwrap(), before);
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    assert!(bench.store.read_at(b"lamp", &cut).is_err(), "the next compaction lets go of it");
    assert_eq!(bench.commit_rows().len(), 1);
    mesh.reopen(0, Stop::Crash);
    assert_eq!(mesh.siblings(0, "lamp"), ["both are replaced"]);
}

#[test]
fn a_loser_that_was_never_shown_is_kept_as_long() {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[0].run(put("lamp", "early"));
    mesh.sites[1].run(put("lamp", "late"));
    mesh.send(0, 1, EVERYTHING).unwrap();
    let bench = &mut mesh.sites[1];
    let cut = bench.store.frontier();
    bench.run(put("other", "1"));
    bench.compact(bench.store.published().revision.get());
    bench.run(put("lamp", "both are replaced"));
    let before = bench.store.read_at(b"lamp", &cut);
    assert_eq!(before.unwrap().len(), 2);
    let base = bench.store.frontier();
    bench.sweep();
    // Cuts from the compaction on can be read, and at the compaction both were there.
    mesh.reopen(1, Stop::Crash);
    let bench = &mesh.sites[1];
    let at_compaction: tombolo_crdt::VersionVector =
        base.iter().map(|dot| tombolo_crdt::Dot::new(dot.replica, dot.seq.min(2))).collect();
    let siblings = bench.store.read_at(b"lamp", &at_compaction).unwrap();
    assert_eq!(siblings.iter().map(|sibling| text(&sibling.value)).collect::<Vec<_>>(), ["early", "late"]);
}

#[test]
fn a_log_begins_where_compaction_has_come_and_says_so() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(put("a", "1"));
    mesh.sites[0].run(put("a", "2"));
    let floor = mesh.sites[0].store.frontier();
    mesh.sites[0].run(put("b", "1"));
    mesh.sites[0].compact(3);
    assert_eq!(mesh.send(0, 1, ArrivalBudget { commits: 1, bytes: 1 }).unwrap().len(), 1, "the rows are still there");
    mesh.sites[0].sweep();
    for _ in 0..2 {
        let refused = mesh.send(0, 1, EVERYTHING);
        assert!(matches!(refused, Err(ArrivalsError::BelowFloor { floor: found }) if found == floor));
        mesh.reopen(0, Stop::Crash);
    }
    let rest = mesh.sites[0].store.arrivals(&floor, 0, EVERYTHING).unwrap();
    assert_eq!((rest.records.len(), rest.next), (1, 4));
}

#[test]
fn the_log_is_told_in_stretches() {
    let mut mesh = Mesh::new(2, 0);
    for round in 0..20 {
        mesh.sites[0].run(put("a", &round.to_string()));
    }
    let (mut from, mut told) = (0, Vec::new());
    let nothing = tombolo_crdt::VersionVector::new();
    while from <= mesh.sites[0].store.published().commit {
        let budget = ArrivalBudget { commits: 3, bytes: usize::MAX };
        let chunk = mesh.sites[0].store.arrivals(&nothing, from, budget).unwrap();
        assert!(chunk.next > from && chunk.records.len() <= 3);
        told.extend(chunk.records);
        from = chunk.next;
    }
    let whole = mesh.sites[0].store.arrivals(&nothing, 0, EVERYTHING).unwrap();
    assert_eq!(told, whole.records);
    assert_eq!(told.iter().map(|arrival| arrival.dot.seq).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    let one = mesh.sites[0].store.arrivals(&nothing, 0, ArrivalBudget { commits: 9, bytes: 1 }).unwrap();
    assert_eq!(one.records.len(), 1, "a record is told however small the budget");
}

#[test]
fn a_lost_write_that_died_leaves_no_hole_in_later_cuts() {
    let mut mesh = Mesh::new(2, 1000);
    mesh.sites[0].run(put("lamp", "early"));
    mesh.sites[1].run(put("lamp", "late"));
    mesh.send(0, 1, EVERYTHING).unwrap();
    let bench = &mut mesh.sites[1];
    bench.run(put("other", "1"));
    let kept = bench.store.published().revision.get();
    bench.run(put("lamp", "both are replaced"));
    bench.compact(kept);
    bench.sweep();
    let cut = bench.store.frontier();
    assert_eq!(bench.store.read_at(b"lamp", &cut).unwrap().len(), 1);
}

#[test]
fn a_site_reads_at_a_cut_what_another_showed_there() {
    let mut mesh = Mesh::new(2, 7);
    let mut cuts = Vec::new();
    for round in 0..30 {
        let site = round % 2;
        mesh.sites[site].run(put(&format!("k{}", round % 3), &format!("v{round}")));
        if round % 5 == 0 {
            mesh.sites[site].run(delete(single("k1")));
        }
        if round % 4 == 0 {
            mesh.send(site, 1 - site, EVERYTHING).unwrap();
        }
        let keys = ["k0", "k1", "k2"];
        let frontier = mesh.sites[site].store.frontier();
        let shown = keys.map(|key| mesh.sites[site].store.read_at(key.as_bytes(), &frontier).unwrap());
        cuts.push((frontier, shown));
    }
    mesh.settle();
    for (cut, shown) in cuts {
        for site in 0..2 {
            let again = ["k0", "k1", "k2"].map(|key| mesh.sites[site].store.read_at(key.as_bytes(), &cut).unwrap());
            assert_eq!(again, shown);
        }
    }
}

#[test]
fn a_chain_of_sites_forwards_what_it_has_received() {
    let mut mesh = Mesh::new(3, 3);
    mesh.sites[0].run(put("a", "1"));
    mesh.send(0, 1, EVERYTHING).unwrap();
    mesh.sites[1].run(put("b", "1"));
    mesh.sites[1].run(put("a", "2"));
    let sent = mesh.send(1, 2, EVERYTHING).unwrap();
    assert_eq!(sent.len(), 3);
    assert_eq!(mesh.value(2, "a").as_deref(), Some("2"));
    mesh.settle();
    mesh.check_equal();
}

#[test]
fn a_peer_that_comes_back_is_served_without_a_look_at_all_that_it_has() {
    let mut mesh = Mesh::new(2, 0);
    let many = |mesh: &mut Mesh, count: usize| {
        for at in 0..count {
            mesh.sites[0].try_run(put("a", &at.to_string())).unwrap();
        }
        mesh.sites[0].commit();
        mesh.sites[1].run(put("b", &count.to_string()));
    };
    many(&mut mesh, 1_100);
    mesh.settle();
    many(&mut mesh, 1_100);
    mesh.settle();
    many(&mut mesh, 5);
    // Far fewer rows than there are before what the peer lacks.
    let budget = ArrivalBudget { commits: 600, bytes: usize::MAX };
    let lacking = |mesh: &Mesh| {
        let seen = mesh.sites[1].store.frontier();
        mesh.sites[0].store.arrivals(&seen, 0, budget).unwrap().records.len()
    };
    assert_eq!(lacking(&mesh), 5);
    mesh.reopen(0, Stop::Crash);
    assert_eq!(lacking(&mesh), 5, "also after a restart");
    let nothing = mesh.sites[0].store.arrivals(&tombolo_crdt::VersionVector::new(), 0, budget).unwrap();
    assert_eq!(nothing.records.len(), 600, "a peer that has nothing is served from the beginning");
}

#[test]
fn a_compaction_leaves_in_the_log_what_a_peer_lacks() {
    let mut mesh = Mesh::new(2, 0);
    mesh.sites[0].run(put("a", "1"));
    mesh.settle();
    mesh.sites[0].run(put("a", "2"));
    mesh.sites[0].run(put("a", "3"));
    let lagging = mesh.sites[1].store.frontier();
    mesh.sites[0].store.hold_log(Some(lagging));
    mesh.sites[0].compact(4);
    mesh.sites[0].sweep();
    assert_eq!(mesh.send(0, 1, EVERYTHING).unwrap().len(), 2, "nothing has gone");
    let caught_up = mesh.sites[1].store.frontier();
    mesh.sites[0].store.hold_log(Some(caught_up));
    mesh.sites[0].sweep();
    assert!(mesh.sites[0].store.arrivals(&tombolo_crdt::VersionVector::new(), 0, EVERYTHING).is_err());
}
