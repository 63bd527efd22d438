//! Folders with rows that rot while nobody has them open: they do not open, and are made whole of what a peer has.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tempfile::TempDir;
use tombolo_storage::{
    Committer, KeyRange, MendError, OpenError, Salvage, SalvageError, Store,
    engine::{Change, Engine, Persist, fjall::FjallEngine},
};

use crate::{memory::Bench, mesh::EVERYTHING, random::for_seeds, rot::flip, support::*};

pub(crate) fn key_of(commit: u64) -> Bytes {
    [b"c", &commit.to_be_bytes()[..]].concat().into()
}

pub(crate) fn engine(folder: &Path) -> FjallEngine {
    FjallEngine::open(&folder.join("engine")).unwrap()
}

pub(crate) fn rows(folder: &Path) -> Vec<(Bytes, Bytes)> {
    engine(folder).snapshot().scan(b"a", b"z").map(|row| row.expect("the disk reads")).collect()
}

/// Gives each the records that the other lacks.
fn exchange(store: &Store, committer: &mut Committer, peer: &mut Bench) {
    let ours = store.arrivals(&peer.store.frontier(), 0, EVERYTHING).unwrap().records;
    let theirs = peer.store.arrivals(&store.frontier(), 0, EVERYTHING).unwrap().records;
    ours.into_iter().for_each(|record| _ = peer.committer.ingest(NOW, record.bytes).unwrap());
    theirs.into_iter().for_each(|record| _ = committer.ingest(NOW, record.bytes).unwrap());
    peer.commit();
    commit(committer);
}

/// A folder that was closed, with records of its own and of a peer.
fn closed() -> (TempDir, Bench) {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    let mut peer = Bench::of(3, NOW);
    for round in 0..4 {
        for key in 0..5 {
            run(&mut committer, put(&format!("k{key}"), &format!("ours {round}")));
        }
        peer.run(put(&format!("k{round}"), "theirs"));
        peer.run(delete(single("k4")));
        exchange(&store, &mut committer, &mut peer);
    }
    run(&mut committer, delete(KeyRange::from_key(bytes("k3"))));
    peer.run(put("last", "theirs"));
    exchange(&store, &mut committer, &mut peer);
    run(&mut committer, put("end", "ours"));
    exchange(&store, &mut committer, &mut peer);
    committer.close().unwrap();
    (folder, peer)
}

pub(crate) fn begin(folder: &Path) -> Salvage {
    Salvage::begin(folder, &options()).unwrap().expect("something is rotten")
}

pub(crate) fn give_all(salvage: &mut Salvage, peer: &Bench) {
    for dot in salvage.wanted() {
        assert!(salvage.give(dot, peer.store.material(dot).unwrap().expect("the peer has everything")));
    }
}

#[test]
fn a_folder_with_any_one_row_rotten_is_made_whole_of_what_a_peer_has() {
    let (folder, peer) = closed();
    let path = folder.path();
    let (store, committer) = open(path);
    let state = (all(&store), store.standing());
    committer.close().unwrap();
    drop(store);
    let before = rows(path);
    for (key, row) in before.iter().filter(|(key, _)| key[0] == b'c') {
        let number = u64::from_be_bytes(key[1..].try_into().unwrap());
        let mut rotten = row.to_vec();
        rotten[row.len() / 2] ^= 4;
        let is_last = Some(key) == before.iter().map(|(key, _)| key).rfind(|key| key[0] == b'c');
        for damage in [Change::Remove(key.clone()), Change::Put(key.clone(), rotten.into())] {
            if is_last && matches!(damage, Change::Remove(_)) {
                // A log that ends too early is what the fence is for.
                continue;
            }
            engine(path).write(vec![damage], Persist::Disk).unwrap();
            assert!(matches!(try_open(path), Err(OpenError::Rotten { commit }) if commit == number), "row {number}");
            let mut salvage = begin(path);
            assert_eq!(salvage.rotten().into_iter().collect::<Vec<_>>(), [number]);
            let is_end_of_another = salvage.wanted().is_empty();
            salvage.hear(&peer.store.frontier());
            assert_eq!(salvage.wanted().len(), 1);
            if !is_end_of_another {
                let told = salvage.standing();
                assert_eq!((&told.frontier, &told.chains), (&state.1.frontier, &state.1.chains));
            }
            give_all(&mut salvage, &peer);
            assert_eq!(salvage.finish().unwrap(), [number]);
            assert_eq!(rows(path), before);
        }
    }
    assert!(Salvage::begin(path, &options()).unwrap().is_none());
    let (store, committer) = open(path);
    assert_eq!((all(&store), store.standing()), state);
    committer.close().unwrap();
    let names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("engine.")), "{names:?}");
}

