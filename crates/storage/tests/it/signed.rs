//! Batches from peers with their authors' signed heads: all or nothing, kept together, told together.
//!
//! The store does not look at signatures; here they are a byte that says which one it is.

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Hlc, Operation, Record, RecordHeader, ReplicaId, SignedHead, VersionVector};
use tombolo_storage::{
    ArrivalBudget, HistoryBudget, IngestError, KeyRange, ReadError, RefusedBatch, Scrubber, Slot, Store,
    engine::Engine,
    restore::{RestoreOptions, restore},
};

use crate::{
    memory::{Bench, Stop},
    mesh::EVERYTHING,
    support::*,
};

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).expect("not zero")
}

/// Writes the stream of a replica that does not exist.
pub(crate) struct Author {
    replica: ReplicaId,
    seq: u64,
    chain: Chain,
}

impl Author {
    pub(crate) fn new(replica: u64) -> Self {
        Self { replica: id(replica), seq: 0, chain: Chain::BEGINNING }
    }

    fn write_after(&mut self, seen: &[(u64, u64)], value: &str) -> Bytes {
        self.seq += 1;
        let put = Operation::Put {
            key: bytes(&format!("{}/{}", self.replica, self.seq)),
            value: bytes(value),
            lease: None,
            supersedes: Vec::new(),
        };
        let header = RecordHeader {
            dot: self.dot(),
            hlc: Hlc::default(),
            context_delta: seen.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect(),
            chain: Chain::BEGINNING,
        };
        let (bytes, chain) = Record { header, operations: vec![put] }.encode(&self.chain);
        self.chain = chain;
        bytes
    }

    pub(crate) fn write(&mut self, value: &str) -> Bytes {
        self.write_after(&[], value)
    }

    fn dot(&self) -> Dot {
        Dot::new(self.replica, self.seq)
    }

    /// Its head here, with a signature that can be told from others.
    pub(crate) fn head(&self, mark: u8) -> SignedHead {
        let signature = [mark; SignedHead::SIGNATURE_LEN];
        SignedHead { dot: self.dot(), chain: self.chain, signer: self.replica, signature }
    }
}

pub(crate) fn ingest(bench: &mut Bench, records: Vec<Bytes>, heads: Vec<SignedHead>) -> usize {
    let applied = bench.committer.ingest_batch(bench.wall, records, heads).expect("the batch is taken");
    bench.commit();
    applied
}

/// Everything that an ingestion could change.
fn state(bench: &mut Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let commits = bench.commit().len();
    let store = &bench.store;
    (commits, rows(bench), store.published(), store.frontier(), store.digest(), store.signed_heads(), all(store))
}

fn rows(bench: &Bench) -> Vec<(Bytes, Bytes)> {
    bench.engine.snapshot().scan(&[0], &[0xff]).map(|row| row.expect("memory reads")).collect()
}

/// The numbers of the rows of signed heads.
fn head_rows(bench: &Bench) -> Vec<u8> {
    let heads = rows(bench).into_iter().filter(|(key, _)| key[0] == b'g');
    heads.map(|(key, _)| key[8]).collect()
}

/// Sends a batch that must be refused, and sees that nothing has changed.
fn refused(bench: &mut Bench, records: Vec<Bytes>, heads: Vec<SignedHead>) -> (usize, IngestError) {
    bench.commit();
    let before = state(bench);
    let refusal = bench.committer.ingest_batch(bench.wall, records, heads);
    let RefusedBatch { at, why } = refusal.expect_err("the batch is refused");
    assert_eq!(state(bench), before, "{why}");
    (at, why)
}

fn told(store: &Store, seen: &VersionVector, budget: ArrivalBudget) -> (Vec<Dot>, Vec<SignedHead>, u64) {
    let arrivals = store.arrivals(seen, 0, budget).expect("the log is told");
    (arrivals.records.into_iter().map(|arrival| arrival.dot).collect(), arrivals.heads, arrivals.next)
}

