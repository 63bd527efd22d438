//! What rows are made of again comes from peers, and is believed for what the rows around it prove: nothing else takes the place of what was here.

use std::{collections::BTreeSet, path::Path};

use bytes::Bytes;
use tempfile::TempDir;
use tombolo_crdt::{Dot, SignedHead};
use tombolo_storage::{
    MendError, Mending, OnLoss, Op, OpenError, OpenOptions, Request, Salvage, SalvageError, SystemWrite, Transaction,
    WallTime,
    engine::{Change, Engine, Persist, fjall::FjallEngine},
};

use crate::{
    folders::copy_folder,
    memory::Bench,
    mesh::EVERYTHING,
    salvage::{begin, engine, give_all, key_of, rows},
    support::*,
};

/// Two histories of three records of one author, which part at record `seq`: the one that was, and one that nobody here has seen.
fn histories(seq: u64) -> (Bench, Bench) {
    let (mut was, mut other) = (Bench::of(3, NOW), Bench::of(3, NOW));
    for number in 1..=3 {
        was.run(put("k", &number.to_string()));
        other.run(put("k", &if number < seq { number.to_string() } else { format!("forged {number}") }));
    }
    (was, other)
}

fn dot_of(bench: &Bench, seq: u64) -> Dot {
    Dot::new(bench.store.identity().replica, seq)
}

fn material(bench: &Bench, dot: Dot) -> Bytes {
    bench.store.material(dot).unwrap().expect("the record is there")
}

/// A closed folder with the peer's records in the rows of odd commits and its own, which the peer has too, in the others and in the last two.
fn closed(peer: &mut Bench) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut committer) = open(folder.path());
    for record in peer.store.arrivals(&store.frontier(), 0, EVERYTHING).unwrap().records {
        committer.ingest(NOW, record.bytes).unwrap();
        commit(&mut committer);
        run(&mut committer, put("own", &record.dot.seq.to_string()));
    }
    run(&mut committer, put("own", "last"));
    for record in store.arrivals(&peer.store.frontier(), 0, EVERYTHING).unwrap().records {
        peer.committer.ingest(NOW, record.bytes).unwrap();
    }
    peer.commit();
    committer.close().unwrap();
    folder
}

fn lose(folder: &Path, commits: &[u64]) {
    let lost = commits.iter().map(|commit| Change::Remove(key_of(*commit))).collect();
    engine(folder).write(lost, Persist::Disk).unwrap();
}

#[test]
fn a_record_of_another_history_is_foreign_by_what_comes_before_it_or_after() {
    for (parts_at, lost) in [(2, 2), (2, 3)] {
        let (mut was, other) = histories(parts_at);
        let folder = closed(&mut was);
        let (path, dot) = (folder.path(), dot_of(&was, lost));
        let before = rows(path);
        lose(path, &[2 * lost - 1]);
        let (mut salvage, others) = (begin(path), was.store.frontier());
        salvage.hear(&others);
        assert_eq!(salvage.wanted(), [dot]);
        assert!(!salvage.give(dot, material(&was, dot_of(&was, 1))), "that is another one");
        assert!(salvage.give(dot, material(&other, dot)));
        let refused = salvage.finish().map(drop);
        assert!(
            matches!(&refused, Err(SalvageError::Mend(MendError::Foreign { dot: found })) if *found == dot),
            "{refused:?}"
        );
        assert_eq!(rows(path).len(), before.len() - 1);
        let mut salvage = begin(path);
        salvage.hear(&others);
        give_all(&mut salvage, &was);
        salvage.finish().unwrap();
        assert_eq!(rows(path), before);
    }
}

