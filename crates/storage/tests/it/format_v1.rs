//! The first format on disk, opened for ever.
//!
//! `tests/fixtures/v1` was written when the format was frozen and is never written again: `rows.hex` holds every row of a
//! small store, `engine` the same rows in a folder of fjall's, and `shown.txt` what a store on them showed. A version that cannot read them
//! cannot read its users' data. `system_rows.hex` and `system_shown.txt` are the same for the operations of system data, which came
//! later.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use tombolo_storage::{
    ArrivalBudget, Commit, KeyRange, Op, OpenOptions, Published, Request, Store, SystemSibling, SystemWrite,
    Transaction, WallTime,
    engine::{Change, Engine, Persist, fjall::FjallEngine, memory::MemoryEngine},
};

use crate::{
    memory::{Bench, entropy_of},
    support::*,
    system::{system_put, system_remove},
};

const SEED: u8 = 7;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn fixture(name: &str) -> String {
    fs::read_to_string(fixtures().join(name)).expect("the fixture is there")
}

#[test]
fn rows_of_the_first_format_show_what_they_always_showed() {
    let engine = MemoryEngine::new();
    engine.write(read_rows(&fixture("rows.hex")), Persist::Disk).expect("memory takes rows");
    assert_eq!(show_on(Box::new(engine)), fixture("shown.txt"));
}

#[test]
fn a_folder_of_the_first_format_shows_what_it_always_showed() {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&fixtures().join("engine"), copy.path());
    // Git keeps no empty folders.
    fs::create_dir_all(copy.path().join("keyspaces/1/tables")).unwrap();
    let engine = FjallEngine::open(copy.path()).expect("fjall opens its folder");
    assert_eq!(show_on(Box::new(engine)), fixture("shown.txt"));
}

#[test]
fn a_store_of_the_first_format_takes_writes() {
    let engine = MemoryEngine::new();
    engine.write(read_rows(&fixture("rows.hex")), Persist::Disk).expect("memory takes rows");
    let (store, mut committer) = open_on(Box::new(engine));
    let before = store.published().revision.get();
    assert_eq!(run(&mut committer, put("next", "1")).revision.get(), before + 1);
    assert_eq!(value(&store, "next").as_deref(), Some("1"));
}

#[test]
fn rows_of_system_data_show_what_they_always_showed() {
    let engine = MemoryEngine::new();
    engine.write(read_rows(&fixture("system_rows.hex")), Persist::Disk).expect("memory takes rows");
    let (store, _committer) = open_on(Box::new(engine));
    assert_eq!(show_system(&store), fixture("system_shown.txt"));
}

#[test]
#[ignore = "wrote the fixture when the operations of system data were frozen; a second run would make it worthless"]
fn write_the_fixture_of_system_data() {
    let bench = furnish_system();
    let snapshot = bench.engine.snapshot();
    let rows = snapshot.scan(&[0], &[0xff]).map(|row| row.unwrap());
    let text: String = rows.map(|(key, value)| format!("{} {}\n", hex(&key), hex(&value))).collect();
    fs::write(fixtures().join("system_rows.hex"), text).unwrap();
    fs::write(fixtures().join("system_shown.txt"), show_system(&bench.store)).unwrap();
}

/// System data in whole rows and in remainders, counted by a base and gone since, and of two replicas at once.
fn furnish_system() -> Bench {
    let system = |writes: &[SystemWrite]| Request::System(writes.to_vec());
    let mut bench = Bench::of(SEED, NOW);
    bench.run(system(&[system_put("kept", "early"), system_put("replaced", "1"), system_put("removed", "1")]));
    bench.run(put("key", "1"));
    bench.run(system(&[system_put("replaced", "2"), system_put("gone", "1")]));
    bench.run(system(&[system_remove("removed")]));
    bench.run(put("key", "2"));
    bench.compact(bench.store.published().revision.get());
    bench.run(system(&[system_remove("gone"), system_put("late", "1")]));
    bench.sweep();
    let mut other = Bench::of(SEED + 1, WallTime(NOW.0 + 100_000));
    other.run(system(&[system_put("late", "elsewhere"), system_put("kept", "elsewhere")]));
    let everything = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
    for arrival in other.store.arrivals(&bench.store.frontier(), 0, everything).unwrap().records {
        bench.committer.ingest(NOW, arrival.bytes).expect("the record passes the gate");
        bench.commit();
    }
    bench
}

pub(crate) fn show_system(store: &Store) -> String {
    let Published { commit, revision, compacted } = store.published();
    let mut text = format!("commit {commit}, revision {revision}, compacted {compacted}\n");
    writeln!(text, "frontier {:?}\ndigest {:032x}", store.frontier(), store.digest()).unwrap();
    for entry in store.system(b"") {
        writeln!(text, "{}", entry.key.escape_ascii()).unwrap();
        for SystemSibling { element, hlc, value } in entry.siblings {
            writeln!(text, "  {element} at {} = {}", hlc.bits(), value.escape_ascii()).unwrap();
        }
    }
    text
}

