//! What a bad peer is made of: streams under any name, heads by any hand.

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Element, Hlc, Operation, Record, RecordHeader, ReplicaId, SignedHead, VersionVector};
use tombolo_net::{Admission, AdmissionTerms, KeyPair, SlotRange, SystemKey, TicketId, sign_head};

pub(crate) const MESH: u128 = 0x1234;

pub(crate) fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}

pub(crate) fn key(replica: u64) -> KeyPair {
    KeyPair::from_seed(&[replica as u8; KeyPair::SEED_LEN]).unwrap()
}

pub(crate) fn dot(replica: u64, seq: u64) -> Dot {
    Dot::new(id(replica), seq)
}

pub(crate) fn element(replica: u64, seq: u64, index: u32) -> Element {
    dot(replica, seq).element(index)
}

pub(crate) fn vector(dots: &[(u64, u64)]) -> VersionVector {
    dots.iter().map(|&(replica, seq)| dot(replica, seq)).collect()
}

pub(crate) fn put(key: &str, value: &str) -> Operation {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Operation::Put { key, value, lease: None, supersedes: Vec::new() }
}

pub(crate) fn system_put(key: SystemKey, value: Vec<u8>) -> Operation {
    Operation::SystemPut { key: key.to_string().into(), value: value.into(), supersedes: Vec::new() }
}

/// The stream of a replica, written by whoever likes.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) replica: u64,
    pub(crate) seq: u64,
    pub(crate) chain: Chain,
    pub(crate) hlc: Hlc,
}

impl Author {
    pub(crate) fn new(replica: u64) -> Self {
        Self { replica, seq: 0, chain: Chain::BEGINNING, hlc: Hlc::from_millis(1_700_000_000_000) }
    }

    pub(crate) fn write(&mut self, operations: Vec<Operation>) -> Bytes {
        self.write_after(&[], operations)
    }

    pub(crate) fn write_after(&mut self, seen: &[(u64, u64)], operations: Vec<Operation>) -> Bytes {
        self.seq += 1;
        let (bytes, chain) = self.record(seen, operations).encode(&self.chain);
        self.chain = chain;
        bytes
    }

    /// A record whose bytes were changed, chained as if they were right.
    pub(crate) fn write_bent(&mut self, operations: Vec<Operation>, bend: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        self.seq += 1;
        let (bytes, _) = self.record(&[], operations).encode(&self.chain);
        let mut body = bytes[..bytes.len() - Chain::LEN].to_vec();
        bend(&mut body);
        self.chain = self.chain.link(&body);
        body.extend_from_slice(self.chain.as_bytes());
        body.into()
    }

    pub(crate) fn dot(&self) -> Dot {
        dot(self.replica, self.seq)
    }

    /// Its head, by its own hand.
    pub(crate) fn head(&self) -> SignedHead {
        self.head_by(self.replica, self.replica)
    }

    /// Its head, said to be signed by `signer`, by the hand of `hand`.
    pub(crate) fn head_by(&self, signer: u64, hand: u64) -> SignedHead {
        sign_head(MESH, self.dot(), self.chain, id(signer), &key(hand))
    }

    fn record(&self, seen: &[(u64, u64)], operations: Vec<Operation>) -> Record {
        let (dot, context_delta) = (self.dot(), vector(seen));
        Record { header: RecordHeader { dot, hlc: self.hlc, context_delta, chain: Chain::BEGINNING }, operations }
    }
}

/// The admission of a replica by another one, by the hand of a third.
pub(crate) fn admission(replica: u64, issuer: u64, hand: u64) -> Admission {
    let terms = AdmissionTerms {
        mesh: MESH,
        replica: id(replica),
        key: key(replica).public(),
        slots: SlotRange { first: replica as u16 * 8, count: 8 },
        ticket: TicketId(replica),
        issuer: id(issuer),
    };
    Admission::sign(terms, &key(hand))
}

/// Who is in the mesh: 1 has founded it and admitted 2 and 3.
pub(crate) fn admissions() -> Vec<Operation> {
    let founder = Admission::founder(MESH, id(1), &key(1));
    let all = [founder, admission(2, 1, 1), admission(3, 1, 1)];
    all.map(|admission| system_put(SystemKey::Admission(admission.terms.replica), admission.encode())).into()
}
