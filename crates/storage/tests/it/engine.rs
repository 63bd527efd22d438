//! One suite for both engines: what the store may rely on, and nothing more.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use tombolo_storage::engine::{Change, Engine, EngineError, Persist, Row, fjall::FjallEngine, memory::MemoryEngine};

use crate::folders::copy_folder;

/// An engine that can be stopped the hard way.
trait Subject: Sized {
    fn new() -> Self;
    fn engine(&self) -> &dyn Engine;
    /// The engine as the next process finds it.
    fn kill(&self) -> Self;
    /// The engine as a restarted machine finds it. A test cannot take the machine from under fjall: there it is a kill.
    fn crash(&self) -> Self;
}

impl Subject for MemoryEngine {
    fn new() -> Self {
        Self::default()
    }

    fn engine(&self) -> &dyn Engine {
        self
    }

    fn kill(&self) -> Self {
        Self::kill(self)
    }

    fn crash(&self) -> Self {
        Self::crash(self)
    }
}

struct Fjall {
    engine: FjallEngine,
    folder: tempfile::TempDir,
}

impl Fjall {
    fn open(folder: tempfile::TempDir) -> Self {
        Self { engine: FjallEngine::open(&folder.path().join("engine")).expect("fjall opens"), folder }
    }
}

impl Subject for Fjall {
    fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder is made"))
    }

    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    /// A copy of the files, taken while the engine is open, is what a kill would have left.
    fn kill(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder is made");
        copy_folder(self.folder.path(), folder.path());
        Self::open(folder)
    }

    fn crash(&self) -> Self {
        self.kill()
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(bytes(key), bytes(value))
}

fn remove(key: &str) -> Change {
    Change::Remove(bytes(key))
}

fn pairs(rows: impl Iterator<Item = Result<Row, EngineError>>) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    rows.map(|row| row.expect("the row is read")).map(|(key, value)| (text(&key), text(&value))).collect()
}

fn scan(engine: &dyn Engine, start: &str, end: &str) -> Vec<(String, String)> {
    pairs(engine.snapshot().scan(start.as_bytes(), end.as_bytes()))
}

fn keys(engine: &dyn Engine) -> Vec<String> {
    scan(engine, "", "\u{7f}").into_iter().map(|(key, _)| key).collect()
}

fn write(subject: &impl Subject, persist: Persist, changes: Vec<Change>) {
    subject.engine().write(changes, persist).expect("the batch is written");
}

fn a_row_is_read_back_until_it_is_removed<S: Subject>() {
    let subject = S::new();
    write(&subject, Persist::Disk, vec![put("a", "1"), put("b", "")]);
    assert_eq!(subject.engine().get(b"a").unwrap(), Some(bytes("1")));
    assert_eq!(subject.engine().get(b"b").unwrap(), Some(bytes("")));
    assert_eq!(subject.engine().get(b"c").unwrap(), None);
    write(&subject, Persist::Disk, vec![remove("a"), remove("never"), put("b", "2")]);
    assert_eq!(subject.engine().get(b"a").unwrap(), None);
    assert_eq!(subject.engine().get(b"b").unwrap(), Some(bytes("2")));
    assert_eq!(keys(subject.engine()), ["b"]);
}

fn scans_ascend_from_their_start_to_before_their_end<S: Subject>() {
    let subject = S::new();
    let mut order: Vec<Bytes> = [&b"a"[..], b"a\0", b"a\xff", b"b", b"ba", b"c", b"\xff", b"\xff\xff"]
        .into_iter()
        .map(Bytes::copy_from_slice)
        .collect();
    let shuffled = [5, 2, 7, 0, 4, 1, 6, 3].map(|at| Change::Put(order[at].clone(), bytes("v")));
    write(&subject, Persist::Disk, shuffled.to_vec());
    let snapshot = subject.engine().snapshot();
    let found =
        |start: &[u8], end: &[u8]| -> Vec<Bytes> { snapshot.scan(start, end).map(|row| row.unwrap().0).collect() };
    assert_eq!(found(b"", b"\xff\xff\xff"), order);
    assert_eq!(found(b"a\0", b"c"), order[1..5]);
    assert_eq!(found(b"a", b"a"), [] as [Bytes; 0]);
    assert_eq!(found(b"d", b"e"), [] as [Bytes; 0]);
    order.truncate(7);
    assert_eq!(found(b"", b"\xff\xff"), order);
}

