//! A store in memory: a log, the gate every record passes, and nothing else. It keeps no signatures, because here everybody can make
//! everybody's.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Hlc, Operation, Record, RecordHeader, ReplicaId, SignedHead, VersionVector};
use tombolo_net::{
    Admission, Batch, IngestRefusal, IngestReport, KeyPair, LoadFailure, Loaded, ProvenBatch, Roster, RosterEntry,
    Standing, SystemKey, sign_head,
};

/// The share of the digest that is in every member's state: who the members are. A digest of 0 would be none.
const OF_MEMBERS: u128 = 1;

/// One replica's records, a commit each.
#[derive(Clone)]
pub(crate) struct ToyStore {
    pub(crate) own: ReplicaId,
    log: Vec<(Dot, Bytes)>,
    frontier: VersionVector,
    chains: BTreeMap<ReplicaId, Chain>,
    contexts: BTreeMap<ReplicaId, VersionVector>,
    risen: VersionVector,
    /// How many commits the log has forgotten, and where that was.
    floor: (usize, VersionVector),
    /// Added to the digest: 0 unless something rots.
    pub(crate) rot: u128,
    /// What every ingest is refused with.
    pub(crate) refusal: Option<IngestRefusal>,
}

pub(crate) fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}

pub(crate) fn vector(dots: &[(u64, u64)]) -> VersionVector {
    dots.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect()
}

impl ToyStore {
    pub(crate) fn new(own: u64) -> Self {
        Self {
            own: id(own),
            log: Vec::new(),
            frontier: VersionVector::new(),
            chains: BTreeMap::new(),
            contexts: BTreeMap::new(),
            risen: VersionVector::new(),
            floor: (0, VersionVector::new()),
            rot: 0,
            refusal: None,
        }
    }

    /// Writes a record with a value of `bytes` bytes.
    pub(crate) fn write(&mut self, bytes: usize) -> Dot {
        let put = Operation::Put { key: "k".into(), value: vec![b'v'; bytes].into(), lease: None, supersedes: vec![] };
        self.write_operation(put)
    }

    pub(crate) fn write_operation(&mut self, operation: Operation) -> Dot {
        let dot = Dot::new(self.own, self.frontier.seq(self.own) + 1);
        let header = RecordHeader {
            dot,
            hlc: Hlc::default(),
            context_delta: std::mem::take(&mut self.risen),
            chain: Chain::BEGINNING,
        };
        let record = Record { header, operations: vec![operation] };
        let (bytes, chain) = record.encode(&self.chain(self.own));
        self.enter(&record, chain, bytes);
        dot
    }

    /// Applies a batch, all of it or nothing.
    pub(crate) fn ingest_batch(&mut self, batch: &ProvenBatch) -> IngestReport {
        let mut ahead = self.clone();
        let report = ahead.ingest(batch.records());
        if report.refused.is_none() {
            *self = ahead;
        }
        report
    }

    /// Applies records up to one that may not be.
    pub(crate) fn ingest(&mut self, records: &[Bytes]) -> IngestReport {
        for (passed, bytes) in records.iter().enumerate() {
            if let Err(refusal) = self.apply(bytes) {
                return IngestReport { passed, refused: Some(refusal) };
            }
        }
        IngestReport { passed: records.len(), refused: None }
    }

    pub(crate) fn load(
        &self,
        seen: &VersionVector,
        from: u64,
        commits: usize,
        bytes: usize,
    ) -> Result<Loaded, LoadFailure> {
        let (forgotten, floor) = &self.floor;
        if !seen.includes(floor) {
            return Err(LoadFailure::BelowFloor { floor: floor.clone() });
        }
        let from = from.max(*forgotten as u64 + 1);
        let mut loaded = Loaded { next: from, ..Loaded::default() };
        let mut left = bytes;
        for (dot, record) in self.log.iter().skip(from as usize - 1).take(commits) {
            if !seen.covers(*dot) {
                if record.len() > left && !loaded.records.is_empty() {
                    break;
                }
                left = left.saturating_sub(record.len());
                loaded.records.push((*dot, record.clone()));
            }
            loaded.next += 1;
        }
        loaded.heads = heads(loaded.records.iter().map(|(_, record)| record));
        Ok(loaded)
    }

