//! Rotten rows of signatures beside what only some logs have: transfers that were joined, and what was written under an earlier name.
//!
//! What else rot costs is in `rot_kinds`.

use bytes::Bytes;
use tombolo_crdt::{Dot, ReplicaId, SignedHead, VersionVector};
use tombolo_storage::{
    ArrivalBudget, Arrivals, ArrivalsError, ReadError, Scrubber, WallTime,
    engine::{Change, Engine, Persist},
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    signed::{Author, ingest},
    support::*,
    transfer_crash::{at_once, prepared, staged},
};

const C: u64 = 0xc3;

fn key(kind: u8, number: u64) -> Bytes {
    [&[kind][..], &number.to_be_bytes()].concat().into()
}

fn flip(bench: &Bench, key: &Bytes) {
    assert!(bench.engine.rot(key, |row| {
        let at = row.len() / 2;
        row[at] ^= 0x10;
    }));
}

fn scrub(bench: &Bench) -> u64 {
    let mut scrubber = Scrubber::new(&bench.store);
    loop {
        if let Some(pass) = scrubber.step(1 << 20).unwrap().finished {
            return pass.rotten;
        }
    }
}

fn dot(author: u64, seq: u64) -> Dot {
    Dot::new(ReplicaId::new(author).unwrap(), seq)
}

fn last_commit(bench: &Bench) -> u64 {
    bench.store.published().commit
}

/// A commit at a time.
const ONE: ArrivalBudget = ArrivalBudget { commits: 1, ..EVERYTHING };

fn tell(bench: &Bench, seen: &VersionVector, budget: ArrivalBudget) -> Result<Arrivals, ArrivalsError> {
    bench.store.arrivals(seen, 0, budget)
}

/// Joins a small transfer from a store that somebody else's batch came to. Returns the commit that ends the join, and the heads that came.
fn join(bench: &mut Bench, is_prepared: bool) -> (u64, Vec<SignedHead>) {
    let (mut peer, mut d) = (Bench::of(3, NOW), Author::new(0xd4));
    let records = vec![d.write("1")];
    ingest(&mut peer, records, vec![d.head(7)]);
    peer.run(put("theirs", "1"));
    let before = bench.store.signed_heads();
    let transfer = staged(&peer, bench);
    let way = if is_prepared { prepared } else { at_once };
    way(bench, transfer).unwrap();
    let heads: Vec<_> = bench.store.signed_heads().into_iter().filter(|head| !before.contains(head)).collect();
    assert_eq!(heads.len(), 2);
    (last_commit(bench), heads)
}

#[test]
fn signatures_that_came_with_a_transfer_are_written_again_from_memory() {
    for is_prepared in [false, true] {
        let mut bench = Bench::new();
        bench.run(put("own", "1"));
        let (joined, _) = join(&mut bench, is_prepared);
        bench.run(put("own", "2"));
        let heads = bench.store.signed_heads();
        flip(&bench, &key(b'g', joined));
        assert_eq!(scrub(&bench), 1);
        bench.committer.maintain(bench.wall).unwrap();
        assert_eq!((scrub(&bench), bench.store.rot_counts().rotten), (0, 0));
        let bench = bench.reopen(Stop::Crash);
        assert_eq!(bench.store.signed_heads(), heads);
    }
}

#[test]
fn signatures_that_came_with_a_transfer_are_asked_for_when_they_are_rotten_at_opening() {
    for is_prepared in [false, true] {
        let mut bench = Bench::new();
        bench.run(put("own", "1"));
        let (joined, heads) = join(&mut bench, is_prepared);
        flip(&bench, &key(b'g', joined));
        let mut bench = bench.reopen(Stop::Crash);
        assert_eq!(bench.store.rotten_signatures(), [joined], "nobody takes them for nothing");
        let wanted = bench.store.wanted_heads().unwrap();
        assert!(wanted.iter().eq(heads.iter().map(|head| &head.dot)));
        assert_eq!(bench.committer.mend_signatures(&heads[..1]).unwrap(), 0);
        assert_eq!(bench.committer.mend_signatures(&heads).unwrap(), 1);
        let bench = bench.reopen(Stop::Crash);
        assert_eq!((bench.store.signed_heads(), scrub(&bench)), (heads, 0));
    }
}

#[test]
fn what_is_joined_with_later_signatures_ends_where_a_transfer_was_joined() {
    for is_prepared in [false, true] {
        let (mut bench, mut c) = (Bench::new(), Author::new(C));
        bench.run(put("own", "1"));
        let records = vec![c.write("1")];
        let first = c.head(1);
        ingest(&mut bench, records, vec![first]);
        bench.run(put("own", "2"));
        let (_, mut heads) = join(&mut bench, is_prepared);
        let records = vec![c.write("2")];
        ingest(&mut bench, records, vec![c.head(2)]);
        heads.push(c.head(2));
        heads.sort_by_key(|head| head.dot.replica);
        flip(&bench, &key(b'g', 2));
        let mut bench = bench.reopen(Stop::Crash);
        assert_eq!(bench.store.signed_heads(), heads);
        assert_eq!(bench.store.rotten_signatures(), [2]);
        assert_eq!(bench.store.wanted_heads().unwrap(), [dot(C, 1)]);
        assert_eq!(bench.committer.mend_signatures(&[first]).unwrap(), 1);
        let bench = bench.reopen(Stop::Crash);
        assert_eq!((bench.store.signed_heads(), scrub(&bench)), (heads, 0));
    }
}