#[test]
fn nobody_is_asked_for_records_under_our_own_name_that_we_did_not_write() {
    let (mut was, _) = histories(4);
    let folder = closed(&mut was);
    // The last row is a peer's: one of ours could have been there, too.
    let (store, mut committer) = open(folder.path());
    was.run(put("k", "4"));
    let arrivals = was.store.arrivals(&store.frontier(), 0, EVERYTHING).unwrap();
    arrivals.records.into_iter().for_each(|record| _ = committer.ingest(NOW, record.bytes).unwrap());
    committer.close().unwrap();
    drop(store);
    let rotten = Change::Put(key_of(8), bytes("rotten"));
    engine(folder.path()).write(vec![rotten], Persist::Disk).unwrap();
    let mut salvage = begin(folder.path());
    let own = salvage.identity().replica;
    let mut others = was.store.frontier();
    others.raise(own, others.seq(own) + 3);
    salvage.hear(&others);
    assert_eq!(salvage.wanted(), [dot_of(&was, 4)]);
}

#[test]
fn a_log_whose_end_is_lost_besides_is_made_whole_as_far_as_the_fence_says() {
    let (mut was, _) = histories(4);
    let folder = closed(&mut was);
    let path = folder.path();
    let before = rows(path);
    lose(path, &[3, 7]);
    let mut salvage = begin(path);
    assert_eq!(salvage.rotten().into_iter().collect::<Vec<_>>(), [3, 7]);
    give_all(&mut salvage, &was);
    assert_eq!(salvage.finish().unwrap(), [3, 7]);
    assert_eq!(rows(path), before);
}

#[test]
fn a_row_that_held_what_stays_at_home_too_is_not_made_again_without_it() {
    for is_last in [true, false] {
        let mut peer = Bench::of(3, NOW);
        let folder = tempfile::tempdir().unwrap();
        let (store, mut committer) = open(folder.path());
        let both = [put_op("k", "1"), put_op("compact_rev_key", "1")].map(Op::Put).to_vec();
        run(&mut committer, Request::Txn(Transaction { then: both, ..Transaction::default() }));
        run(&mut committer, put(if is_last { "later" } else { "compact_rev_key" }, "2"));
        run(&mut committer, put("end", "2"));
        for record in store.arrivals(&peer.store.frontier(), 0, EVERYTHING).unwrap().records {
            peer.committer.ingest(NOW, record.bytes).unwrap();
        }
        peer.commit();
        committer.close().unwrap();
        drop(store);
        lose(folder.path(), &[1]);
        let mut salvage = begin(folder.path());
        give_all(&mut salvage, &peer);
        assert!(salvage.finish().is_err(), "{is_last}: a write of this site alone is lost");
        assert!(matches!(try_open(folder.path()), Err(OpenError::Rotten { commit: 1 })));
    }
}

#[test]
fn of_what_was_written_of_the_systems_data_the_latest_comes_first() {
    let (mut was, _) = histories(4);
    let folder = closed(&mut was);
    let (_, mut committer) = open(folder.path());
    for value in ["earlier", "later"] {
        let write = SystemWrite::Put { key: bytes("member/x"), value: bytes(value) };
        run(&mut committer, Request::System(vec![write]));
    }
    committer.close().unwrap();
    lose(folder.path(), &[3]);
    let salvage = begin(folder.path());
    let found: Vec<_> = salvage.system().iter().map(|found| (text(&found.value), found.author)).collect();
    let own = salvage.identity().replica;
    assert_eq!(found, [("later".to_owned(), own), ("earlier".to_owned(), own)]);
}

#[test]
fn what_was_compacted_and_rows_of_every_other_kind_go_along_and_what_an_earlier_attempt_left_does_not() {
    let (mut was, _) = histories(4);
    let folder = closed(&mut was);
    let path = folder.path();
    let (store, mut committer) = open(path);
    run(&mut committer, Request::Compact { revision: store.published().revision.get() });
    let later = WallTime(NOW.0 + 30_001);
    while committer.maintain(later).unwrap() {}
    was.run(put("k", "4"));
    let last = was.store.arrivals(&store.frontier(), 0, EVERYTHING).unwrap().records.remove(0);
    let chain = was.store.standing().chains[&last.dot.replica];
    let signature = [7; SignedHead::SIGNATURE_LEN];
    let head = SignedHead { dot: last.dot, chain, signer: last.dot.replica, signature };
    committer.ingest_batch(NOW, vec![last.bytes], vec![head]).map_err(|refused| refused.why).unwrap();
    commit(&mut committer);
    let lost = store.published().commit;
    run(&mut committer, put("own", "later"));
    let state = (all(&store), store.standing());
    committer.close().unwrap();
    drop(store);
    let before = rows(path);
    let kinds: BTreeSet<u8> = before.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), b"bcdg");
    lose(path, &[lost]);
    let left = FjallEngine::open(&path.join("engine.new")).unwrap();
    left.write(vec![Change::Put(bytes("x"), bytes("left behind"))], Persist::Disk).unwrap();
    drop(left);
    let mut salvage = begin(path);
    salvage.hear(&was.store.frontier());
    assert_eq!(salvage.wanted(), [last.dot]);
    give_all(&mut salvage, &was);
    assert_eq!(salvage.finish().unwrap(), [lost]);
    assert_eq!(rows(path), before);
    let (store, _committer) = open(path);
    assert_eq!((all(&store), store.standing()), state);
}