#[test]
fn bits_that_flip_in_the_tables_of_a_closed_folder_are_mended_before_it_opens() {
    let mended = AtomicU64::new(0);
    for_seeds(0..8, |random| {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut committer) = open(folder.path());
        let mut peer = Bench::of(3, NOW);
        for key in 0..400 {
            try_run(&mut committer, put(&format!("k{:03}", key % 300), &format!("{key} {}", "v".repeat(90)))).unwrap();
        }
        commit(&mut committer);
        exchange(&store, &mut committer, &mut peer);
        store.defragment().unwrap();
        let right = (all(&store), store.standing());
        committer.close().unwrap();
        drop(store);
        flip(&folder.path().join("engine/keyspaces/1/tables"), 2, random);
        let Err(why) = try_open(folder.path()) else { return };
        assert!(matches!(why, OpenError::Rotten { .. }), "{why}");
        let mut salvage = begin(folder.path());
        give_all(&mut salvage, &peer);
        mended.fetch_add(salvage.finish().unwrap().len() as u64, Ordering::Relaxed);
        let (store, mut committer) = open(folder.path());
        assert_eq!((all(&store), store.standing()), right);
        // No damaged table is left for a merge to meet.
        run(&mut committer, put("after", "1"));
        store.defragment().unwrap();
        assert_eq!(value(&store, "after").as_deref(), Some("1"));
    });
    let mended = mended.into_inner();
    assert!(mended > 100, "blocks were hit, and many rows lie in each: {mended}");
}

#[test]
fn what_is_lacking_forged_or_not_certain_leaves_the_folder_as_it_was() {
    let (folder, peer) = closed();
    let path = folder.path();
    let lost = |numbers: &[u64]| {
        engine(path)
            .write(numbers.iter().map(|number| Change::Remove(key_of(*number))).collect(), Persist::Disk)
            .unwrap();
    };
    let before = rows(path);
    lost(&[3]);
    let salvage = begin(path);
    let dot = salvage.wanted()[0];
    assert!(matches!(salvage.finish(), Err(SalvageError::Mend(MendError::Lacking { dot: lacking })) if lacking == dot));
    // Another record of that name, from a past that nobody here has seen.
    let other = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(other.path());
    (0..5).for_each(|_| drop(run(&mut committer, put("k2", "forged"))));
    let mut salvage = begin(path);
    assert!(salvage.give(dot, store.material(dot).unwrap().expect("it is in the other log")));
    assert!(matches!(
        salvage.finish(),
        Err(SalvageError::Mend(MendError::Foreign { .. } | MendError::Unproven { .. }))
    ));
    assert!(matches!(try_open(path), Err(OpenError::Rotten { commit: 3 })));
    // The folder's fifth record and the peer's first two: which came first is written nowhere.
    let mut salvage = begin(path);
    give_all(&mut salvage, &peer);
    salvage.finish().unwrap();
    assert_eq!(rows(path), before);
    lost(&[5, 6]);
    let mut salvage = begin(path);
    give_all(&mut salvage, &peer);
    assert!(matches!(salvage.finish(), Err(SalvageError::Mend(MendError::Unproven { commit: 5 }))));
    assert_eq!(rows(path).len(), before.len() - 2);
}

#[test]
fn a_change_of_engines_that_is_interrupted_is_completed() {
    let (folder, _) = closed();
    let path = folder.path();
    let before = rows(path);
    let within = |name: &str| path.join(name);
    // Not yet whole: the old one counts.
    fs::create_dir(within("engine.new")).unwrap();
    assert!(try_open(path).is_ok());
    fs::remove_dir(within("engine.new")).unwrap();
    // Between the two renames.
    fs::rename(within("engine"), within("engine.new")).unwrap();
    fs::create_dir(within("engine.rotten")).unwrap();
    assert!(try_open(path).is_ok());
    assert!(!within("engine.rotten").exists() && !within("engine.new").exists());
    // After them.
    fs::create_dir(within("engine.rotten")).unwrap();
    assert!(try_open(path).is_ok());
    assert!(!within("engine.rotten").exists());
    assert_eq!(rows(path), before);
}

#[test]
fn a_row_of_what_is_kept_at_home_is_named_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut peer) = (folder.path(), Bench::of(3, NOW));
    let (store, mut committer) = open(path);
    run(&mut committer, put("a", "1"));
    run(&mut committer, put("compact_rev_key", "1"));
    run(&mut committer, put("b", "1"));
    run(&mut committer, put("compact_rev_key", "2"));
    exchange(&store, &mut committer, &mut peer);
    committer.close().unwrap();
    drop(store);
    for number in [2, 4] {
        let row = rows(path).into_iter().find(|(key, _)| *key == key_of(number)).expect("it is there").1;
        let mut rotten = row.to_vec();
        rotten[9] ^= 1;
        engine(path).write(vec![Change::Put(key_of(number), rotten.into())], Persist::Disk).unwrap();
        assert!(matches!(try_open(path), Err(OpenError::Rotten { commit }) if commit == number));
        let salvage = begin(path);
        assert!(salvage.wanted().is_empty() && salvage.is_told(), "nobody is waited for");
        let outcome = salvage.finish();
        assert!(matches!(outcome, Err(SalvageError::Mend(MendError::Private { commit })) if commit == number));
        engine(path).write(vec![Change::Put(key_of(number), row)], Persist::Disk).unwrap();
    }
    assert!(try_open(path).is_ok());
}