fn the_last_row_of_a_range_is_found<S: Subject>() {
    let subject = S::new();
    write(&subject, Persist::Disk, vec![put("b1", "1"), put("b2", "2"), put("c1", "3")]);
    let snapshot = subject.engine().snapshot();
    let last = |start: &str, end: &str| snapshot.last(start.as_bytes(), end.as_bytes()).unwrap();
    assert_eq!(last("b", "c"), Some((bytes("b2"), bytes("2"))));
    assert_eq!(last("b", "b2"), Some((bytes("b1"), bytes("1"))));
    assert_eq!(last("a", "b"), None);
    assert_eq!(last("", "z"), Some((bytes("c1"), bytes("3"))));
}

fn a_snapshot_stays_as_it_was<S: Subject>() {
    let subject = S::new();
    write(&subject, Persist::Disk, vec![put("a", "1"), put("b", "1")]);
    let before = subject.engine().snapshot();
    write(&subject, Persist::Disk, vec![put("a", "2"), remove("b"), put("c", "2")]);
    assert_eq!(before.get(b"a").unwrap(), Some(bytes("1")));
    assert_eq!(before.get(b"c").unwrap(), None);
    assert_eq!(before.last(b"a", b"z").unwrap(), Some((bytes("b"), bytes("1"))));
    assert_eq!(pairs(before.scan(b"a", b"z")), [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())]);
    assert_eq!(keys(subject.engine()), ["a", "c"]);
}

fn a_batch_is_seen_whole_or_not_at_all<S: Subject + Sync>() {
    let subject = S::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut newest = 0;
            while newest < 200 {
                let seen = scan(subject.engine(), "", "z");
                let values: Vec<u64> = seen.iter().map(|(_, value)| value.parse().expect("a number")).collect();
                assert!(values.is_empty() || values.len() == 8, "{seen:?}");
                assert!(values.iter().all(|value| *value == values[0]), "{seen:?}");
                newest = values.first().copied().unwrap_or(0);
            }
        });
        for round in 1..=200 {
            let batch = (0..8).map(|key| put(&format!("k{key}"), &round.to_string())).collect();
            write(&subject, Persist::Os, batch);
        }
        reader.join().expect("the reader saw whole batches");
    });
}

fn what_is_on_disk_survives_a_crash<S: Subject>() {
    let subject = S::new();
    for batch in 0..50 {
        let rows = (0..4).map(|row| put(&format!("{batch:02}-{row}"), &"v".repeat(batch * row))).collect();
        write(&subject, Persist::Disk, rows);
    }
    write(&subject, Persist::Disk, vec![remove("00-0")]);
    let before = scan(subject.engine(), "", "z");
    assert_eq!(before.len(), 199);
    let crashed = subject.crash();
    assert_eq!(scan(crashed.engine(), "", "z"), before);
    assert_eq!(scan(crashed.crash().engine(), "", "z"), before);
}

fn what_the_system_has_survives_a_kill<S: Subject>() {
    let subject = S::new();
    for batch in 0..50 {
        write(&subject, Persist::Os, vec![put(&format!("{batch:02}"), "v")]);
    }
    assert_eq!(keys(subject.kill().engine()).len(), 50);
    // Once persisted it survives a crash too, and so does what a killed process had left behind.
    let killed = subject.kill();
    killed.engine().persist().unwrap();
    assert_eq!(keys(killed.crash().engine()).len(), 50);
}

