//! The tail of a replica's stream: what it wrote and nobody else has, in a file, to be entered as new writes.
//!
//! A replica that was removed from its mesh may have written more than any other member holds, and one whose folder was set back may have
//! written other records than the mesh has under the same names. Under those names nothing of that counts any more. The file holds the
//! records as they were written, so that whoever enters them can check that they follow what the mesh has, or part from it where
//! the file says; what they come to is a [`TailOutcome`].
//!
//! ```text
//! tail   := "tombolo tail\n" ‖ version (1) ‖ mesh (16) ‖ { stream } ‖ 0 (8) ‖ checksum (32)
//! stream := author (8) ‖ first seq (8) ‖ apart from (8) ‖ { length ‖ record ‖ [ length ‖ vector ] } ‖ 0
//! ```
//!
//! Numbers are big-endian, lengths varints of one form. The streams are those of one replica under the names that it had, the last
//! one last. From `apart from` on, if it is not 0, the mesh has other records of those names. A vector is there for a record that removes a
//! range: what its author had applied. The checksum is BLAKE3 of all before it. One tail has one file.

use std::io::{self, Write};

use thiserror::Error;
use tombolo_crdt::{DecodeError, Dot, Operation, Record, ReplicaId};

use self::write::TailWriter;
use crate::Store;

pub use self::{
    aside::SetAside,
    intake::{Tail, TailIntake},
    outcome::{TailLeases, TailOutcome, TailWrite},
    read::{Piece, TailChange, TailReader},
};

mod aside;
mod intake;
mod outcome;
mod read;
mod write;

/// How a tail begins.
pub const TAIL_MAGIC: &[u8; 13] = b"tombolo tail\n";
pub(crate) const VERSION: u8 = 1;

/// The records of one author in a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailStream {
    /// Whose records they are.
    pub author: ReplicaId,
    /// The first of them; one above the last when there are none.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// From here on the mesh is known to have other records of these names.
    pub apart: Option<u64>,
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
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] crate::ArrivalsError),
    /// The file cannot be written.
    #[error("failed to write the tail: {0}")]
    Write(#[from] io::Error),
}

impl Store {
    /// Writes what this replica has written beyond record `beyond` of its own, or, without that, everything that its log still has. What is
    /// left in the log of what it wrote under names that it had before in this mesh goes before that. Returns the streams, its own last.
    ///
    /// # Errors
    ///
    /// The log has forgotten some of it; a damaged row; the file cannot be written.
    pub fn export_tail(&self, beyond: Option<u64>, out: &mut dyn Write) -> Result<Vec<TailStream>, TailError> {
        let identity = self.identity();
        let (frontier, floor, last, snapshot) = {
            let state = self.shared().state.read();
            (state.frontier.clone(), state.floor.clone(), state.published.commit, self.shared().engine.snapshot())
        };
        let kept = floor.vector.seq(identity.replica);
        let beyond = beyond.unwrap_or(kept).min(frontier.seq(identity.replica));
        if beyond < kept {
            return Err(TailError::Forgotten { from: kept + 1, beyond });
        }
        let before = self.predecessors().iter().map(|before| before.replica);
        let before =
            before.map(|name| (name, floor.vector.seq(name))).filter(|(name, kept)| frontier.seq(*name) > *kept);
        let mut tail = TailWriter::begin(out, identity.mesh)?;
        let mut streams = Vec::new();
        for (author, beyond) in before.chain([(identity.replica, beyond)]) {
            let asked = TailStream { author, first: beyond + 1, last: frontier.seq(author), apart: None };
            let written = tail.stream(&*snapshot, (floor.commit + 1, last), asked)?;
            if written.last != asked.last {
                return Err(TailError::Forgotten { from: written.last + 1, beyond });
            }
            streams.push(written);
        }
        tail.finish()?;
        Ok(streams)
    }
}

fn removes_ranges(record: &Record) -> bool {
    record.operations.iter().any(|operation| matches!(operation, Operation::RangeRemove(_)))
}

const MESH_LEN: usize = 16;
/// Bytes of what stands before the records of a stream: author, first seq, and from where on it is apart.
const STREAM_LEN: usize = 8 + 8 + 8;
const CHECKSUM_LEN: usize = 32;
