//! Data folders that must not be opened: each refusal names its cause and leaves the folder as it was.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tombolo_storage::{Durability, IdentityLoss, OpenError, Store};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    folders::{copy_folder, listing},
    support::*,
};

/// A folder whose store has some commits and was closed.
fn closed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder is made");
    let (_, mut committer) = open(folder.path());
    for round in 0..5 {
        run(&mut committer, put("a", &round.to_string()));
    }
    committer.close().expect("the store closes");
    folder
}

/// Opens a folder that must be refused, and sees that nothing in it has changed.
fn refused(path: &Path) -> OpenError {
    let before = listing(path);
    let refusal = try_open(path).map(drop).expect_err("the folder is refused");
    assert_eq!(listing(path), before, "after: {refusal}");
    refusal
}

fn is_damaged(refusal: &OpenError, naming: &str) -> bool {
    matches!(refusal, OpenError::Damaged { what } if what.contains(naming))
}

fn is_lost(refusal: &OpenError, expected: &IdentityLoss) -> bool {
    matches!(refusal, OpenError::NeedsNewIdentity { cause } if cause == expected)
}

/// Rewrites a manifest in its place, with the hash that its lines ask for.
fn edit_manifest(folder: &Path, edit: impl FnOnce(String) -> String) {
    let path = folder.join("MANIFEST");
    let text = fs::read_to_string(&path).expect("the manifest is read");
    let text = edit(text[..text.rfind("hash ").expect("the last line is the hash")].to_owned());
    let hash = xxh3_64(text.as_bytes());
    fs::write(&path, format!("{text}hash {hash:016x}\n")).expect("the manifest is written");
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, committer) = open(folder.path());
    assert!(matches!(try_open(folder.path()), Err(OpenError::Locked { path }) if path == folder.path()));
    // A reader keeps it too: the engine is still open.
    drop(committer);
    assert!(matches!(try_open(folder.path()), Err(OpenError::Locked { .. })));
    drop(store);
    open(folder.path());
}

#[test]
fn a_copied_folder_is_refused() {
    let folder = closed();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    assert!(is_lost(&refused(copy.path()), &IdentityLoss::Copied));
    open(folder.path());
    // Put in the place of the original, it is still a copy.
    fs::remove_dir_all(folder.path()).unwrap();
    fs::rename(copy.path(), folder.path()).unwrap();
    assert!(is_lost(&refused(folder.path()), &IdentityLoss::Copied));
}

#[test]
fn a_folder_of_an_earlier_format_is_raised_when_it_is_opened_and_not_when_it_is_refused() {
    let folder = closed();
    let manifest = || fs::read_to_string(folder.path().join("MANIFEST")).unwrap();
    edit_manifest(folder.path(), |text| text.replace("format 5\n", "format 1\n"));
    let fence = fs::read(folder.path().join("FENCE")).unwrap();
    fs::write(folder.path().join("FENCE"), vec![0; fence.len()]).unwrap();
    refused(folder.path());
    assert!(manifest().contains("\nformat 1\n"));
    fs::write(folder.path().join("FENCE"), fence).unwrap();
    let (store, committer) = open(folder.path());
    assert!(manifest().contains("\nformat 5\n"), "an older program refuses what is written from here on");
    assert_eq!(value(&store, "a").as_deref(), Some("4"));
    drop((store, committer));
    assert_eq!(value(&open(folder.path()).0, "a").as_deref(), Some("4"), "the manifest is known again");
}

#[test]
fn a_moved_folder_opens() {
    let folder = closed();
    let place = tempfile::tempdir().unwrap();
    let moved = place.path().join("elsewhere");
    fs::rename(folder.path(), &moved).unwrap();
    let (store, _committer) = open(&moved);
    assert_eq!(value(&store, "a").as_deref(), Some("4"));
}

#[test]
fn a_newer_format_is_refused() {
    let folder = closed();
    edit_manifest(folder.path(), |text| text.replace("format 5\n", "format 99\nsomething new\n"));
    assert!(matches!(refused(folder.path()), OpenError::NewerFormat { found: 99, known: 5 }));
}

#[test]
fn a_damaged_manifest_is_refused_whichever_byte_it_is() {
    let folder = closed();
    let path = folder.path().join("MANIFEST");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut text = whole.clone();
        text[at] ^= 0x10;
        fs::write(&path, &text).unwrap();
        let refusal = refused(folder.path());
        // A format that reads as a later one cannot be told from a later one.
        assert!(is_damaged(&refusal, "MANIFEST") || matches!(refusal, OpenError::NewerFormat { .. }), "byte {at}");
    }
    for end in [0, 20, whole.len() - 1] {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(is_damaged(&refused(folder.path()), "MANIFEST"), "cut at {end}");
    }
    fs::write(&path, [&whole[..], b"more\n"].concat()).unwrap();
    assert!(is_damaged(&refused(folder.path()), "MANIFEST"));
    fs::write(&path, &whole).unwrap();
    open(folder.path());
}

#[test]
fn a_manifest_of_nobody_is_refused() {
    let folder = closed();
    edit_manifest(folder.path(), |text| text.replace("slot 0", "slot 99999"));
    assert!(is_damaged(&refused(folder.path()), "MANIFEST"));
}

#[test]
fn a_missing_manifest_is_not_a_new_folder() {
    let folder = closed();
    fs::remove_file(folder.path().join("MANIFEST")).unwrap();
    assert!(is_damaged(&refused(folder.path()), "no MANIFEST"));
    fs::remove_file(folder.path().join("FENCE")).unwrap();
    let refusal = try_open(folder.path()).map(drop).expect_err("rows of nobody are refused");
    assert!(is_damaged(&refusal, "rows"), "{refusal}");
    assert!(is_damaged(&try_open(folder.path()).map(drop).unwrap_err(), "no MANIFEST"), "and refused again");
}

