//! The gate: what a peer sends that cannot be applied gets an error that names it, and changes nothing.

use bytes::Bytes;
use tombolo_crdt::{
    Chain, Clock, ContextFault, Dot, Element, Hlc, LeaseRef, Operation, Record, RecordHeader, ReplicaId, VersionVector,
};
use tombolo_storage::{IngestError, engine::Engine};

use crate::{
    memory::{Bench, Stop, entropy_of},
    support::*,
};

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).expect("not zero")
}

fn vector(entries: &[(u64, u64)]) -> VersionVector {
    entries.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect()
}

fn put_operation(key: &str, supersedes: Vec<Element>) -> Operation {
    Operation::Put { key: bytes(key), value: bytes("foreign"), lease: None, supersedes }
}

/// Writes the streams of replicas that do not exist.
pub(crate) struct Author {
    replica: ReplicaId,
    seq: u64,
    chain: Chain,
    clock: Clock,
}

impl Author {
    pub(crate) fn new(replica: u64) -> Self {
        Self { replica: id(replica), seq: 0, chain: Chain::BEGINNING, clock: Clock::default() }
    }

    pub(crate) fn write(&mut self, seen: &[(u64, u64)], operations: Vec<Operation>) -> Bytes {
        self.seq += 1;
        let (bytes, chain) = self.record(self.seq, seen, operations).encode(&self.chain);
        self.chain = chain;
        bytes
    }

    fn record(&mut self, seq: u64, seen: &[(u64, u64)], operations: Vec<Operation>) -> Record {
        let header = RecordHeader {
            dot: Dot::new(self.replica, seq),
            hlc: self.clock.tick(NOW.0, Hlc::default()),
            context_delta: vector(seen),
            chain: Chain::BEGINNING,
        };
        Record { header, operations }
    }
}

/// Everything of a store that an ingestion could change.
fn state(bench: &mut Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let commits = bench.commit().len();
    let snapshot = bench.engine.snapshot();
    let rows: Vec<_> = snapshot.scan(&[0], &[0xff]).map(|row| row.expect("memory reads")).collect();
    let store = &bench.store;
    (commits, rows, store.published(), store.frontier(), store.digest(), all(store), store.leases())
}

/// Sends a record that must be refused, and sees that nothing has changed, not even what comes next.
fn refused(bench: &mut Bench, bytes: Bytes) -> IngestError {
    bench.commit();
    let before = state(bench);
    let refusal = bench.committer.ingest(bench.wall, bytes).expect_err("the record is refused");
    assert_eq!(state(bench), before, "{refusal}");
    refusal
}

/// A store that has a record of its own and two of replica 0xb.
fn prepared() -> (Bench, Author) {
    let mut bench = Bench::new();
    bench.run(put("own", "1"));
    let mut author = Author::new(0xb);
    for key in ["x", "y"] {
        let bytes = author.write(&[], vec![put_operation(key, Vec::new())]);
        bench.committer.ingest(bench.wall, bytes).expect("a record in order is taken");
    }
    bench.commit();
    (bench, author)
}

#[test]
fn a_record_is_taken_once() {
    let (mut bench, _) = prepared();
    let mut author = Author::new(0xb);
    let first = author.write(&[], vec![put_operation("x", Vec::new())]);
    let refusal = refused(&mut bench, first);
    assert!(matches!(refusal, IngestError::Duplicate { dot } if dot == Dot::new(id(0xb), 1)));
    // Our own come back from peers, and are known.
    let own = bench.store.arrivals(&VersionVector::new(), 0, crate::mesh::EVERYTHING).unwrap().records[0].bytes.clone();
    assert!(matches!(refused(&mut bench, own), IngestError::Duplicate { .. }));
}

#[test]
fn a_record_comes_after_the_one_before_it() {
    let (mut bench, mut author) = prepared();
    author.write(&[], Vec::new());
    let fourth = author.write(&[], vec![put_operation("z", Vec::new())]);
    assert!(matches!(refused(&mut bench, fourth), IngestError::Gap { expected: 3, .. }));
    let stranger = Author { seq: 4, ..Author::new(0xc) }.write(&[], Vec::new());
    assert!(matches!(refused(&mut bench, stranger), IngestError::Gap { expected: 1, .. }));
}

#[test]
fn a_record_comes_after_its_causes() {
    let (mut bench, mut author) = prepared();
    let early = author.write(&[(0xd, 2)], vec![put_operation("z", Vec::new())]);
    let refusal = refused(&mut bench, early);
    assert!(matches!(refusal, IngestError::MissingContext { missing, .. } if missing == Dot::new(id(0xd), 2)));
    // A peer that knows more of us than we do.
    let own = bench.store.identity().replica;
    let (_, mut author) = prepared();
    let late = author.write(&[(own.get(), 9)], vec![put_operation("z", Vec::new())]);
    let refusal = refused(&mut bench, late);
    assert!(matches!(refusal, IngestError::MissingContext { missing, .. } if missing == Dot::new(own, 9)));
}

