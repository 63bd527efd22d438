//! The hello: who a replica is and where it stands, and what its peer thinks of that.
//!
//! ```text
//! protocol (1) = 1 ‖ mesh (16) ‖ replica (8) ‖ wall clock (8, milliseconds) ‖ kinds (varint) ‖ window (varint)
//! ‖ count ‖ { replica (8) ‖ seq ‖ chain (16) }    the frontier, ascending
//! ‖ floor (version vector) ‖ digest (16)
//! ```

use tombolo_crdt::{
    Chain, DecodeError, Dot, ReplicaId, VersionVector,
    codec::{Reader, put_varint},
};

use super::{
    PROTOCOL, Settings,
    limits::{Limits, OPERATION_KIND_MAX},
    message,
    standing::Standing,
};
use crate::Fault;

/// Who a replica is and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The mesh it belongs to.
    pub mesh: u128,
    /// Its name.
    pub replica: ReplicaId,
    /// Its clock: milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// The highest kind of operation that it can interpret.
    pub kinds: u64,
    /// Bytes of records that it takes without having acknowledged them.
    pub window: u64,
    /// The last record of each author that it has applied, ascending, and the chain there. [`Chain::BEGINNING`], which no
    /// record has, stands for one that is not known.
    pub heads: Vec<(Dot, Chain)>,
    /// What a peer must have applied for its log to be complete for it.
    pub floor: VersionVector,
    /// The digest of its state.
    pub digest: u128,
}

/// A head takes at least a replica, one byte of seq and a chain.
const HEAD_BYTES_MIN: usize = ReplicaId::LEN + 1 + Chain::LEN;

impl Hello {
    pub(crate) fn new(settings: &Settings, standing: &Standing, wall_ms: u64) -> Self {
        Self {
            mesh: settings.mesh,
            replica: settings.own,
            wall_ms,
            kinds: OPERATION_KIND_MAX,
            window: settings.limits.window_bytes,
            heads: standing.frontier.iter().map(|dot| (dot, standing.chain(dot.replica))).collect(),
            floor: standing.floor.clone(),
            digest: standing.digest,
        }
    }

    /// Everything the sender has applied.
    pub fn frontier(&self) -> VersionVector {
        self.heads.iter().map(|(dot, _)| *dot).collect()
    }

    /// Whether the sender is the peer that we expect and its history goes together with ours. Nothing is offered before that
    /// is known.
    pub(crate) fn judge(&self, settings: &Settings, standing: &Standing) -> Result<(), Fault> {
        if self.mesh != settings.mesh {
            return Err(Fault::WrongMesh { found: self.mesh });
        }
        if self.replica == settings.own {
            return Err(Fault::OurName);
        }
        if self.replica != settings.peer {
            return Err(Fault::WrongReplica { found: self.replica, expected: settings.peer });
        }
        let (known, frontier) = (standing.frontier.seq(settings.own), self.frontier());
        if let Some(dot) = ahead_of(&frontier, settings.own, known) {
            return Err(Fault::AheadOfUs { dot, known });
        }
        if !frontier.includes(&self.floor) {
            return Err(DecodeError::NotCanonical { what: "floor" }.into());
        }
        match self.heads.iter().find(|(dot, chain)| is_fork(standing, *dot, *chain)) {
            Some(&(dot, _)) => Err(Fault::Forked { dot }),
            None => Ok(()),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(PROTOCOL);
        out.extend_from_slice(&self.mesh.to_be_bytes());
        out.extend_from_slice(&self.replica.get().to_be_bytes());
        out.extend_from_slice(&self.wall_ms.to_be_bytes());
        put_varint(out, self.kinds);
        put_varint(out, self.window);
        put_varint(out, self.heads.len() as u64);
        for (dot, chain) in &self.heads {
            out.extend_from_slice(&dot.replica.get().to_be_bytes());
            put_varint(out, dot.seq);
            out.extend_from_slice(chain.as_bytes());
        }
        self.floor.encode(out);
        out.extend_from_slice(&self.digest.to_be_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader, limits: &Limits) -> Result<Self, Fault> {
        match reader.u8("protocol")? {
            PROTOCOL => {}
            found => return Err(Fault::WrongProtocol { found }),
        }
        Ok(Self {
            mesh: reader.array("mesh").map(u128::from_be_bytes)?,
            replica: reader.replica_id("replica")?,
            wall_ms: reader.u64("wall clock")?,
            kinds: reader.varint("kinds")?,
            window: reader.varint("window")?,
            heads: decode_heads(reader, limits)?,
            floor: message::vector(reader, limits)?,
            digest: reader.array("digest").map(u128::from_be_bytes)?,
        })
    }
}

/// The record of ours, beyond the last that we know, which somebody says to have.
pub(crate) fn ahead_of(theirs: &VersionVector, own: ReplicaId, known: u64) -> Option<Dot> {
    let seq = theirs.seq(own);
    (seq > known).then(|| Dot::new(own, seq))
}

/// Whether we hold another record of this name. Chains that cannot be compared are not equal, and not different either: the
/// next record's chain will tell.
fn is_fork(standing: &Standing, dot: Dot, theirs: Chain) -> bool {
    let ours = standing.chain(dot.replica);
    let is_comparable = standing.frontier.seq(dot.replica) == dot.seq && ![ours, theirs].contains(&Chain::BEGINNING);
    is_comparable && ours != theirs
}

fn decode_heads(reader: &mut Reader, limits: &Limits) -> Result<Vec<(Dot, Chain)>, Fault> {
    let what = "heads";
    let count = reader.varint(what)?;
    // A false count is seen before anything is allocated for it.
    if count > (reader.remaining() / HEAD_BYTES_MIN) as u64 {
        return Err(DecodeError::Truncated { what }.into());
    }
    let (count, max) = (count as usize, limits.vector_entries_max);
    if count > max {
        return Err(Fault::TooManyReplicas { count, max });
    }
    let mut heads: Vec<(Dot, Chain)> = Vec::with_capacity(count);
    for _ in 0..count {
        let dot = Dot::new(reader.replica_id(what)?, reader.seq(what)?);
        if heads.last().is_some_and(|(last, _)| last.replica >= dot.replica) {
            return Err(DecodeError::NotCanonical { what }.into());
        }
        heads.push((dot, Chain::from_bytes(reader.array(what)?)));
    }
    Ok(heads)
}
