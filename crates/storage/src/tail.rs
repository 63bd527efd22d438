//! The tail of a replica's stream: what it wrote and nobody else has, in a file, to be entered elsewhere as new writes.
//!
//! A replica that was removed from its mesh may have written more than any other member holds. Under its own name nothing of that
//! counts any more. The file holds the records as they were written, so that whoever enters them can check that they follow what
//! the mesh has; what they come to is a [`TailOutcome`].
//!
//! ```text
//! tail := "tombolo tail\n" ‖ version (1) ‖ mesh (16) ‖ author (8) ‖ first seq (8) ‖ { length ‖ record } ‖ 0 ‖ checksum (32)
//! ```
//!
//! Numbers are big-endian, lengths varints of one form. The checksum is BLAKE3 of all before it. One tail has one file.

use std::io::{self, Write};

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{DecodeError, Dot, ReplicaId, VersionVector, codec::put_varint};

use crate::{Arrival, ArrivalBudget, ArrivalsError, MeshId, Store};

pub use self::{
    intake::{Tail, TailIntake},
    outcome::{TailOutcome, TailWrite},
};

mod intake;
mod outcome;

/// How a tail begins.
pub const TAIL_MAGIC: &[u8; 13] = b"tombolo tail\n";
pub(crate) const VERSION: u8 = 1;

/// What was written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailFacts {
    /// The mesh.
    pub mesh: MeshId,
    /// Whose records they are.
    pub author: ReplicaId,
    /// The first of them; one above the last when there are none.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

/// Why no tail was written or read.
#[derive(Debug, Error)]
pub enum TailError {
    /// It is something else.
    #[error("this is not a tail of tombolo")]
    NotATail,
    /// A later version made it.
    #[error("the tail has format {found}, and this version knows {VERSION}")]
    NewerFormat {
        /// Its format.
        found: u8,
    },
    /// It ends early, or says what cannot be.
    #[error("the tail is damaged: {what}")]
    Damaged {
        /// Where, or how.
        what: &'static str,
    },
    /// A record in it is none.
    #[error("the tail is damaged: record {dot} cannot be read: {why}")]
    Record {
        /// The record that should be there.
        dot: Dot,
        /// What is wrong.
        why: DecodeError,
    },
    /// It is not of this mesh.
    #[error("the tail is of mesh {found:032x}")]
    OtherMesh {
        /// Its mesh.
        found: u128,
    },
    /// Records before it are missing here.
    #[error("the tail begins at record {first}, and the next one here is {expected}: export it anew with --beyond {}", .expected - 1)]
    Gap {
        /// Its first.
        first: u64,
        /// The one that would follow.
        expected: u64,
    },
    /// A record in it does not follow the one before it.
    #[error("record {dot} does not follow what is here: the tail is of another past, or was changed")]
    Unchained {
        /// The record.
        dot: Dot,
    },
    /// A record in it holds what this version does not know.
    #[error("record {dot} holds an operation of unknown kind {kind}")]
    UnknownOperation {
        /// The record.
        dot: Dot,
        /// The kind's number.
        kind: u64,
    },
    /// The log of the folder has forgotten records that are asked for.
    #[error("records of this replica are kept from {from} on, and those beyond {beyond} are asked for")]
    Forgotten {
        /// The first that is kept.
        from: u64,
        /// What was asked for.
        beyond: u64,
    },
    /// The rows cannot be read.
    #[error(transparent)]
    Read(#[from] crate::ReadError),
    /// The file cannot be written.
    #[error("failed to write the tail: {0}")]
    Write(#[from] io::Error),
}

impl Store {
    /// Writes what this replica has written beyond record `beyond` of its own, or, without that, everything that its log still has.
    ///
    /// # Errors
    ///
    /// The log has forgotten some of it; a damaged row; the file cannot be written.
    pub fn export_tail(&self, beyond: Option<u64>, out: &mut dyn Write) -> Result<TailFacts, TailError> {
        let identity = self.identity();
        let (frontier, floor) = {
            let state = self.shared().state.read();
            (state.frontier.clone(), state.floor.vector.clone())
        };
        let (author, kept) = (identity.replica, floor.seq(identity.replica));
        let beyond = beyond.unwrap_or(kept).min(frontier.seq(author));
        if beyond < kept {
            return Err(TailError::Forgotten { from: kept + 1, beyond });
        }
        let last = frontier.seq(author);
        let others = frontier.iter().filter(|dot| dot.replica != author);
        let seen: VersionVector = others.chain((beyond > 0).then(|| Dot::new(author, beyond))).collect();
        let facts = TailFacts { mesh: identity.mesh, author, first: beyond + 1, last };
        let mut out = Hashed { out, hasher: blake3::Hasher::new() };
        out.put(&facts.head())?;
        let mut from = 0;
        loop {
            let budget = ArrivalBudget { commits: EXPORTED_COMMITS, bytes: EXPORTED_BYTES };
            let arrivals = self.arrivals(&seen, from, budget).map_err(|why| match why {
                ArrivalsError::BelowFloor { floor } => TailError::Forgotten { from: floor.seq(author) + 1, beyond },
                ArrivalsError::Read(why) => TailError::Read(why),
            })?;
            for Arrival { dot, bytes } in arrivals.records.into_iter().filter(|arrival| arrival.dot.seq <= last) {
                debug_assert_eq!(dot.replica, author, "nothing else is asked for");
                let mut length = Vec::with_capacity(4);
                put_varint(&mut length, bytes.len() as u64);
                out.put(&length)?;
                out.put(&bytes)?;
            }
            if arrivals.next <= from || arrivals.next > self.published().commit {
                break;
            }
            from = arrivals.next;
        }
        out.put(&[0])?;
        let checksum = *out.hasher.finalize().as_bytes();
        out.out.write_all(&checksum)?;
        out.out.flush()?;
        Ok(facts)
    }
}

/// Commits looked at in one go.
const EXPORTED_COMMITS: usize = 4_096;
/// Bytes of records read in one go.
const EXPORTED_BYTES: usize = 4 << 20;

impl TailFacts {
    fn head(&self) -> Bytes {
        let mut head = TAIL_MAGIC.to_vec();
        head.push(VERSION);
        head.extend_from_slice(&self.mesh.0.to_be_bytes());
        head.extend_from_slice(&self.author.get().to_be_bytes());
        head.extend_from_slice(&self.first.to_be_bytes());
        head.into()
    }
}

struct Hashed<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Hashed<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), TailError> {
        self.hasher.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}