#[test]
fn nobody_else_writes_under_our_names() {
    let (mut bench, _) = prepared();
    let own = bench.store.identity().replica;
    let forged = Author { seq: 1, ..Author::new(own.get()) }.write(&[], vec![put_operation("z", Vec::new())]);
    assert!(matches!(refused(&mut bench, forged), IngestError::OwnDot { dot } if dot == Dot::new(own, 2)));
    // The private layer's name never leaves; who knows it anyway does not get in under it.
    let private = u64::from_be_bytes(entropy_of(7)[24..].try_into().expect("eight bytes"));
    let forged = Author::new(private).write(&[], vec![put_operation("compact_rev_key", Vec::new())]);
    assert!(matches!(refused(&mut bench, forged), IngestError::OwnDot { dot } if dot == Dot::new(id(private), 1)));
}

#[test]
fn a_record_chains_to_the_one_before_it() {
    let (mut bench, mut author) = prepared();
    author.chain = Chain::from_bytes([9; 16]);
    let forked = author.write(&[], vec![put_operation("z", Vec::new())]);
    assert!(matches!(refused(&mut bench, forked), IngestError::BrokenChain { dot } if dot == Dot::new(id(0xb), 3)));
    let (_, mut author) = prepared();
    let mut flipped = author.write(&[], vec![put_operation("z", Vec::new())]).to_vec();
    let value = flipped.len() - Chain::LEN - 1;
    flipped[value] ^= 1;
    assert!(matches!(refused(&mut bench, flipped.into()), IngestError::BrokenChain { .. }));
}

#[test]
fn a_record_is_true_to_its_own_context() {
    let (mut bench, mut author) = prepared();
    let own = Dot::new(bench.store.identity().replica, 1);
    let unseen = author.write(&[], vec![put_operation("own", vec![own.element(0)])]);
    let refusal = refused(&mut bench, unseen);
    assert!(matches!(
        refusal,
        IngestError::ContradictsContext(ContextFault::RemovesUnseen { element }) if element == own.element(0)
    ));
    let (_, mut author) = prepared();
    let seen = author.write(&[(own.replica.get(), 1)], Vec::new());
    bench.committer.ingest(bench.wall, seen).unwrap();
    let again = author.write(&[(own.replica.get(), 1)], Vec::new());
    let refusal = refused(&mut bench, again);
    assert!(matches!(refusal, IngestError::ContradictsContext(ContextFault::NotNews { known: 1, .. })));
}

#[test]
fn an_operation_of_an_unknown_kind_stops_its_stream_and_no_other() {
    let (mut bench, mut author) = prepared();
    let unknown = Operation::Unknown { kind: 1 << 63, body: bytes("from a later version") };
    let stopped = author.write(&[], vec![put_operation("z", Vec::new()), unknown]);
    let refusal = refused(&mut bench, stopped);
    assert!(matches!(refusal, IngestError::UnknownOperation { kind, .. } if kind == 1 << 63));
    let after = author.write(&[], vec![put_operation("z", Vec::new())]);
    assert!(matches!(refused(&mut bench, after), IngestError::Gap { expected: 3, .. }));
    let other = Author::new(0xc).write(&[], vec![put_operation("z", Vec::new())]);
    bench.committer.ingest(bench.wall, other).unwrap();
    bench.commit();
    assert_eq!(value(&bench.store, "z").as_deref(), Some("foreign"));
}

#[test]
fn what_is_not_a_record_is_refused_wherever_it_is_cut() {
    let (mut bench, mut author) = prepared();
    let whole = author.write(&[], vec![put_operation("z", Vec::new())]);
    for end in 0..whole.len() {
        let refusal = refused(&mut bench, whole.slice(..end));
        assert!(matches!(refusal, IngestError::Malformed(_) | IngestError::BrokenChain { .. }), "{refusal} at {end}");
    }
    bench.committer.ingest(bench.wall, whole).unwrap();
}

#[test]
fn a_record_that_does_nothing_is_a_commit_all_the_same() {
    let (mut bench, mut author) = prepared();
    let before = bench.store.published();
    let lease = LeaseRef { home: id(0xb), id: 5 };
    let gone = Dot::new(id(0xb), 1).element(0);
    let nothing = [
        author.write(&[], Vec::new()),
        // The second removal of one element, under a key that never was, and the end of a lease that nobody granted.
        author.write(&[], vec![Operation::Remove { key: bytes("never"), elements: vec![gone] }]),
        author.write(&[], vec![Operation::LeaseEnd { lease, elements: vec![gone] }]),
    ];
    let digest = bench.store.digest();
    for bytes in nothing {
        bench.committer.ingest(bench.wall, bytes).unwrap();
    }
    bench.commit();
    let after = bench.store.published();
    assert_eq!((after.commit, after.revision), (before.commit + 3, before.revision));
    assert_eq!(bench.store.digest(), digest);
    let mut bench = bench.reopen(Stop::Crash);
    assert_eq!((bench.store.published(), bench.store.digest()), (after, digest));
    bench.compact(after.revision.get());
    bench.sweep();
    assert_eq!(bench.store.sizes().keys, 3, "what does nothing leaves no key behind");
    assert_eq!(bench.commit_rows(), [1, 2, 3]);
    assert_eq!(bench.reopen(Stop::Crash).store.sizes().keys, 3);
}