#[test]
fn a_folder_that_was_ever_opened_is_not_taken_for_a_half_made_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    // There may be rows of which the fence has not heard yet.
    fs::remove_file(folder.path().join("MANIFEST")).unwrap();
    assert!(is_damaged(&refused(folder.path()), "no MANIFEST"));
}

#[test]
fn a_folder_with_something_else_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letters.txt"), "not ours").unwrap();
    assert!(is_damaged(&refused(folder.path()), "letters.txt"));
    let file = folder.path().join("letters.txt");
    assert!(matches!(try_open(&file), Err(OpenError::Io { path, .. }) if path == file));
}

#[test]
fn a_fence_with_one_sound_slot_is_enough_and_with_none_is_not() {
    let folder = closed();
    let path = folder.path().join("FENCE");
    let whole = fs::read(&path).unwrap();
    for slot in [0, 4096] {
        let mut torn = whole.clone();
        torn[slot + 20] ^= 1;
        fs::write(&path, &torn).unwrap();
        let opened = try_open(folder.path());
        // The other slot may be of a moment at which the folder was in use; that is no damage either.
        assert!(opened.is_ok(), "{:?}", opened.map(drop));
        drop(opened);
        fs::write(&path, &whole).unwrap();
    }
    let mut torn = whole.clone();
    (torn[20], torn[4116]) = (torn[20] ^ 1, torn[4116] ^ 1);
    fs::write(&path, &torn).unwrap();
    assert!(is_damaged(&refused(folder.path()), "FENCE"));
    fs::write(&path, &whole[..100]).unwrap();
    assert!(is_damaged(&refused(folder.path()), "FENCE"));
    fs::remove_file(&path).unwrap();
    assert!(refused(folder.path()).to_string().contains("FENCE"));
}

#[test]
fn a_missing_file_of_the_engine_is_named_before_the_engine_forgives_it() {
    for missing in ["version", "keyspaces/0/current", "keyspaces/1/current"] {
        let folder = closed();
        fs::remove_file(folder.path().join("engine").join(missing)).unwrap();
        assert!(is_damaged(&refused(folder.path()), missing));
    }
    let folder = closed();
    journals(folder.path()).iter().for_each(|journal| fs::remove_file(journal).unwrap());
    assert!(is_damaged(&refused(folder.path()), ".jnl"));
    let folder = closed();
    fs::remove_dir_all(folder.path().join("engine")).unwrap();
    assert!(is_damaged(&refused(folder.path()), "engine"));
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("engine")).expect("the engine's folder is listed");
    let paths = entries.map(|entry| entry.expect("the entry is read").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).collect()
}

/// The bytes of a journal that were ever written.
fn used(journal: &Path) -> usize {
    let bytes = fs::read(journal).expect("the journal is read");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

#[test]
fn a_journal_that_lost_its_end_is_found_by_the_fence() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    let journal = journals(folder.path()).pop().expect("there is a journal");
    let mut ends = Vec::new();
    for round in 0..5 {
        run(&mut committer, put("a", &round.to_string()));
        ends.push(used(&journal));
    }
    // Not closed: the fence's thread writes what it knows, and that is all.
    drop((store, committer));
    let file = fs::File::options().write(true).open(&journal).unwrap();
    file.set_len(ends[2] as u64).unwrap();
    drop(file);
    for _ in 0..2 {
        let refusal = try_open(folder.path()).map(drop).expect_err("the folder is refused");
        assert!(is_lost(&refusal, &IdentityLoss::LostSuffix { log: 3, fence: 5 }), "{refusal}");
    }
}

#[test]
fn an_unclean_stop_under_a_weak_durability_is_refused() {
    for durability in [Durability::Os, Durability::Interval(Duration::from_millis(50))] {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options();
        options.durability = durability;
        let (_, mut committer) = Store::open(folder.path(), &options).unwrap();
        run(&mut committer, put("a", "1"));
        committer.close().unwrap();
        let (store, mut committer) = Store::open(folder.path(), &options).unwrap();
        run(&mut committer, put("a", "2"));
        drop((store, committer));
        assert!(is_lost(&refused(folder.path()), &IdentityLoss::UncleanWeakDurability));
        // Not even under a better durability: what was lost, was lost before.
        assert!(is_lost(&refused(folder.path()), &IdentityLoss::UncleanWeakDurability));
    }
}

#[test]
fn an_unclean_stop_under_fsync_is_none_of_anyones_business() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let (store, mut committer) = open(folder.path());
        assert_eq!(store.published().commit, round);
        run(&mut committer, put("a", &round.to_string()));
        // With or without time for the fence to hear of it.
        thread::sleep(Duration::from_millis(round * 10));
    }
}

#[test]
fn a_fence_that_remembers_a_failed_sync_is_refused() {
    let folder = closed();
    let path = folder.path().join("FENCE");
    let mut fence = fs::read(&path).unwrap();
    for slot in [0, 4096] {
        fence[slot + 16] |= 4;
        let hash = xxh3_64(&fence[slot..slot + 105]);
        fence[slot + 105..slot + 113].copy_from_slice(&hash.to_be_bytes());
    }
    fs::write(&path, &fence).unwrap();
    assert!(is_lost(&refused(folder.path()), &IdentityLoss::FailedSync));
}
