//! `b ‖ ordinal`: where everything stood when compaction was last asked for, and how far its sweep has come. Each step of
//! the sweep replaces it, in one batch with what the step does to commit rows. The newest one counts.
//!
//! ```text
//! content := version (1) = 1, 2 or 3 ‖ compacted revision ‖ first commit of it ‖ horizon commit
//!            ‖ next commit to sweep ‖ last commit swept ‖ vector        the floor of the log: all records up to there
//!            ‖ commit ‖ revision ‖ hlc (8) ‖ digest (16) ‖ sum of row hashes (16)
//!            ‖ log of the mesh layer ‖ log of the private layer
//!            ‖ [ count ‖ { first commit ‖ last commit } ]   from version 2 on: stretches of rows that came by transfers
//!            ‖ [ count ‖ { first commit ‖ last commit } ]   in version 3: gaps, numbers that no commit ever had
//! log     := count ‖ { author (8) ‖ seq ‖ chain (16) ‖ vector } ‖ vector     the streams, ascending, and what rose
//! vector  := count ‖ { replica (8) ‖ seq }                                   ascending
//! ```
//!
//! Commit rows up to the last one swept may be missing or reduced; above it they are dense but for the gaps, and reduced only in those stretches. The sum is over the rows up to
//! `commit` that are there.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{
    Chain, DecodeError, Hlc, ReplicaId, VersionVector,
    codec::{Reader, put_varint},
};

use super::{put_vector, read_vector, seal, unseal};
use crate::{
    Revision,
    log::{Log, Stream},
    store::Floor,
};

const VERSION: u8 = 1;
/// With stretches that came by transfers.
const VERSION_2: u8 = 2;
/// With gaps as well.
const VERSION_3: u8 = 3;

/// Where everything stood after a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseRow {
    /// The oldest readable revision.
    pub(crate) compacted: i64,
    /// The commit that took the compacted revision, or the one after which it held.
    pub(crate) first: u64,
    /// The last commit whose row may be dropped or reduced.
    pub(crate) horizon: u64,
    pub(crate) progress: Progress,
    /// The commit that the rest speaks of.
    pub(crate) commit: u64,
    pub(crate) revision: Revision,
    pub(crate) hlc: Hlc,
    pub(crate) digest: u128,
    /// The sum of the hashes of the rows up to `commit`.
    pub(crate) rows: u128,
    pub(crate) mesh: Log,
    pub(crate) private: Log,
}

/// How far compaction has come on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The next commit to look at.
    pub(crate) next: u64,
    /// The last commit whose row may be missing or reduced already.
    pub(crate) swept: u64,
    /// The mesh layer's records up to there: what a peer must have to go on from the rows above.
    pub(crate) floor: VersionVector,
    /// The commits above the last one swept that came by transfers, first and last of each: remainders that nobody reduced here.
    pub(crate) received: Vec<(u64, u64)>,
    /// The commits above the last one swept that never were: what a join had reserved, and nobody used.
    pub(crate) gaps: Gaps,
}

/// Stretches of numbers that no commit ever had, first and last of each, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps(pub(crate) Vec<(u64, u64)>);

impl Gaps {
    /// The first number from `commit` on that a commit may have.
    pub(crate) fn past(&self, commit: u64) -> u64 {
        let within = self.0.iter().find(|(first, last)| (*first..=*last).contains(&commit));
        within.map_or(commit, |(_, last)| last + 1)
    }
}

impl Progress {
    /// Whether the row of a commit may be a remainder.
    pub(crate) fn may_be_reduced(&self, commit: u64) -> bool {
        commit <= self.swept || self.received.iter().any(|(first, last)| (*first..=*last).contains(&commit))
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { next: 1, swept: 0, floor: VersionVector::new(), received: Vec::new(), gaps: Gaps::default() }
    }
}

impl BaseRow {
    /// Where the log begins.
    pub(crate) fn floor(&self) -> Floor {
        let Progress { swept, floor, gaps, received, .. } = &self.progress;
        Floor { commit: *swept, vector: floor.clone(), gaps: gaps.clone(), received: received.clone() }
    }