#[test]
fn heads_are_kept_with_their_records_through_every_stop() {
    for how in [Stop::Close, Stop::Kill, Stop::Crash] {
        let (mut bench, mut a, mut b) = (Bench::new(), Author::new(0xa1), Author::new(0xb2));
        bench.run(put("own", "1"));
        let records = vec![a.write("1"), b.write("1"), a.write("2")];
        assert_eq!(ingest(&mut bench, records, vec![a.head(1), b.head(2)]), 3);
        let newer = a.write("3");
        ingest(&mut bench, vec![newer], vec![a.head(3)]);
        let expected = vec![a.head(3), b.head(2)];
        assert_eq!(bench.store.signed_heads(), expected);
        let bench = bench.reopen(how);
        assert_eq!(bench.store.signed_heads(), expected, "{how:?}");
        assert_eq!(bench.store.signed_head(id(0xa1)), Some(a.head(3)));
        let (dots, heads, next) = told(&bench.store, &VersionVector::new(), EVERYTHING);
        assert_eq!((dots.len(), heads, next), (5, expected, 6), "{how:?}");
    }
}

#[test]
fn a_batch_that_was_not_made_durable_leaves_neither_records_nor_heads() {
    let (mut bench, mut a) = (Bench::new(), Author::new(0xa1));
    let record = a.write("1");
    bench.committer.ingest_batch(bench.wall, vec![record], vec![a.head(1)]).unwrap();
    let bench = bench.reopen(Stop::Crash);
    assert_eq!((bench.store.signed_heads(), bench.store.frontier()), (vec![], VersionVector::new()));
}

#[test]
fn nothing_of_a_batch_is_applied_when_one_of_its_records_may_not_be() {
    let (mut bench, mut a, mut b) = (Bench::new(), Author::new(0xa1), Author::new(0xb2));
    let known = a.write("known");
    ingest(&mut bench, vec![known.clone()], vec![a.head(1)]);
    let good = a.write("good");

    let (at, why) = refused(&mut bench, vec![good.clone(), Bytes::from_static(b"none")], vec![a.head(2)]);
    assert!(at == 1 && matches!(why, IngestError::Malformed(_)), "{why}");

    let (first, after) = (b.write("1"), b.write("2"));
    let (at, why) = refused(&mut bench, vec![good.clone(), after.clone()], vec![a.head(2), b.head(1)]);
    assert!(at == 1 && matches!(why, IngestError::Gap { expected: 1, .. }), "{why}");
    let (at, why) = refused(&mut bench, vec![after.clone(), first.clone()], vec![b.head(1)]);
    assert!(at == 0 && matches!(why, IngestError::Gap { expected: 1, .. }), "{why}");

    let mut c = Author::new(0xc3);
    let early = c.write_after(&[(0xa1, 3)], "too early");
    let (at, why) = refused(&mut bench, vec![good.clone(), early], vec![a.head(2), c.head(1)]);
    assert!(at == 1 && matches!(why, IngestError::MissingContext { .. }), "{why}");

    let own = bench.store.identity().replica;
    let mut forged = Author { replica: own, seq: 0, chain: Chain::BEGINNING };
    let ours = forged.write("not ours");
    let mut heads = vec![a.head(2), forged.head(1)];
    heads.sort_by_key(|head| head.dot.replica);
    let (at, why) = refused(&mut bench, vec![good.clone(), ours], heads);
    assert!(at == 1 && matches!(why, IngestError::OwnDot { .. }), "{why}");

    // What depends on what stands before it in the batch is taken, and what is known is passed over.
    let mut d = Author::new(0xd4);
    let depends = d.write_after(&[(0xa1, 2), (0xb2, 2)], "after all of them");
    let batch = vec![known, good, first, after, depends];
    assert_eq!(ingest(&mut bench, batch, vec![a.head(2), b.head(3), d.head(4)]), 4);
}

#[test]
fn heads_are_those_of_the_last_records_and_of_no_others() {
    let (mut bench, mut a, mut b) = (Bench::new(), Author::new(0xa1), Author::new(0xb2));
    let first = a.write("1");
    let early = a.head(1);
    let (second, other) = (a.write("2"), b.write("1"));
    let batch = || vec![first.clone(), other.clone(), second.clone()];
    let bent = SignedHead { chain: Chain::from_bytes([7; 16]), ..a.head(1) };
    let cases = [vec![], vec![a.head(1)], vec![b.head(1)], vec![early, b.head(1)], vec![bent, b.head(1)]];
    for heads in cases {
        let (_, why) = refused(&mut bench, batch(), heads);
        assert!(matches!(why, IngestError::Unsigned { .. }), "{why}");
    }
    assert_eq!(ingest(&mut bench, batch(), vec![a.head(1), b.head(1)]), 3);
}