fn a_sync_beside_writes_covers_those_that_had_returned<S: Subject>() {
    let subject = S::new();
    let (engine, written, is_done) = (subject.engine(), AtomicU32::new(0), AtomicBool::new(false));
    let covered = std::thread::scope(|scope| {
        let syncs = scope.spawn(|| {
            let mut covered = 0;
            while covered < 500 {
                let returned = written.load(Ordering::Acquire);
                engine.persist().expect("the disk is well");
                covered = returned;
            }
            is_done.store(true, Ordering::Release);
            covered
        });
        let mut number = 0;
        while !is_done.load(Ordering::Acquire) {
            number += 1;
            engine.write(vec![put(&format!("{number:08}"), "v")], Persist::Os).expect("the batch is written");
            written.store(number, Ordering::Release);
        }
        syncs.join().expect("every sync succeeded")
    });
    let kept = keys(subject.crash().engine());
    assert!(kept.len() as u32 >= covered, "{} of {covered} batches are left", kept.len());
    assert!(kept.iter().zip(1..).all(|(key, number)| *key == format!("{number:08}")), "a prefix is left");
}

fn large_rows_and_large_batches_read_back<S: Subject>() {
    let subject = S::new();
    let large = "x".repeat(9 << 20);
    write(&subject, Persist::Disk, vec![put("large", &large)]);
    write(&subject, Persist::Disk, (0..5000).map(|row| put(&format!("r{row:05}"), "v")).collect());
    assert!(subject.engine().disk_bytes() > 9 << 20);
    let crashed = subject.crash();
    assert_eq!(crashed.engine().get(b"large").unwrap().map(|value| value.len()), Some(large.len()));
    assert_eq!(keys(crashed.engine()).len(), 5001);
}

macro_rules! conforms {
    ($module:ident, $subject:ty, $($promise:ident),+ $(,)?) => {
        mod $module {
            $(#[test] fn $promise() { super::$promise::<$subject>(); })+
        }
    };
}

macro_rules! both_conform {
    ($($promise:ident),+ $(,)?) => {
        conforms!(memory, tombolo_storage::engine::memory::MemoryEngine, $($promise),+);
        conforms!(fjall, super::Fjall, $($promise),+);
    };
}

both_conform!(
    a_row_is_read_back_until_it_is_removed,
    scans_ascend_from_their_start_to_before_their_end,
    the_last_row_of_a_range_is_found,
    a_snapshot_stays_as_it_was,
    a_batch_is_seen_whole_or_not_at_all,
    what_is_on_disk_survives_a_crash,
    what_the_system_has_survives_a_kill,
    a_sync_beside_writes_covers_those_that_had_returned,
    large_rows_and_large_batches_read_back,
);

#[test]
fn the_memory_engine_forgets_at_a_crash_what_was_not_persisted() {
    let engine = MemoryEngine::new();
    write(&engine, Persist::Disk, vec![put("a", "1")]);
    write(&engine, Persist::Os, vec![put("b", "1"), remove("a")]);
    assert_eq!(keys(&engine.crash()), ["a"]);
    assert_eq!(keys(&engine.kill()), ["b"]);
    assert_eq!(keys(&engine.kill().crash()), ["a"], "a kill persists nothing");
    engine.persist().unwrap();
    assert_eq!(keys(&engine.crash()), ["b"]);
}

#[test]
fn the_memory_engine_fails_when_told_to() {
    let engine = MemoryEngine::new();
    engine.fail_in(2);
    write(&engine, Persist::Disk, vec![put("a", "1")]);
    assert!(engine.write(vec![put("b", "1")], Persist::Disk).is_err());
    assert!(engine.persist().is_err(), "and goes on failing");
    assert_eq!(keys(&engine), ["a"]);
    let engine = engine.crash();
    engine.fail_sync_in(1);
    write(&engine, Persist::Os, vec![]);
    assert!(engine.write(vec![put("b", "1")], Persist::Disk).is_err());
    assert_eq!(
        (keys(&engine.kill()), keys(&engine.crash())),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()])
    );
}
