//! Rows that are damaged or lost while a transfer is taken: what the peer has removed is not left behind for want of a row of ours, and what was met is named.

use std::time::Duration;

use tombolo_storage::{Provider, ReadError, Receiver, Request, Store, TransferError, TransferFault};

use crate::{
    memory::Bench,
    support::*,
    transfer::{pull, sign, whole},
    transfer_crash::send,
};

fn row_of(commit: u64) -> Vec<u8> {
    [b"c".as_slice(), &commit.to_be_bytes()].concat()
}

fn rotten(store: &Store) -> Vec<u64> {
    store.rotten().into_iter().map(|row| row.commit).collect()
}

/// A store that has removed a key and ended a lease, and another one that knows of neither: its rows of the two are 2 and 3.
fn one_that_removed_and_one_that_lacks_it() -> (Bench, Bench) {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    from.run(put("stays", "1"));
    from.run(put("goes", "1"));
    from.run(Request::LeaseGrant { id: 5, ttl_s: 60 });
    send(&from, &mut to);
    from.run(delete(single("goes")));
    from.run(Request::LeaseRevoke { id: 5 });
    (from, to)
}

#[test]
fn what_a_peer_has_removed_is_not_left_behind_because_its_row_is_damaged() {
    let (from, mut to) = one_that_removed_and_one_that_lacks_it();
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, &mut to, |page| page).unwrap();
    assert!(to.engine.rot(&row_of(2), |row| row[30] ^= 1));
    let fault = receiver.complete().unwrap_err();
    assert!(matches!(fault, TransferFault::Read(ReadError::Rot { commit: 2 })), "{fault}");
    assert_eq!(rotten(&to.store), [2]);
    // Once it is whole again, the transfer is.
    assert!(to.engine.rot(&row_of(2), |row| row[30] ^= 1));
    to.committer.publish_transfer(to.wall, whole(&receiver)).unwrap();
    assert_eq!(to.store.digest(), from.store.digest());
}

/// A transfer whose receiver has lost this row of its own since is not completed, and names the row.
fn assert_refused_without(lost: u64, from: &Bench, to: &mut Bench) {
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, to, |page| page).unwrap();
    assert!(to.engine.lose(&row_of(lost)));
    let fault = receiver.complete().unwrap_err();
    assert!(matches!(fault, TransferFault::Read(ReadError::Rot { commit }) if commit == lost), "{fault}");
    assert_eq!(rotten(&to.store), [lost]);
}

#[test]
fn what_a_peer_has_removed_is_not_left_behind_because_its_row_is_lost() {
    for lost in [2, 3] {
        let (from, mut to) = one_that_removed_and_one_that_lacks_it();
        assert_refused_without(lost, &from, &mut to);
    }
}

#[test]
fn so_it_is_below_what_was_compacted_where_rows_may_have_gone() {
    for lost in [2, 3] {
        let (from, mut to) = one_that_removed_and_one_that_lacks_it();
        let revision = to.run(put("newest", "1")).revision.get();
        to.compact(revision);
        to.sweep();
        assert_eq!(to.commit_rows(), [1, 2, 3, 4], "all of it is live");
        assert_refused_without(lost, &from, &mut to);
    }
}

#[test]
fn what_has_gone_here_since_it_was_asked_for_may_lack_its_row() {
    let (from, mut to) = one_that_removed_and_one_that_lacks_it();
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, &mut to, |page| page).unwrap();
    to.run(delete(single("goes")));
    let revision = to.run(put("newest", "1")).revision.get();
    to.compact(revision);
    to.sweep();
    to.run(put("newest", "2"));
    let revision = to.run(put("newest", "3")).revision.get();
    to.compact(revision);
    to.sweep();
    assert!(!to.commit_rows().contains(&2));
    to.committer.publish_transfer(to.wall, whole(&receiver)).unwrap();
    assert_eq!((value(&to.store, "goes"), rotten(&to.store)), (None, Vec::new()));
}

#[test]
fn what_has_come_since_it_was_asked_for_and_was_removed_there_is_not_left_behind_either() {
    let (mut from, mut to, mut third) = (Bench::of(1, NOW), Bench::of(2, NOW), Bench::of(3, NOW));
    third.run(put("goes", "1"));
    third.run(put("stays", "1"));
    send(&third, &mut from);
    from.run(delete(single("goes")));
    let provider = Provider::new(&from.store);
    for damaged in [0, 1, 2] {
        let mut receiver = Receiver::resume(&to.store).unwrap();
        // The opening alone: after it, its log brings what the third one has written.
        for asked in receiver.next_pulls(1) {
            let page = provider.answer(Duration::ZERO, asked.body, sign).unwrap();
            let staged = receiver.take(asked.id, page).unwrap();
            to.committer.stage(to.wall, staged).unwrap();
        }
        send(&third, &mut to);
        pull(&provider, &mut receiver, &mut to, |page| page).unwrap();
        let transfer = whole(&receiver);
        if damaged == 0 {
            to.committer.publish_transfer(to.wall, transfer).unwrap();
            assert_eq!(to.store.digest(), from.store.digest(), "it goes while its row is sound");
        } else {
            assert!(to.engine.lose(&row_of(damaged)));
            let refused = to.committer.publish_transfer(to.wall, transfer).unwrap_err();
            assert!(
                matches!(refused, TransferError::Read(ReadError::Rot { commit }) if commit == damaged),
                "{refused}"
            );
            assert_eq!(rotten(&to.store), [damaged]);
        }
        to = Bench::of(2, NOW);
    }
}

#[test]
fn a_provider_takes_note_of_the_damaged_row_that_it_met() {
    let (mut from, mut to) = (Bench::of(1, NOW), Bench::of(2, NOW));
    (0..3).for_each(|key| drop(from.run(put(&format!("k{key}"), "1"))));
    assert!(from.engine.rot(&row_of(2), |row| row[30] ^= 1));
    let mut receiver = Receiver::resume(&to.store).unwrap();
    pull(&Provider::new(&from.store), &mut receiver, &mut to, |page| page).unwrap_err();
    assert_eq!(rotten(&from.store), [2]);
}