#[test]
fn another_record_under_a_known_name_is_a_fork() {
    let (mut bench, mut a) = (Bench::new(), Author::new(0xa1));
    let known = a.write("1");
    ingest(&mut bench, vec![known], vec![a.head(1)]);
    let mut twin = Author::new(0xa1);
    let other = twin.write("another");
    let (_, why) = refused(&mut bench, vec![other.clone()], vec![twin.head(2)]);
    assert!(matches!(why, IngestError::BrokenChain { dot } if dot == twin.dot()), "{why}");
    let next = twin.write("and one more");
    let (at, why) = refused(&mut bench, vec![other, next], vec![twin.head(2)]);
    assert!(at == 1 && matches!(why, IngestError::BrokenChain { dot } if dot == twin.dot()), "{why}");
}

#[test]
fn the_log_is_never_told_with_half_a_batch() {
    let (mut bench, mut a, mut b) = (Bench::new(), Author::new(0xa1), Author::new(0xb2));
    bench.run(put("own", "1"));
    let records = vec![a.write("1"), b.write("1"), a.write("2")];
    ingest(&mut bench, records, vec![a.head(1), b.head(1)]);
    bench.run(put("own", "2"));
    let nothing = VersionVector::new();
    for (budget, count, next) in [
        (ArrivalBudget { commits: 1, bytes: usize::MAX }, 1, 2),
        (ArrivalBudget { commits: 2, bytes: usize::MAX }, 4, 5),
        (ArrivalBudget { commits: 5, bytes: usize::MAX }, 5, 6),
        (ArrivalBudget { commits: 9, bytes: 1 }, 1, 2),
    ] {
        let (dots, _, told_next) = told(&bench.store, &nothing, budget);
        assert_eq!((dots.len(), told_next), (count, next), "{budget:?}");
    }
    let own: VersionVector = [Dot::new(bench.store.identity().replica, 1)].into_iter().collect();
    let (dots, heads, _) = told(&bench.store, &own, ArrivalBudget { commits: 9, bytes: 1 });
    assert_eq!((dots.len(), heads), (3, vec![a.head(1), b.head(1)]), "one batch may exceed the budget");
    let mut half = own;
    half.raise(id(0xa1), 2);
    let (dots, heads, _) = told(&bench.store, &half, ArrivalBudget { commits: 9, bytes: 1 });
    assert_eq!((dots, heads), (vec![b.dot()], vec![b.head(1)]), "who is known to the peer needs no proof");
}

#[test]
fn compaction_keeps_the_newest_head_of_each_author_and_no_other() {
    let (mut bench, mut a, mut b) = (Bench::new(), Author::new(0xa1), Author::new(0xb2));
    let first = b.write("1");
    ingest(&mut bench, vec![first], vec![b.head(1)]);
    for mark in 1..=5 {
        let record = a.write("again");
        ingest(&mut bench, vec![record], vec![a.head(mark)]);
    }
    assert_eq!(head_rows(&bench), [1, 2, 3, 4, 5, 6]);
    let sweep = |bench: &mut Bench| {
        bench.compact(bench.store.published().revision.get());
        bench.sweep();
    };
    sweep(&mut bench);
    assert_eq!(head_rows(&bench), [1, 6], "b's only one, and a's last");
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!(bench.store.signed_heads(), [a.head(5), b.head(1)]);
    // What was kept for being the newest goes when it is not any more.
    let (more_of_a, more_of_b) = (a.write("more"), b.write("more"));
    ingest(&mut bench, vec![more_of_a, more_of_b], vec![a.head(6), b.head(6)]);
    sweep(&mut bench);
    assert_eq!(head_rows(&bench), [8]);
    assert_eq!(bench.reopen(Stop::Close).store.signed_heads(), [a.head(6), b.head(6)]);
}

