//! The system's own data: apart from keys, without revisions, and there for as long as nobody removes it.

use tombolo_crdt::{SYSTEM_KEY_BYTES_MAX, SYSTEM_VALUE_BYTES_MAX};
use tombolo_storage::{KeyRange, Outcome, Request, RequestError, Store, SystemWrite};

use crate::{
    memory::{Bench, Stop},
    mesh::{EVERYTHING, Mesh},
    support::*,
};

pub(crate) fn system_put(key: &str, value: &str) -> SystemWrite {
    SystemWrite::Put { key: bytes(key), value: bytes(value) }
}

pub(crate) fn system_remove(key: &str) -> SystemWrite {
    SystemWrite::Remove { key: bytes(key) }
}

fn write<const N: usize>(writes: [SystemWrite; N]) -> Request {
    Request::System(writes.to_vec())
}

/// Every key under a prefix with its values, the winner first.
fn under(store: &Store, prefix: &str) -> Vec<(String, Vec<String>)> {
    let entries = store.system(prefix.as_bytes()).into_iter();
    entries.map(|entry| (text(&entry.key), entry.siblings.iter().map(|s| text(&s.value)).collect())).collect()
}

fn entry(key: &str, values: &[&str]) -> (String, Vec<String>) {
    (key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
}

#[test]
fn a_write_of_the_system_takes_no_revision_and_has_no_event() {
    let mut bench = Bench::new();
    bench.run(put("a", "1"));
    let before = bench.store.published();
    bench.try_run(write([system_put("member/a", "x"), system_put("a", "y")])).unwrap();
    assert!(bench.store.system(b"").is_empty(), "nothing is shown before it is published");
    let commits = bench.commit();
    assert_eq!((commits.len(), commits[0].number), (1, before.commit + 1), "both are one commit");
    assert_eq!((commits[0].revision, commits[0].events.len()), (before.revision, 0));
    assert_eq!(commits[0].system, [bytes("a"), bytes("member/a")]);
    assert_eq!(bench.store.published().revision, before.revision);
    assert_eq!(value(&bench.store, "a").as_deref(), Some("1"), "keys are another keyspace");
    assert_eq!(under(&bench.store, ""), [entry("a", &["y"]), entry("member/a", &["x"])]);
    assert_eq!(under(&bench.store, "member/"), [entry("member/a", &["x"])]);
    bench.run(delete(KeyRange::all()));
    assert_eq!(under(&bench.store, "a"), [entry("a", &["y"])], "no range of keys reaches it");
    assert_eq!(history(&bench.store, 1).len(), 2);
}

#[test]
fn of_several_writes_to_one_key_the_last_counts() {
    let mut bench = Bench::new();
    let several = [system_put("a", "1"), system_put("b", "1"), system_put("a", "2"), system_remove("b")];
    assert_eq!(bench.run(write(several)).outcome, Outcome::System);
    assert_eq!(under(&bench.store, ""), [entry("a", &["2"])]);
    let commit = bench.store.published().commit;
    bench.run(write([system_remove("b"), system_remove("never")]));
    assert_eq!(bench.store.published().commit, commit, "what does nothing is no commit");
    bench.run(write([system_put("a", "3")]));
    bench.run(write([system_put("a", "4")]));
    assert_eq!(under(&bench.store, ""), [entry("a", &["4"])]);
    bench.run(write([system_remove("a")]));
    assert_eq!(under(&bench.store, ""), []);
    let of_one_element = bench.store.digest();
    assert_eq!(of_one_element, 0, "nothing is left of it");
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let mut bench = Bench::new();
    let (key, long_key) = ("k".repeat(SYSTEM_KEY_BYTES_MAX), "k".repeat(SYSTEM_KEY_BYTES_MAX + 1));
    let (large, larger) = ("v".repeat(SYSTEM_VALUE_BYTES_MAX), "v".repeat(SYSTEM_VALUE_BYTES_MAX + 1));
    bench.run(write([system_put(&key, &large)]));
    for refused in [system_put(&key, &larger), system_put(&long_key, ""), system_remove(&long_key)] {
        let refusal = bench.try_run(write([system_put("a", "1"), refused])).unwrap_err();
        assert!(matches!(refusal, RequestError::SystemTooLarge { bytes, max, .. } if bytes == max + 1), "{refusal}");
    }
    assert!(bench.commit().is_empty());
    assert_eq!(under(&bench.store, ""), [entry(&key, &[&large])]);
}

#[test]
fn concurrent_writes_stay_beside_each_other_until_one_has_seen_them() {
    let mut mesh = Mesh::new(3, 1000);
    for site in 0..3 {
        mesh.sites[site].run(write([system_put("a", &format!("by {site}"))]));
    }
    mesh.settle();
    for bench in &mesh.sites {
        assert_eq!(under(&bench.store, ""), [entry("a", &["by 2", "by 1", "by 0"])], "the latest first");
    }
    mesh.check_equal();
    // A removal and a write that have not seen each other: the write stays.
    mesh.sites[0].run(write([system_remove("a")]));
    mesh.sites[1].run(write([system_put("a", "again")]));
    mesh.send(1, 0, EVERYTHING).unwrap();
    let told = mesh.sites[1].store.arrivals(&mesh.sites[2].store.frontier(), 0, EVERYTHING).unwrap();
    let third = &mut mesh.sites[2];
    for arrival in told.records {
        third.committer.ingest(third.wall, arrival.bytes).unwrap();
    }
    let commits = third.commit();
    assert_eq!(commits.iter().flat_map(|commit| &commit.system).collect::<Vec<_>>(), [&bytes("a")]);
    mesh.settle();
    for bench in &mesh.sites {
        assert_eq!(under(&bench.store, ""), [entry("a", &["again"])]);
        assert_eq!(bench.store.published().revision.get(), 1);
    }
    mesh.check_equal();
}

#[test]
fn what_the_system_holds_outlives_compaction_and_every_stop() {
    let mut bench = Bench::new();
    bench.run(write([system_put("kept", "1"), system_put("replaced", "1"), system_put("removed", "1")]));
    bench.run(put("a", "1"));
    bench.run(write([system_put("replaced", "2"), system_put("late", "1")]));
    bench.run(put("a", "2"));
    let first = bench.store.published().revision.get();
    bench.compact(first);
    // Gone since the base was written, which counts it.
    bench.run(write([system_remove("removed"), system_put("late", "2")]));
    let expected = [entry("kept", &["1"]), entry("late", &["2"]), entry("replaced", &["2"])];
    for round in 0..3 {
        for how in [Stop::Close, Stop::Kill, Stop::Crash] {
            let before = bench.store.standing();
            bench = bench.reopen(how);
            assert_eq!(under(&bench.store, ""), expected, "{how:?} in round {round}");
            assert_eq!(bench.store.standing(), before);
        }
        bench.sweep();
        assert_eq!(under(&bench.store, ""), expected);
        bench.run(put("a", &format!("round {round}")));
        bench.compact(bench.store.published().revision.get());
    }
    bench.sweep();
    // The rows of what is kept, of what replaced, and of the key.
    assert_eq!(bench.commit_rows().len(), 4, "{:?}", bench.commit_rows());
    bench.run(write([system_remove("kept"), system_remove("late"), system_remove("replaced")]));
    bench.run(put("a", "last"));
    bench.compact(bench.store.published().revision.get());
    bench.sweep();
    bench = bench.reopen(Stop::Crash);
    assert_eq!((under(&bench.store, ""), bench.commit_rows().len()), (vec![], 1));
}

#[test]
fn a_folder_keeps_what_the_system_holds() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (store, mut committer) = open(folder.path());
        let last = if round == 0 { vec![] } else { vec![entry("a", &[&(round - 1).to_string()])] };
        assert_eq!(under(&store, ""), last);
        run(&mut committer, write([system_put("a", &round.to_string())]));
    }
}
