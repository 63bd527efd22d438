//! Backups, and the stores that are made of them.

use tempfile::tempdir;
use tombolo_crdt::SignedHead;
use tombolo_storage::{
    Committer, Comparison, Guard, Op, Operand, Outcome, RangeQuery, ReadError, Request, Slot, Store, Transaction,
    WallTime,
    restore::{RestoreError, RestoreOptions, inspect, restore},
};

use crate::support::*;

const LATER: WallTime = WallTime(NOW.0 + 3_600_000);

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn saved(store: &Store, piece: usize) -> Vec<u8> {
    let mut backup = store.backup(NOW, slot(3));
    let mut out = Vec::new();
    while let Some(bytes) = backup.next_piece(piece).unwrap() {
        out.extend_from_slice(&bytes);
    }
    out
}

fn how() -> RestoreOptions {
    RestoreOptions { entropy: [9; 32], above: None, wall: NOW }
}

fn sets_if(key: &str, revision: i64, value: &str) -> Request {
    let operand = Operand::ModRevision(revision);
    let guards = vec![Guard { range: single(key), operand, comparison: Comparison::Equal }];
    Request::Txn(Transaction { guards, then: vec![Op::Put(put_op(key, value))], otherwise: Vec::new() })
}

fn succeeded(committer: &mut Committer, request: Request) -> bool {
    match run(committer, request).outcome {
        Outcome::Txn(answer) => answer.succeeded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restored_store_is_somebody_else_with_the_same_past() {
    let (first, second) = (tempdir().unwrap(), tempdir().unwrap());
    let (store, mut committer) = open(first.path());
    run(&mut committer, put("a", "1"));
    run(&mut committer, put("a", "2"));
    run(&mut committer, Request::LeaseGrant { id: 7, ttl_s: 60 });
    run(&mut committer, put_leased("leased", "x", 7));
    run(&mut committer, put("compact_rev_key", "3"));
    let (before, history_before) = (all(&store), history(&store, 1));
    let copy = saved(&store, 64);
    let summary = inspect(&mut copy.as_slice()).unwrap();
    assert_eq!((summary.facts.replica, summary.bytes), (store.identity().replica, copy.len() as u64));
    // What the first one does from here on the second one never knew.
    run(&mut committer, put("a", "lost"));
    let lost = store.published().revision.get();

    let restored = restore(second.path(), &mut copy.as_slice(), &how()).unwrap();
    let (heir, mut heirs) = open(second.path());
    let (old, new) = (store.identity(), heir.identity());
    assert_eq!(restored.identity, new);
    assert!(new.replica != old.replica && new.mesh != old.mesh && new.slot == slot(3), "{new:?}");
    assert_eq!(all(&heir), before);
    assert_eq!(history(&heir, 1), history_before);
    assert_eq!(heir.digest(), saved_digest(&copy));
    assert_eq!(get_at(&heir, "a", 2).unwrap().value, "1");
    assert_eq!(heir.leases(), [(7, 60)]);

    // Numbers of the past compare as they did; one that was given out after the snapshot is nobody's.
    let seen = get(&heir, "a").unwrap().mod_revision;
    assert!(!succeeded(&mut heirs, sets_if("a", lost, "wrong")));
    assert!(succeeded(&mut heirs, sets_if("a", seen, "3")));
    let now = heir.published().revision;
    assert_eq!((now.slot(), now.get()), (slot(3), slot(3).beginning().get() + 1));
    assert_eq!(get(&heir, "a").unwrap().mod_revision, now.get());
    let read = heir.range(&RangeQuery { revision: lost, ..RangeQuery::all(single("a")) });
    assert!(matches!(read, Err(ReadError::Compacted { .. })), "{read:?}");
    assert_eq!(history(&heir, seen + 1).last().unwrap().revision, now);

    // The lease has a home again: it ends here, with its key.
    run(&mut heirs, Request::LeaseRevoke { id: 7 });
    assert_eq!((get(&heir, "leased"), heir.leases()), (None, Vec::new()));
    run(&mut heirs, delete(single("compact_rev_key")));

    let all_before = all(&heir);
    drop((heir, heirs));
    let (again, _) = open(second.path());
    assert_eq!((again.identity(), all(&again)), (new, all_before));
}

fn saved_digest(copy: &[u8]) -> u128 {
    let folder = tempdir().unwrap();
    restore(folder.path(), &mut &*copy, &how()).unwrap();
    open(folder.path()).0.digest()
}

#[test]
fn a_store_is_restored_again_and_again_and_after_compaction() {
    let folders: Vec<_> = (0..4).map(|_| tempdir().unwrap()).collect();
    let (mut store, mut committer) = open(folders[0].path());
    for (generation, folder) in (1_u8..).zip(&folders[1..]) {
        for value in 0..40 {
            run(&mut committer, put(&format!("key{}", value % 7), &format!("{generation}-{value}")));
        }
        run(&mut committer, delete(single("key0")));
        let revision = store.published().revision.get() - 3;
        run(&mut committer, Request::Compact { revision });
        while committer.maintain(LATER).unwrap() {}
        let (before, history_before) = (all(&store), history(&store, revision));
        let mut backup = store.backup(NOW, slot(u16::from(generation) * 5));
        let mut copy = Vec::new();
        while let Some(piece) = backup.next_piece(1 << 16).unwrap() {
            copy.extend_from_slice(&piece);
        }
        drop(backup);
        restore(folder.path(), &mut copy.as_slice(), &RestoreOptions { entropy: [generation; 32], ..how() }).unwrap();
        (store, committer) = open(folder.path());
        assert_eq!((all(&store), history(&store, revision)), (before, history_before));
        assert_eq!(store.identity().slot, slot(u16::from(generation) * 5));
    }
}

#[test]
fn a_backup_is_of_one_moment_whatever_happens_while_it_is_read() {
    let (first, second) = (tempdir().unwrap(), tempdir().unwrap());
    let (store, mut committer) = open(first.path());
    for n in 0..200 {
        run(&mut committer, put(&format!("key{}", n % 20), &n.to_string()));
    }
    let before = all(&store);
    let mut backup = store.backup(NOW, slot(1));
    let mut copy = Vec::new();
    while let Some(piece) = backup.next_piece(512).unwrap() {
        copy.extend_from_slice(&piece);
        run(&mut committer, put("key1", "later"));
        run(&mut committer, delete(single("key2")));
        let revision = store.published().revision.get();
        run(&mut committer, Request::Compact { revision });
        while committer.maintain(LATER).unwrap() {}
    }
    restore(second.path(), &mut copy.as_slice(), &how()).unwrap();
    assert_eq!(all(&open(second.path()).0), before);
}

#[test]
fn a_backup_that_was_touched_or_cut_makes_no_store() {
    let first = tempdir().unwrap();
    let (store, mut committer) = open(first.path());
    for n in 0..5 {
        run(&mut committer, put("key", &n.to_string()));
    }
    let copy = saved(&store, 100);
    for at in (0..copy.len()).step_by(7) {
        let mut rotten = copy.clone();
        rotten[at] ^= 0x40;
        assert!(inspect(&mut rotten.as_slice()).is_err(), "byte {at} was changed");
        assert!(inspect(&mut &copy[..at]).is_err(), "it was cut at {at}");
    }
    let longer = [copy.as_slice(), b"more"].concat();
    assert!(matches!(inspect(&mut longer.as_slice()), Err(RestoreError::Damaged { .. })));
    assert!(matches!(inspect(&mut b"SQLite format 3".as_slice()), Err(RestoreError::NotABackup)));
    let folder = tempdir().unwrap();
    assert!(restore(folder.path(), &mut &copy[..copy.len() - 1], &how()).is_err());
    assert!(!folder.path().join("MANIFEST").exists());
    assert!(try_open(folder.path()).is_err(), "half a store is none");
}

#[test]
fn nobody_is_overwritten_and_slots_end() {
    let (first, used) = (tempdir().unwrap(), tempdir().unwrap());
    let (store, _committer) = open(first.path());
    let copy = saved(&store, 100);
    drop(open(used.path()));
    assert!(matches!(restore(used.path(), &mut copy.as_slice(), &how()), Err(RestoreError::Folder(_))));
    let folder = tempdir().unwrap();
    let above = Some(slot(8).beginning());
    let restored = restore(folder.path(), &mut copy.as_slice(), &RestoreOptions { above, ..how() }).unwrap();
    assert_eq!(restored.identity.slot, slot(9));
    let above = Some(slot((1 << 15) - 1).beginning());
    let last = restore(tempdir().unwrap().path(), &mut copy.as_slice(), &RestoreOptions { above, ..how() });
    assert!(matches!(last, Err(RestoreError::NoSlot)));
    assert_eq!(all(&open(folder.path()).0), Vec::new());
}

#[test]
fn a_backup_of_a_member_restores_without_what_was_signed_for_its_mesh() {
    let (member, place) = (tempdir().unwrap(), tempdir().unwrap());
    let (store, mut committer) = open(member.path());
    run(&mut committer, put("own", "1"));
    let mut peer = crate::memory::Bench::of(9, NOW);
    peer.run(put("peer", "1"));
    let arrivals = peer.store.arrivals(&store.frontier(), 0, crate::mesh::EVERYTHING).unwrap();
    let records: Vec<_> = arrivals.records.iter().map(|arrival| arrival.bytes.clone()).collect();
    let (signer, signature) = (peer.store.identity().replica, [1; SignedHead::SIGNATURE_LEN]);
    let chain = peer.store.standing().chains[&signer];
    let head = SignedHead { dot: arrivals.records[0].dot, chain, signer, signature };
    committer.ingest_batch(NOW, records, vec![head]).unwrap();
    committer.commit().unwrap();
    assert!(store.signed_head(signer).is_some());
    let copy = saved(&store, 64);
    restore(place.path(), &mut copy.as_slice(), &how()).unwrap();
    assert_eq!(Store::origin(place.path()).unwrap(), Some(store.identity().mesh));
    let (heir, _heirs) = open(place.path());
    assert_eq!((all(&heir), heir.signed_head(signer)), (all(&store), None));
}