#[test]
#[ignore = "wrote the fixture when the format was frozen; a second run would make it worthless"]
fn write_the_fixture() {
    let bench = furnish();
    let rows = bench.engine.snapshot().scan(&[0], &[0xff]).map(|row| row.unwrap()).collect::<Vec<_>>();
    let mut text = String::new();
    for (key, value) in &rows {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
    }
    fs::write(fixtures().join("rows.hex"), text).unwrap();
    fs::write(fixtures().join("shown.txt"), show(&bench.store)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    {
        let engine = FjallEngine::open(folder.path()).unwrap();
        let changes = rows.into_iter().map(|(key, value)| Change::Put(key, value)).collect();
        engine.write(changes, Persist::Disk).unwrap();
    }
    copy_folder(folder.path(), &fixtures().join("engine"));
}

/// Everything the format knows: both layers, whole rows and remainders, a base, records of another replica, leases, ranges.
fn furnish() -> Bench {
    let mut bench = Bench::of(SEED, NOW);
    bench.run(Request::LeaseGrant { id: 77, ttl_s: 60 });
    bench.run(put_leased("leased", "with a lease", 77));
    bench.run(put("overwritten", "first"));
    bench.run(put("overwritten", "second"));
    bench.run(put("deleted", "short-lived"));
    bench.run(delete(single("deleted")));
    let both = vec![Op::Put(put_op("txn/a", "stays")), Op::Put(put_op("txn/b", "goes"))];
    bench.run(Request::Txn(Transaction { then: both, ..Transaction::default() }));
    bench.run(put("compact_rev_key", "5"));
    for number in 0..70 {
        bench.run(put(&format!("many/{number:02}"), "x"));
    }
    bench.run(delete(KeyRange::before(bytes("many/"), bytes("many/68"))));
    bench.run(delete(single("txn/b")));
    let revision = bench.store.published().revision.get();
    bench.compact(revision);
    bench.sweep();
    // From here on rows are whole: a range removal with its context, and a removal that uncovers an older write.
    let more = (0..66).map(|number| Op::Put(put_op(&format!("more/{number:02}"), "y"))).collect();
    bench.run(Request::Txn(Transaction { then: more, ..Transaction::default() }));
    bench.run(delete(KeyRange::before(bytes("more/"), bytes("more0"))));
    let both = vec![Op::Put(put_op("both", "layers")), Op::Put(put_op("compact_rev_key", "6"))];
    bench.run(Request::Txn(Transaction { then: both, ..Transaction::default() }));
    bench.run(put("uncovered", "early"));
    let mut other = Bench::of(SEED + 1, WallTime(NOW.0 + 100_000));
    other.run(put("overwritten", "elsewhere"));
    other.run(put("foreign", "from another replica"));
    other.run(Request::LeaseGrant { id: 78, ttl_s: 30 });
    other.run(put_leased("uncovered", "late", 78));
    other.run(Request::LeaseRevoke { id: 78 });
    other.run(Request::LeaseGrant { id: 79, ttl_s: 30 });
    let everything = ArrivalBudget { commits: usize::MAX, bytes: usize::MAX };
    let seen = bench.store.frontier();
    for arrival in other.store.arrivals(&seen, 0, everything).expect("the log is whole").records {
        bench.committer.ingest(NOW, arrival.bytes).expect("the record passes the gate");
        bench.commit();
    }
    bench.run(put("after", "the compaction"));
    bench.run(delete(KeyRange::before(bytes("txn/"), bytes("txn0"))));
    bench
}

fn open_on(engine: Box<dyn Engine>) -> (Store, tombolo_storage::Committer) {
    Store::open_on(engine, &OpenOptions::new(NOW, entropy_of(SEED))).expect("the rows open")
}

fn show_on(engine: Box<dyn Engine>) -> String {
    let (store, _committer) = open_on(engine);
    show(&store)
}

/// What a store shows, as text.
pub(crate) fn show(store: &Store) -> String {
    let mut text = String::new();
    let published = store.published();
    writeln!(text, "{published:?}\nfrontier {:?}\ndigest {:032x}", store.frontier(), store.digest()).unwrap();
    let mut leases = store.leases();
    leases.sort_unstable();
    writeln!(text, "leases {leases:?}").unwrap();
    for revision in published.compacted..=published.revision.get() {
        writeln!(text, "at {revision}").unwrap();
        for pair in all_at(store, revision) {
            writeln!(text, "  {pair:?}").unwrap();
        }
    }
    for commit in history(store, published.compacted + 1) {
        let Commit { number, revision, events, leases, system: _ } = commit;
        // In the words in which the fixture was written down.
        let head = format!("number: {number}, revision: {revision:?}");
        writeln!(text, "Commit {{ {head}, events: {events:?}, leases: {leases:?} }}").unwrap();
    }
    for key in ["overwritten", "foreign", "txn/a", "uncovered", "more/07"] {
        writeln!(text, "{key}: {:?}", store.read_at(key.as_bytes(), &store.frontier()).expect("now can be read"))
            .unwrap();
    }
    text
}

pub(crate) fn read_rows(text: &str) -> Vec<Change> {
    let row = |line: &str| {
        let (key, value) = line.split_once(' ').expect("a row has a key and a value");
        Change::Put(unhex(key).into(), unhex(value).into())
    };
    text.lines().map(row).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("the fixture is hex"))
        .collect()
}

/// Copies a folder; a file that ends in zeros, as a preallocated journal does, without them.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            let mut content = fs::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            }
            fs::write(&target, content).unwrap();
        }
    }
}