    pub(crate) fn encode(&self, ordinal: u64) -> Bytes {
        let Progress { received, gaps: Gaps(gaps), .. } = &self.progress;
        let mut out = vec![match (received.is_empty(), gaps.is_empty()) {
            (_, false) => VERSION_3,
            (false, true) => VERSION_2,
            (true, true) => VERSION,
        }];
        put_varint(&mut out, self.compacted.cast_unsigned());
        put_varint(&mut out, self.first);
        put_varint(&mut out, self.horizon);
        put_varint(&mut out, self.progress.next);
        put_varint(&mut out, self.progress.swept);
        put_vector(&mut out, &self.progress.floor);
        put_varint(&mut out, self.commit);
        put_varint(&mut out, self.revision.get().cast_unsigned());
        out.extend_from_slice(&self.hlc.bits().to_be_bytes());
        out.extend_from_slice(&self.digest.to_be_bytes());
        out.extend_from_slice(&self.rows.to_be_bytes());
        for log in [&self.mesh, &self.private] {
            put_log(&mut out, log);
        }
        if !received.is_empty() || !gaps.is_empty() {
            put_stretches(&mut out, received);
        }
        if !gaps.is_empty() {
            put_stretches(&mut out, gaps);
        }
        seal(&mut out, 0, ordinal);
        out.into()
    }

    /// Reads a row, given who writes in either layer; `None` when it is damaged.
    pub(crate) fn decode(row: &Bytes, ordinal: u64, mesh: ReplicaId, private: ReplicaId) -> Option<Self> {
        decode_content(unseal(row, ordinal)?, mesh, private).ok()
    }
}

fn decode_content(content: Bytes, mesh: ReplicaId, private: ReplicaId) -> Result<BaseRow, DecodeError> {
    let mut reader = Reader::new(content);
    let version = reader.u8("version")?;
    match version {
        VERSION..=VERSION_3 => {}
        found => return Err(DecodeError::UnknownVersion { found }),
    }
    let mut row = BaseRow {
        compacted: reader.varint("compacted revision")?.cast_signed(),
        first: reader.varint("first commit")?,
        horizon: reader.varint("horizon")?,
        progress: Progress {
            next: reader.varint("next commit")?,
            swept: reader.varint("swept commit")?,
            floor: read_vector(&mut reader)?,
            received: Vec::new(),
            gaps: Gaps::default(),
        },
        commit: reader.varint("commit")?,
        revision: i64::try_from(reader.varint("revision")?)
            .ok()
            .and_then(Revision::new)
            .ok_or(DecodeError::NotCanonical { what: "revision" })?,
        hlc: Hlc::from_bits(reader.u64("hlc")?),
        digest: u128::from_be_bytes(reader.array("digest")?),
        rows: u128::from_be_bytes(reader.array("sum of rows")?),
        mesh: read_log(&mut reader, mesh)?,
        private: read_log(&mut reader, private)?,
    };
    if version >= VERSION_2 {
        row.progress.received = read_stretches(&mut reader)?;
    }
    if version >= VERSION_3 {
        row.progress.gaps = Gaps(read_stretches(&mut reader)?);
    }
    reader.finish("base row")?;
    Ok(row)
}

fn put_stretches(out: &mut Vec<u8>, stretches: &[(u64, u64)]) {
    put_varint(out, stretches.len() as u64);
    for (first, last) in stretches {
        put_varint(out, *first);
        put_varint(out, *last);
    }
}

fn read_stretches(reader: &mut Reader) -> Result<Vec<(u64, u64)>, DecodeError> {
    let mut stretches = Vec::new();
    for _ in 0..reader.varint("stretches")? {
        stretches.push((reader.varint("stretch")?, reader.varint("stretch")?));
    }
    Ok(stretches)
}

fn put_log(out: &mut Vec<u8>, log: &Log) {
    put_varint(out, log.streams().len() as u64);
    for (dot, stream) in log.streams() {
        out.extend_from_slice(&dot.replica.get().to_be_bytes());
        put_varint(out, dot.seq);
        out.extend_from_slice(stream.chain.as_bytes());
        put_vector(out, &stream.context);
    }
    put_vector(out, log.risen());
}

fn read_log(reader: &mut Reader, own: ReplicaId) -> Result<Log, DecodeError> {
    let mut streams = BTreeMap::new();
    for _ in 0..reader.varint("streams")? {
        let replica = reader.replica_id("stream")?;
        let seq = reader.varint("stream")?;
        let chain = Chain::from_bytes(reader.array("stream")?);
        let context = read_vector(reader)?;
        streams.insert(replica, (seq, Stream { chain, context }));
    }
    Ok(Log::restore(own, streams, read_vector(reader)?))
}
