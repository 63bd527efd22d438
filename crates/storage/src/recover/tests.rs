//! What opening finds out: a log that ends too early, another one, a version that knows more, and a failure that was marked.

use std::path::Path;

use bytes::Bytes;
use tombolo_crdt::{Chain, Operation};

use super::*;
use crate::{
    Put, Request, WallTime,
    engine::{Change, Persist, fjall::FjallEngine, memory::MemoryEngine},
    row::commit::{self, CommitRow},
};

/// A folder whose rows are in memory, where they can be lost: its fence is on the disk.
fn open_on(path: &Path, engine: &Arc<MemoryEngine>) -> Result<(Store, Committer), OpenError> {
    let options = OpenOptions::new(WallTime(0), std::array::from_fn(|at| at as u8));
    drop(FjallEngine::open(&Folder::engine_path(path))?);
    let folder = Folder::open(path, &options)?;
    folder.seal_if_empty(&**engine)?;
    super::open(Box::new(Arc::clone(engine)), Some(folder), None, &options)
}

fn put(committer: &mut Committer, value: &'static [u8]) -> Result<(), crate::CommitError> {
    execute(committer, value);
    committer.commit().map(drop)
}

fn execute(committer: &mut Committer, value: &'static [u8]) {
    let value = Some(Bytes::from_static(value));
    let put = Put { key: Bytes::from_static(b"a"), value, lease: Some(0), previous: false };
    committer.execute(WallTime(1), Request::Put(put)).unwrap();
}

fn loss(opened: Result<(Store, Committer), OpenError>) -> Option<IdentityLoss> {
    match opened {
        Err(OpenError::NeedsNewIdentity { cause }) => Some(cause),
        _ => None,
    }
}

#[test]
fn a_row_of_a_later_version_is_named_and_not_interpreted() {
    let engine = Arc::new(MemoryEngine::new());
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
    put(&mut committer, b"1").unwrap();
    drop((store, committer));
    let row = engine.get(&commit::key(1)).unwrap().unwrap();
    let mut row = CommitRow::decode(&row, 1).unwrap();
    let part = row.parts.first_mut().unwrap();
    part.record.operations.push(Operation::Unknown { kind: 1 << 63, body: Bytes::new() });
    (part.bytes, part.record.header.chain) = part.record.encode(&Chain::BEGINNING);
    let change = Change::Put(commit::key(1), row.encode(1));
    engine.write(vec![change], Persist::Disk).unwrap();
    let refusal = open_on(folder.path(), &engine).map(drop).unwrap_err();
    assert!(refusal.to_string().contains("commit 1 holds an operation of kind 9223372036854775808"), "{refusal}");
}

#[test]
fn a_log_below_its_fence_and_a_log_beside_its_fence_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::new());
    let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
    put(&mut committer, b"1").unwrap();
    let short = Arc::new(engine.crash());
    put(&mut committer, b"2").unwrap();
    drop((store, committer));
    assert_eq!(loss(open_on(folder.path(), &short)), Some(IdentityLoss::LostSuffix { log: 1, fence: 2 }));
    // Another second record under the same name.
    let other = tempfile::tempdir().unwrap();
    let forked = Arc::new(MemoryEngine::new());
    let (store, mut committer) = open_on(other.path(), &forked).unwrap();
    put(&mut committer, b"1").unwrap();
    put(&mut committer, b"3").unwrap();
    drop((store, committer));
    assert_eq!(loss(open_on(folder.path(), &forked)), Some(IdentityLoss::ForkedLog { commit: 2 }));
    assert!(open_on(folder.path(), &engine).is_ok());
}

#[test]
fn a_folder_whose_write_failed_needs_a_new_identity_even_if_nothing_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::new());
    let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
    put(&mut committer, b"1").unwrap();
    engine.fail_sync_in(1);
    put(&mut committer, b"2").unwrap_err();
    drop((store, committer));
    let engine = Arc::new(engine.kill());
    assert_eq!(loss(open_on(folder.path(), &engine)), Some(IdentityLoss::FailedSync));
}

#[test]
fn a_sync_that_failed_on_another_thread_marks_the_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::new());
    let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
    execute(&mut committer, b"1");
    let never_published = committer.seal().unwrap();
    engine.fail_sync_in(1);
    committer.disk().sync();
    committer.seal().map(drop).unwrap_err();
    drop((store, committer, never_published));
    assert_eq!(loss(open_on(folder.path(), &Arc::new(engine.kill()))), Some(IdentityLoss::FailedSync));
}

#[test]
fn the_fence_is_nowhere_above_what_a_sync_has_covered() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::new());
    let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
    execute(&mut committer, b"1");
    let first = committer.seal().unwrap().unwrap();
    committer.disk().sync();
    execute(&mut committer, b"2");
    let second = committer.seal().unwrap();
    committer.publish(first).unwrap();
    drop((store, committer, second));
    let (store, _committer) = open_on(folder.path(), &Arc::new(engine.crash())).unwrap();
    assert_eq!(store.published().commit, 1);
}

#[test]
fn a_failed_close_does_not_count_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::new());
    let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
    put(&mut committer, b"1").unwrap();
    engine.fail_in(1);
    committer.close().unwrap_err();
    drop(store);
    let engine = Arc::new(engine.crash());
    assert_eq!(loss(open_on(folder.path(), &engine)), Some(IdentityLoss::FailedSync));
}

#[test]
fn revisions_go_on_above_the_log_and_below_what_is_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::new());
    for round in 0..3 {
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        assert_eq!(store.published().revision.get(), 1 + round);
        put(&mut committer, b"1").unwrap();
    }
}