    /// Forgets the log up to here.
    pub(crate) fn truncate(&mut self) {
        self.floor = (self.log.len(), self.frontier.clone());
    }

    pub(crate) fn standing(&self) -> Arc<Standing> {
        let shares = self.log.iter().map(|(dot, bytes)| share(*dot, bytes));
        let digest = shares.fold(OF_MEMBERS.wrapping_add(self.rot), u128::wrapping_add);
        Arc::new(Standing {
            commit: self.log.len() as u64,
            frontier: self.frontier.clone(),
            chains: self.chains.clone(),
            digest,
            floor: self.floor.1.clone(),
        })
    }

    pub(crate) fn frontier(&self) -> &VersionVector {
        &self.frontier
    }

    pub(crate) fn record(&self, dot: Dot) -> Bytes {
        self.log.iter().find(|(name, _)| *name == dot).unwrap().1.clone()
    }

    fn apply(&mut self, bytes: &Bytes) -> Result<(), IngestRefusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let record = Record::decode(bytes.clone()).map_err(IngestRefusal::Malformed)?;
        let RecordHeader { dot, context_delta, chain, .. } = &record.header;
        let expected = self.frontier.seq(dot.replica) + 1;
        if dot.seq < expected {
            return Ok(());
        }
        if dot.replica == self.own {
            return Err(IngestRefusal::OwnDot);
        }
        if dot.seq > expected {
            return Err(IngestRefusal::Gap { expected });
        }
        if let Some(missing) = context_delta.iter().find(|dot| !self.frontier.covers(*dot)) {
            return Err(IngestRefusal::MissingContext { missing });
        }
        if !Record::follows(bytes, &self.chain(dot.replica)) {
            return Err(IngestRefusal::BrokenChain);
        }
        let context = self.contexts.entry(dot.replica).or_default();
        record.extend_context(context).map_err(IngestRefusal::ContradictsContext)?;
        for operation in &record.operations {
            if let Operation::Unknown { kind, .. } = operation {
                return Err(IngestRefusal::UnknownOperation { kind: *kind });
            }
        }
        self.risen.raise(dot.replica, dot.seq);
        let chain = *chain;
        self.enter(&record, chain, bytes.clone());
        Ok(())
    }

    fn enter(&mut self, record: &Record, chain: Chain, bytes: Bytes) {
        let dot = record.header.dot;
        self.frontier.raise(dot.replica, dot.seq);
        self.chains.insert(dot.replica, chain);
        self.log.push((dot, bytes));
    }

    fn chain(&self, replica: ReplicaId) -> Chain {
        self.chains.get(&replica).copied().unwrap_or(Chain::BEGINNING)
    }
}

pub(crate) const MESH: u128 = 0x1234;

pub(crate) fn key(replica: ReplicaId) -> KeyPair {
    KeyPair::from_seed(&[replica.get() as u8; KeyPair::SEED_LEN]).unwrap()
}

/// For each author of the records the head at its last one, by its own hand.
pub(crate) fn heads<'a>(records: impl Iterator<Item = &'a Bytes>) -> Vec<SignedHead> {
    let headers = records.filter_map(|record| RecordHeader::decode(record.clone()).ok());
    let last: BTreeMap<ReplicaId, RecordHeader> = headers.map(|header| (header.dot.replica, header)).collect();
    let sign = |RecordHeader { dot, chain, .. }| sign_head(MESH, dot, chain, dot.replica, &key(dot.replica));
    last.into_values().map(sign).collect()
}

/// A batch that everybody believes.
pub(crate) fn proven(batch: Batch) -> Result<ProvenBatch, IngestReport> {
    let entry = |replica| RosterEntry {
        key: SystemKey::Admission(replica).to_string().into(),
        author: replica,
        seq: 0,
        value: Admission::founder(MESH, replica, &key(replica)).encode().into(),
    };
    let authors: Vec<ReplicaId> = batch.heads.iter().map(|head| head.dot.replica).collect();
    batch.prove(MESH, &Roster::new(MESH, authors.into_iter().map(entry)))
}

fn share(dot: Dot, bytes: &[u8]) -> u128 {
    let chain: [u8; 16] = *bytes.last_chunk().unwrap();
    u128::from_be_bytes(chain).wrapping_add(dot.seq.into())
}
