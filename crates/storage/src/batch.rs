//! Batches of records from peers, with their authors' signed heads: applied as a whole, or not at all.
//!
//! Nothing of a batch is applied when one of its records may not be: what a peer sends that breaks a rule leaves no trace, and the
//! log never holds records whose proof was in the part that did not come.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Record, ReplicaId, SignedHead, VersionVector, mutation::Mutation};

use crate::{
    Committer, Revision, WallTime,
    committer::unknown_kind,
    engine::Change,
    error::IngestError,
    heads,
    log::Log,
    row::{
        commit::{Layer, Part},
        heads::{self as row, HeadsRow},
    },
};

/// Why a batch was not applied. Nothing has changed.
#[derive(Debug)]
pub struct RefusedBatch {
    /// The first record that may not be applied, by its place in the batch.
    pub at: usize,
    /// Why.
    pub why: IngestError,
}

impl Committer {
    /// Applies records that other replicas wrote, in order, all or none. Those that were applied before are passed over. Returns how
    /// many were not.
    ///
    /// `heads` has, for each author in the batch, the signed head at its last record there, ascending by author; whether the
    /// signatures hold the caller has checked. They are kept in the same group, beside the records.
    ///
    /// # Errors
    ///
    /// A record that may not be applied now, or never.
    pub fn ingest_batch(
        &mut self,
        wall: WallTime,
        records: Vec<Bytes>,
        heads: Vec<SignedHead>,
    ) -> Result<usize, RefusedBatch> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(RefusedBatch { at: 0, why: IngestError::Poisoned { cause } });
        }
        self.wall = wall;
        self.bind();
        let news = self.judge(records, &heads)?;
        let (Some((at, _)), first) = (news.first(), self.head.commit + 1) else { return Ok(0) };
        if !self.space.has_room(wall, false, &self.shared.health) {
            return Err(RefusedBatch { at: *at, why: IngestError::NoSpace });
        }
        let count = news.len();
        let is_new = |head: &SignedHead| news.iter().any(|(_, part)| part.dot().replica == head.dot.replica);
        let heads: Vec<SignedHead> = heads.into_iter().filter(is_new).collect();
        for (at, part) in news {
            self.head.clock.observe(wall.0, part.record.header.hlc);
            self.append(vec![part], None).map_err(|why| RefusedBatch { at, why: why.into() })?;
        }
        self.stage_heads(first, heads);
        Ok(count)
    }

    /// Keeps the heads of what was executed from commit `first` on, in the group in which that becomes durable.
    pub(crate) fn stage_heads(&mut self, first: u64, heads: Vec<SignedHead>) {
        let number = self.head.commit;
        if heads.is_empty() {
            return;
        }
        let written = HeadsRow { first, heads };
        self.staged.changes.push(Change::Put(row::key(number), written.encode(number)));
        heads::note(&mut self.staged.heads, number, written.heads);
    }

    /// Those of the records that are news, with their places, if all of them may be applied one after another.
    fn judge(&self, records: Vec<Bytes>, heads: &[SignedHead]) -> Result<Vec<(usize, Part)>, RefusedBatch> {
        let mut ahead = Ahead::of(&self.head.mesh);
        let mut revision = Some(self.head.revision);
        let (mut news, mut last) = (Vec::with_capacity(records.len()), BTreeMap::new());
        for (at, bytes) in records.into_iter().enumerate() {
            let refused = |why| RefusedBatch { at, why };
            let record = Record::decode(bytes.clone()).map_err(|why| refused(why.into()))?;
            let dot = record.header.dot;
            last.insert(dot.replica, (at, dot, record.header.chain));
            let is_known = ahead.covers(dot) && dot.replica != self.head.private.own();
            if is_known && !Mutation::DuplicatesApplied.is_on() {
                continue;
            }
            if !is_known {
                self.check_name(dot).map_err(refused)?;
                ahead.admit(&record, &bytes).map_err(refused)?;
            }
            revision = revision.and_then(Revision::next);
            if revision.is_none() {
                return Err(refused(IngestError::RevisionsExhausted));
            }
            news.push((
                at,
                Part { layer: Layer::Mesh, record, bytes, indices: None, context: None, is_unbound: false },
            ));
        }
        self.check_heads(&last, heads).map(|()| news)
    }

    /// Whether the heads are those of each author's last record in the batch, and of no fork of what is here.
    fn check_heads(
        &self,
        last: &BTreeMap<ReplicaId, (usize, Dot, Chain)>,
        heads: &[SignedHead],
    ) -> Result<(), RefusedBatch> {
        let mut heads = heads.iter();
        for &(at, dot, chain) in last.values() {
            if heads.next().is_none_or(|head| (head.dot, head.chain) != (dot, chain)) {
                return Err(RefusedBatch { at, why: IngestError::Unsigned { dot } });
            }
            let log = &self.head.mesh;
            if log.frontier().seq(dot.replica) == dot.seq && log.chain(dot.replica) != chain {
                return Err(RefusedBatch { at, why: IngestError::BrokenChain { dot } });
            }
        }
        Ok(())
    }
}

/// How far streams would be if the records looked at so far had been applied.
struct Ahead<'a> {
    log: &'a Log,
    streams: BTreeMap<ReplicaId, Stream>,
}

struct Stream {
    seq: u64,
    chain: Chain,
    context: VersionVector,
}

impl<'a> Ahead<'a> {
    fn of(log: &'a Log) -> Self {
        Self { log, streams: BTreeMap::new() }
    }

    fn seq(&self, replica: ReplicaId) -> u64 {
        self.streams.get(&replica).map_or_else(|| self.log.frontier().seq(replica), |stream| stream.seq)
    }

    fn covers(&self, dot: Dot) -> bool {
        dot.seq <= self.seq(dot.replica)
    }

    /// Lets a record through that is its author's next, follows from it, and has all its causes here.
    fn admit(&mut self, record: &Record, bytes: &[u8]) -> Result<(), IngestError> {
        let header = &record.header;
        let dot = header.dot;
        let expected = self.seq(dot.replica) + 1;
        if dot.seq != expected {
            return Err(IngestError::Gap { dot, expected });
        }
        let missing = header.context_delta.iter().find(|dot| !self.covers(*dot));
        if let Some(missing) = missing.filter(|_| !Mutation::GateOff.is_on()) {
            return Err(IngestError::MissingContext { dot, missing });
        }
        let log = self.log;
        let begin = || Stream {
            seq: log.frontier().seq(dot.replica),
            chain: log.chain(dot.replica),
            context: log.stream_context(dot.replica),
        };
        let stream = self.streams.entry(dot.replica).or_insert_with(begin);
        if !Record::follows(bytes, &stream.chain) {
            return Err(IngestError::BrokenChain { dot });
        }
        record.extend_context(&mut stream.context)?;
        if let Some(kind) = record.operations.iter().find_map(unknown_kind) {
            return Err(IngestError::UnknownOperation { dot, kind });
        }
        (stream.seq, stream.chain) = (dot.seq, header.chain);
        Ok(())
    }
}
