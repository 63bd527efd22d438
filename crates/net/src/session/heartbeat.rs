//! The heartbeat: a sign of life, and what is worth saying once a second.
//!
//! ```text
//! wall clock (8, milliseconds) ‖ readiness (1: 0 ready, 1 busy, 2 stopped) ‖ digest (16)
//! ‖ count ‖ { member (8) ‖ frontier (version vector, not empty) }    stability rows, ascending
//! ```

use tombolo_crdt::{
    DecodeError, ReplicaId,
    codec::{Reader, put_varint},
};

use super::{limits::Limits, message, status::Readiness};
use crate::{Fault, StabilityRow};

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender's clock: milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Whether the sender takes records.
    pub readiness: Readiness,
    /// The digest of the sender's state at the frontier that its hello, haves and records up to here add up to: it says all
    /// that it has before it sends a heartbeat.
    pub digest: u128,
    /// Stability rows of other members, ascending.
    pub rows: Vec<StabilityRow>,
}

/// A row takes at least a member, a count and one entry.
const ROW_BYTES_MIN: usize = ReplicaId::LEN + 1 + ReplicaId::LEN + 1;

impl Heartbeat {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.wall_ms.to_be_bytes());
        out.push(match self.readiness {
            Readiness::Ready => 0,
            Readiness::Busy => 1,
            Readiness::Stopped => 2,
        });
        out.extend_from_slice(&self.digest.to_be_bytes());
        put_varint(out, self.rows.len() as u64);
        for row in &self.rows {
            out.extend_from_slice(&row.member.get().to_be_bytes());
            row.frontier.encode(out);
        }
    }

    pub(crate) fn decode(reader: &mut Reader, limits: &Limits) -> Result<Self, Fault> {
        Ok(Self {
            wall_ms: reader.u64("wall clock")?,
            readiness: match reader.u8("readiness")? {
                0 => Readiness::Ready,
                1 => Readiness::Busy,
                2 => Readiness::Stopped,
                _ => return Err(DecodeError::NotCanonical { what: "readiness" }.into()),
            },
            digest: reader.array("digest").map(u128::from_be_bytes)?,
            rows: decode_rows(reader, limits)?,
        })
    }
}

fn decode_rows(reader: &mut Reader, limits: &Limits) -> Result<Vec<StabilityRow>, Fault> {
    let what = "stability rows";
    let count = reader.varint(what)?;
    if count > (reader.remaining() / ROW_BYTES_MIN) as u64 {
        return Err(DecodeError::Truncated { what }.into());
    }
    let (count, max) = (count as usize, limits.vector_entries_max);
    if count > max {
        return Err(Fault::TooManyReplicas { count, max });
    }
    let mut rows: Vec<StabilityRow> = Vec::new();
    for _ in 0..count {
        let member = reader.replica_id(what)?;
        if rows.last().is_some_and(|last| last.member >= member) {
            return Err(DecodeError::NotCanonical { what }.into());
        }
        rows.push(StabilityRow { member, frontier: message::some_vector(reader, limits)? });
    }
    Ok(rows)
}