#[test]
fn rotten_heads_are_passed_on_to_nobody_and_stop_no_store_from_opening() {
    let (mut bench, mut a) = (Bench::new(), Author::new(0xa1));
    let record = a.write("1");
    ingest(&mut bench, vec![record], vec![a.head(1)]);
    let key = [b"g".as_slice(), &1_u64.to_be_bytes()].concat();
    assert!(bench.engine.rot(&key, |row| row[30] ^= 1));
    assert!(bench.store.arrivals(&VersionVector::new(), 0, EVERYTHING).is_err(), "they are not passed on");
    let bench = bench.reopen(Stop::Kill);
    assert!(bench.store.arrivals(&VersionVector::new(), 0, EVERYTHING).is_err(), "nor are they now");
    assert_eq!((bench.store.signed_heads(), bench.store.rotten_signatures()), (vec![], vec![1]));
}

#[test]
fn own_writes_cost_no_signature() {
    let mut bench = Bench::new();
    (0..10).for_each(|number| drop(bench.run(put("k", &number.to_string()))));
    assert_eq!((head_rows(&bench), bench.store.signed_heads()), (vec![], vec![]));
    let (dots, heads, _) = told(&bench.store, &VersionVector::new(), EVERYTHING);
    assert_eq!((dots.len(), heads), (10, vec![]), "who offers them signs them");
}

#[test]
fn heads_in_the_place_of_a_record_are_not_taken_for_it_when_history_is_searched() {
    let (mut bench, mut a) = (Bench::new(), Author::new(0xa1));
    for mark in 1..=5 {
        let record = a.write(&mark.to_string());
        ingest(&mut bench, vec![record], vec![a.head(mark)]);
    }
    let [record, heads] = [b"c", b"g"].map(|kind| [&kind[..], &3_u64.to_be_bytes()].concat());
    // The two have the same number, and so each one's hash fits in the other's place.
    let heads = bench.engine.get(&heads).unwrap().expect("the batch was signed");
    assert!(bench.engine.rot(&record, |row| *row = heads.to_vec()));
    let budget = HistoryBudget { commits: 10, bytes: 1000 };
    for from in 2..=6 {
        match bench.store.history(from, &KeyRange::all(), budget) {
            Ok(told) => assert_eq!((told.commits[0].revision.get(), from > 4), (from, true)),
            Err(ReadError::Rot { commit }) => assert_eq!(commit, 3),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_backup_of_signed_records_becomes_a_store_that_needs_no_signatures() {
    let mut bench = Bench::new();
    let mut author = Author::new(9);
    let records = vec![author.write("1"), author.write("2")];
    ingest(&mut bench, records, vec![author.head(1)]);
    let mut backup = bench.store.backup(NOW, Slot::new(3).unwrap());
    let mut copy = Vec::new();
    while let Some(piece) = backup.next_piece(1 << 10).unwrap() {
        copy.extend_from_slice(&piece);
    }
    let folder = tempfile::tempdir().unwrap();
    let how = RestoreOptions { entropy: [9; 32], above: None, wall: NOW };
    restore(folder.path(), &mut copy.as_slice(), &how).unwrap();
    let (store, _committer) = open(folder.path());
    assert_eq!(all(&store), all(&bench.store));
    assert!(store.signed_heads().is_empty(), "they were given for another mesh");
}

#[test]
fn signatures_that_rot_are_named_until_they_are_sound() {
    let (mut bench, mut author) = (Bench::new(), Author::new(9));
    for mark in 1..=4 {
        let record = author.write("1");
        ingest(&mut bench, vec![record], vec![author.head(mark)]);
    }
    let mut scrubber = Scrubber::new(&bench.store);
    let mut pass = |bench: &Bench| {
        while scrubber.step(1 << 20).unwrap().finished.is_none() {}
        (bench.store.rotten_signatures(), bench.store.rot_counts().rotten)
    };
    assert_eq!(pass(&bench), (vec![], 0));
    let key = Bytes::from([b"g", &3_u64.to_be_bytes()[..]].concat());
    assert!(bench.engine.rot(&key, |row| row[4] ^= 1));
    assert_eq!(pass(&bench), (vec![3], 1));
    assert!(bench.engine.rot(&key, |row| row[4] ^= 1));
    assert_eq!(pass(&bench), (vec![], 0));
    bench.engine.spoil(&key, b"g\xff");
    assert_eq!(pass(&bench), (vec![3, 4], 2));
    assert_eq!(bench.store.rot_counts().found, 3);
}
