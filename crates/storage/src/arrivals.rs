//! The log as peers are sent it: records in the order in which they were applied here, whoever wrote them.
//!
//! That order is causal, so that a receiver which applies what it is sent in order never meets a record before its causes.
//! The log is complete from its floor on; who is not there yet needs a transfer of state. Only the mesh layer is told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{Dot, ReplicaId, SignedHead, VersionVector};

use crate::{
    ReadError, Store,
    engine::Snapshot,
    row::{
        Kind,
        commit::{CommitRow, Layer},
        heads::HeadsRow,
    },
    rows::NumberedRows,
};

/// How much of the log one call may return.
#[derive(Clone, Copy, Debug)]
pub struct ArrivalBudget {
    /// Commits looked at, wanted or not. A batch of a peer's is not cut: its last commits may exceed it.
    pub commits: usize,
    /// Bytes of records returned; one record, or one batch of a peer's, may exceed it.
    pub bytes: usize,
}

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// The records the peer lacks, in the order in which they were applied here.
    pub records: Vec<Arrival>,
    /// For each author among them that a peer sent us, its signed head at its last record there, ascending by author.
    pub heads: Vec<SignedHead>,
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
            self.shared().look_at_signatures(*commit);
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
        let first = from.max(floor.commit + 1).max(covered + 1);
        let mut arrivals = Arrivals { records: Vec::new(), heads: Vec::new(), next: first };
        let mut batches = Batches::of(&*snapshot, first, last)?;
        let (mut unit, mut newest) = (Unit::default(), BTreeMap::new());
        let mut left = budget;
        for row in NumberedRows::commits(&*snapshot, first, last).readable() {
            if left.commits == 0 && unit.commits == 0 {
                break;
            }
            let (number, row) = row?;
            if unit.commits == 0 {
                arrivals.next = floor.gaps.past(arrivals.next);
            }
            // Above the floor nothing may be missing.
            let expected = arrivals.next + unit.commits as u64;
            if number != expected {
                return Err(ReadError::Rot { commit: expected }.into());
            }
            // What came by a transfer is not whole: who lacks it is below the floor, which rose after we looked.
            if !unit.add(CommitRow::decode(&row, number)?, seen) {
                return Err(ArrivalsError::BelowFloor { floor: self.shared().state.read().floor.vector.clone() });
            }
            // Who has it all needs no proof of it.
            if let Some(commit) = batches.rotten_from(number)?.filter(|_| !unit.records.is_empty()) {
                if arrivals.records.is_empty() {
                    return Err(ReadError::Rot { commit }.into());
                }
                left.commits = 0;
                break;
            }
            let heads = batches.end_at(number)?;
            if batches.is_within(number) {
                continue;
            }
            if unit.bytes > left.bytes && !arrivals.records.is_empty() {
                arrivals.heads = of_authors(newest, &arrivals.records);
                return Ok(arrivals);
            }
            newest.extend(heads.into_iter().map(|head| (head.dot.replica, head)));
            left.commits = left.commits.saturating_sub(unit.commits);
            left.bytes = left.bytes.saturating_sub(unit.bytes);
            arrivals.next = number + 1;
            arrivals.records.append(&mut std::mem::take(&mut unit).records);
        }
        if left.commits > 0 && arrivals.next <= last {
            return Err(ReadError::Rot { commit: arrivals.next + unit.commits as u64 }.into());
        }
        arrivals.heads = of_authors(newest, &arrivals.records);
        Ok(arrivals)
    }
}

/// What is told together or not at all: a commit, or the commits of a batch from a peer.
#[derive(Default)]
struct Unit {
    commits: usize,
    bytes: usize,
    records: Vec<Arrival>,
}

impl Unit {
    /// Takes what `seen` lacks. Returns whether that is told as its author wrote it.
    fn add(&mut self, row: CommitRow, seen: &VersionVector) -> bool {
        self.commits += 1;
        for part in row.parts {
            let dot = part.dot();
            if part.layer == Layer::Mesh && !seen.covers(dot) {
                if part.indices.is_some() {
                    return false;
                }
                self.bytes += part.bytes.len();
                self.records.push(Arrival { dot, bytes: part.bytes });
            }
        }
        true
    }
}

/// The batches from peers in a stretch of the log, as their signed heads tell of them.
struct Batches<'a> {
    rows: NumberedRows<'a>,
    /// The next one, and the commit that ends it.
    next: Option<(u64, HeadsRow)>,
    /// The one whose row is rotten, where nobody can say which commits it has: nothing of what lies between it and the one before is told.
    rotten: Option<u64>,
}

impl<'a> Batches<'a> {
    fn of(snapshot: &'a dyn Snapshot, first: u64, last: u64) -> Result<Self, ReadError> {
        let rows = NumberedRows::of(Kind::Heads, snapshot, first, last);
        let mut batches = Self { rows, next: None, rotten: None };
        batches.advance()?;
        Ok(batches)
    }

    fn advance(&mut self) -> Result<(), ReadError> {
        (self.next, self.rotten) = (None, None);
        if let Some((number, row)) = self.rows.next().transpose()? {
            match row.and_then(|row| HeadsRow::decode(&row, number)) {
                Some(row) => self.next = Some((number, row)),
                None => self.rotten = Some(number),
            }
        }
        Ok(())
    }

    /// The rotten row of which this commit may be.
    fn rotten_from(&mut self, commit: u64) -> Result<Option<u64>, ReadError> {
        while self.rotten.is_some_and(|rotten| rotten < commit) {
            self.advance()?;
        }
        Ok(self.rotten)
    }

    /// The heads of the batch that ends at this commit.
    fn end_at(&mut self, commit: u64) -> Result<Vec<SignedHead>, ReadError> {
        let Some((_, row)) = self.next.take_if(|(end, _)| *end == commit) else { return Ok(Vec::new()) };
        self.advance()?;
        Ok(row.heads)
    }

    /// Whether the batch that this commit belongs to goes on after it.
    fn is_within(&self, commit: u64) -> bool {
        self.next.as_ref().is_some_and(|(_, row)| row.first <= commit)
    }
}

/// The heads of those who wrote something of this.
fn of_authors(mut heads: BTreeMap<ReplicaId, SignedHead>, records: &[Arrival]) -> Vec<SignedHead> {
    let authors: BTreeSet<ReplicaId> = records.iter().map(|arrival| arrival.dot.replica).collect();
    heads.retain(|author, _| authors.contains(author));
    heads.into_values().collect()
}
