//! The log as peers are sent it: records in the order in which they were applied here, whoever wrote them.
//!
//! That order is causal, so that a receiver which applies what it is sent in order never meets a record before its causes.
//! The log is complete from its floor on; who is not there yet needs a transfer of state. Only the mesh layer is told.

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{Dot, VersionVector};

use crate::{
    ReadError, Store,
    row::commit::{CommitRow, Layer},
    rows::CommitRows,
};

/// How much of the log one call may return.
#[derive(Clone, Copy, Debug)]
pub struct ArrivalBudget {
    /// Commits looked at, wanted or not.
    pub commits: usize,
    /// Bytes of records returned; one record may exceed it.
    pub bytes: usize,
}

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// The records the peer lacks, in the order in which they were applied here.
    pub records: Vec<Arrival>,
    /// The first commit that was not looked at.
    pub next: u64,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its name.
    pub dot: Dot,
    /// Its bytes, as its author wrote them.
    pub bytes: Bytes,
}

/// Why the log was not told.
#[derive(Debug, Error)]
pub enum ArrivalsError {
    /// The peer lacks records that are no longer in the log.
    #[error("the log is complete only from {floor:?} on")]
    BelowFloor {
        /// What a peer must have applied.
        floor: VersionVector,
    },
    /// The rows could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Store {
    /// Reads the log from commit `from` on, leaving out the records that `seen` covers, as far as the budget goes. A peer that
    /// has applied everything before `next` is served from there.
    ///
    /// # Errors
    ///
    /// `seen` is below the floor of the log; a damaged row.
    pub fn arrivals(&self, seen: &VersionVector, from: u64, budget: ArrivalBudget) -> Result<Arrivals, ArrivalsError> {
        let outcome = self.read_arrivals(seen, from, budget);
        if let Err(ArrivalsError::Read(ReadError::Rot { commit })) = &outcome {
            self.shared().look_again(*commit);
        }
        outcome
    }

    fn read_arrivals(&self, seen: &VersionVector, from: u64, budget: ArrivalBudget) -> Result<Arrivals, ArrivalsError> {
        let (floor, covered, last, snapshot) = {
            let state = self.shared().state.read();
            let covered = state.milestones.covered(seen);
            (state.floor.clone(), covered, state.published.commit, self.shared().engine.snapshot())
        };
        if !seen.includes(&floor.vector) {
            return Err(ArrivalsError::BelowFloor { floor: floor.vector });
        }
        let mut arrivals = Arrivals { records: Vec::new(), next: from.max(floor.commit + 1).max(covered + 1) };
        let mut left = budget;
        for row in CommitRows::new(&*snapshot, arrivals.next, last).readable() {
            if left.commits == 0 || left.bytes == 0 {
                return Ok(arrivals);
            }
            let (number, row) = row?;
            // Above the floor nothing may be missing.
            if number != arrivals.next {
                return Err(ReadError::Rot { commit: arrivals.next }.into());
            }
            for part in CommitRow::decode(&row, number)?.parts {
                let dot = part.dot();
                if part.layer == Layer::Mesh && !seen.covers(dot) {
                    // What came by a transfer is not whole: who lacks it is below the floor, which rose after we looked.
                    if part.indices.is_some() {
                        return Err(ArrivalsError::BelowFloor {
                            floor: self.shared().state.read().floor.vector.clone(),
                        });
                    }
                    left.bytes = left.bytes.saturating_sub(part.bytes.len());
                    arrivals.records.push(Arrival { dot, bytes: part.bytes });
                }
            }
            left.commits -= 1;
            arrivals.next = number + 1;
        }
        if arrivals.next <= last {
            return Err(ReadError::Rot { commit: arrivals.next }.into());
        }
        Ok(arrivals)
    }
}