#[test]
fn a_batch_that_ends_with_what_its_receiver_wrote_itself_under_an_earlier_name_keeps_its_signatures() {
    const NAME: u8 = 90;
    let heir = Bench::of(NAME, NOW).store.identity().replica;
    for more in [false, true] {
        let (mut bench, mut c, mut own) = (Bench::new(), Author::new(C), Author::new(heir.get()));
        let mut records = vec![c.write("1"), own.write("1")];
        if more {
            records.push(c.write("2"));
        }
        let count = records.len();
        let mut heads = vec![c.head(1), own.head(1)];
        heads.sort_by_key(|head| head.dot.replica);
        ingest(&mut bench, records, heads);
        let last = last_commit(&bench);
        flip(&bench, &key(b'g', last));
        let mut bench = bench.reopen_as(Stop::Crash, NAME);
        assert_eq!(bench.store.identity().replica, heir);
        assert_eq!(bench.store.rotten_signatures(), [last], "{more}");
        assert!(bench.store.wanted_heads().unwrap().contains(&c.head(1).dot), "{more}");
        bench.committer.mend_signatures(&[c.head(1), own.head(1)]).unwrap();
        assert_eq!(bench.store.rotten_signatures(), [], "{more}");
        let told = tell(&bench, &VersionVector::new(), ONE).unwrap();
        assert_eq!((told.records.len(), told.next), (count, last + 1), "the batch is told whole");
        assert!(told.heads.contains(&c.head(1)), "{more}");
    }
}

/// Two batches of an author, the first of which has lost its signatures, with our own records between them and after them.
fn two_batches() -> (Bench, Author) {
    let (mut bench, mut c) = (Bench::new(), Author::new(C));
    for mark in 1..=2 {
        let records = vec![c.write("1"), c.write("2")];
        ingest(&mut bench, records, vec![c.head(mark)]);
        bench.run(put("own", "between"));
    }
    (bench, c)
}

#[test]
fn who_has_what_lost_its_signatures_is_told_what_came_after() {
    let (bench, c) = two_batches();
    let own = bench.store.identity().replica;
    flip(&bench, &key(b'g', 2));
    let seen: VersionVector = [dot(C, 2)].into_iter().collect();
    for budget in [EVERYTHING, ONE] {
        let mut from = 0;
        let mut told = Vec::new();
        let mut heads = Vec::new();
        while from <= last_commit(&bench) {
            let arrivals = bench.store.arrivals(&seen, from, budget).unwrap();
            assert!(arrivals.next > from);
            told.extend(arrivals.records.into_iter().map(|arrival| arrival.dot));
            heads.extend(arrivals.heads);
            from = arrivals.next;
        }
        assert_eq!(told, [Dot::new(own, 1), dot(C, 3), dot(C, 4), Dot::new(own, 2)]);
        assert_eq!(heads, [c.head(2)]);
    }
    for lacking in [VersionVector::new(), [dot(C, 1)].into_iter().collect()] {
        let refused = tell(&bench, &lacking, EVERYTHING);
        assert!(matches!(refused, Err(ArrivalsError::Read(ReadError::Rot { commit: 2 }))), "{refused:?}");
    }
    assert_eq!(bench.store.rotten_signatures(), [2], "whoever meets it notes it");
}

#[test]
fn what_cannot_be_mended_is_tried_again_after_a_while_and_stands_in_nobodys_way() {
    let (mut bench, mut c) = two_batches();
    let records = vec![c.write("1")];
    ingest(&mut bench, records, vec![c.head(3)]);
    let row = bench.engine.get(&key(b'c', 1)).unwrap().unwrap();
    flip(&bench, &key(b'c', 1));
    flip(&bench, &key(b'g', 2));
    flip(&bench, &key(b'g', 5));
    assert_eq!(scrub(&bench), 3);
    bench.committer.maintain(bench.wall).unwrap();
    assert_eq!(bench.store.rotten_signatures(), [2], "the row of commit 1 has to be mended first");
    bench.engine.write(vec![Change::Put(key(b'c', 1), row)], Persist::Disk).unwrap();
    bench.run(put("own", "goes on"));
    bench.committer.maintain(WallTime(bench.wall.0 + 999)).unwrap();
    assert_eq!(bench.store.rotten_signatures(), [2], "it is tried once in a while, whatever is written");
    bench.committer.maintain(WallTime(bench.wall.0 + 1_000)).unwrap();
    assert_eq!(bench.store.rotten_signatures(), []);
    let told = tell(&bench, &VersionVector::new(), EVERYTHING).unwrap();
    assert_eq!(told.next, last_commit(&bench) + 1);
    assert_eq!(bench.reopen(Stop::Crash).store.signed_heads(), [c.head(3)]);
}