#[test]
fn a_copied_folder_is_not_mended_under_the_name_of_its_original() {
    let (mut was, _) = histories(4);
    let (folder, place) = (closed(&mut was), tempfile::tempdir().unwrap());
    lose(folder.path(), &[3]);
    copy_folder(folder.path(), place.path());
    let options = OpenOptions { on_loss: OnLoss::Succeed, ..options() };
    assert!(matches!(Salvage::begin(place.path(), &options), Err(OpenError::NeedsNewIdentity { .. })));
}

#[test]
fn under_a_running_store_the_sum_of_its_rows_tells_which_history_was_here() {
    let (mut was, other) = histories(3);
    let mut here = Bench::of(7, NOW);
    for record in was.store.arrivals(&here.store.frontier(), 0, EVERYTHING).unwrap().records {
        here.committer.ingest(NOW, record.bytes).unwrap();
        here.commit();
    }
    was.run(put("elsewhere", "1"));
    let (dot, row) = (dot_of(&was, 3), here.engine.get(&key_of(3)).unwrap().expect("a row"));
    assert!(here.engine.lose(&key_of(3)));
    // It follows what came before it, and nothing came after.
    for (source, is_believed) in [(&other, false), (&was, true)] {
        let mut mending = Mending::begin(&here.store).unwrap().expect("a row is lost");
        assert_eq!(mending.wanted(), [dot]);
        assert!(!mending.give(dot, material(source, dot_of(&was, 1))), "that is another one");
        assert!(mending.give(dot, material(source, dot)));
        let made = mending.finish();
        if !is_believed {
            assert!(matches!(made, Err(MendError::Unproven { commit: 3 })), "{made:?}");
            assert_eq!(here.engine.get(&key_of(3)).unwrap(), None);
            continue;
        }
        let made = made.unwrap();
        assert_eq!(here.committer.mend(made.clone()).unwrap(), 1);
        assert_eq!(here.engine.get(&key_of(3)).unwrap(), Some(row.clone()));
        assert_eq!(here.committer.mend(made).unwrap(), 0, "it is sound by now");
    }
}

#[test]
fn the_grant_of_a_lease_is_put_back_however_long_ago_it_was() {
    let (mut here, mut peer) = (Bench::of(7, NOW), Bench::of(3, NOW));
    here.run(put("before", "1"));
    here.run(Request::LeaseGrant { id: 9, ttl_s: 60 });
    here.run(put("after", "1"));
    for record in here.store.arrivals(&peer.store.frontier(), 0, EVERYTHING).unwrap().records {
        peer.committer.ingest(NOW, record.bytes).unwrap();
        peer.commit();
    }
    here.compact(here.store.published().revision.get());
    here.sweep();
    let (dot, row) = (dot_of(&here, 2), here.engine.get(&key_of(2)).unwrap().expect("it was kept"));
    assert!(here.engine.rot(&key_of(2), |row| row[4] ^= 1));
    let mut mending = Mending::begin(&here.store).unwrap().expect("a row is rotten");
    assert_eq!(mending.wanted(), [dot]);
    assert!(mending.give(dot, material(&peer, dot)));
    assert_eq!(here.committer.mend(mending.finish().unwrap()).unwrap(), 1);
    assert_eq!(here.engine.get(&key_of(2)).unwrap(), Some(row));
}
