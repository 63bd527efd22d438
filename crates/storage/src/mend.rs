//! Mending rows that have rotted, out of records that peers still hold.
//!
//! What a row must hold is not guessed: its place among its neighbours says which record it was, that record comes from a peer's log as its
//! author wrote it, and applying it again to the state before it gives the row as it was, to the byte. It is believed when it carries the
//! hash that the store counts in its sum of rows, and written in its place in one batch. No sum, no base and no revision changes.
//!
//! Reading and applying happen beside the store, on a snapshot; only the writing is the committer's.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{
    Chain, Dot, Operation, Record, VersionVector,
    codec::{Reader, put_bytes, put_varint},
};

use self::{rebuild::rebuild, survey::Survey};
use crate::{
    CommitError, Committer, ReadError, Store, bases,
    engine::{Change, Persist, Snapshot},
    row::{
        Tally,
        commit::{self, CommitRow, Layer, Part},
    },
    rows::NumberedRows,
};

pub(crate) mod rebuild;
mod reduced;
pub(crate) mod signatures;
pub(crate) mod survey;

/// Rows under repair: a moment of a store some of whose rows are rotten.
pub struct Mending {
    store: Store,
    snapshot: Box<dyn Snapshot>,
    survey: Survey,
    /// What all rows add up to, as the committer counts them.
    counted: u128,
    given: BTreeMap<Dot, Material>,
}

/// What a row is made of again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Material {
    pub(crate) bytes: Bytes,
    pub(crate) record: Record,
    /// The author's full context, of a record that removes ranges.
    pub(crate) context: Option<VersionVector>,
    /// Of a remainder, the element index of each operation that is left.
    pub(crate) indices: Option<Vec<u32>>,
}

/// A row that was made again and proved to be what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MendedRow {
    pub(crate) commit: u64,
    pub(crate) row: Bytes,
    /// The last commit that was compacted when the row was looked at.
    pub(crate) swept: u64,
}

/// Why rows were not made again. Nothing has changed.
#[derive(Debug, Error)]
pub enum MendError {
    /// Which record a row held cannot be told.
    #[error("it cannot be told which record the row of commit {commit} held")]
    Unknown {
        /// The row's commit number.
        commit: u64,
    },
    /// A row held what stays at this site.
    #[error("the row of commit {commit} held what is kept at this site alone: no other site has it")]
    Private {
        /// The row's commit number.
        commit: u64,
    },
    /// A row was compacted: no log has what it was made of.
    #[error("the row of commit {commit} was compacted: no log has what it was made of")]
    Compacted {
        /// The row's commit number.
        commit: u64,
    },
    /// Nobody has given a record that is needed.
    #[error("record {dot} is needed, and nobody has given it")]
    Lacking {
        /// The record.
        dot: Dot,
    },
    /// A record does not continue its author's stream, or its author's stream does not continue it.
    #[error("record {dot} is not the one that was here: it does not chain")]
    Foreign {
        /// The record.
        dot: Dot,
    },
    /// What was made again is not what was here.
    #[error("the row of commit {commit} was made again and is not what it was")]
    Unproven {
        /// The row's commit number.
        commit: u64,
    },
    /// A row could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Mending {
    /// Looks at all rows of this moment; `None` when every one is sound. It reads the whole store: on a thread that may take its time.
    ///
    /// # Errors
    ///
    /// The engine's; or a row that held what only this replica knew.
    pub fn begin(store: &Store) -> Result<Option<Self>, MendError> {
        let (floor, frontier, last, counted, snapshot) = {
            let state = store.shared().state.read();
            let snapshot = store.shared().engine.snapshot();
            (state.floor.clone(), state.frontier.clone(), state.published.commit, state.row_hashes, snapshot)
        };
        let mut survey = Survey::take(&*snapshot, &floor, &frontier, None, last)?;
        survey.add(store.shared().rotten_commits());
        let needed = store.needs(&survey.unreadable());
        let is_there = |commit: &u64| matches!(snapshot.get(&commit::key(*commit)), Ok(Some(_)));
        let there = survey.reduced().iter().copied().filter(is_there);
        survey.leave_out_unneeded(&needed.commits.iter().copied().chain(there).collect());
        for commit in survey.unreadable() {
            store.shared().look_again(commit);
        }
        if survey.is_sound() {
            return Ok(None);
        }
        survey.note(needed, store.shared().owner.private)?;
        Ok(Some(Self { store: store.clone(), snapshot, survey, counted, given: BTreeMap::new() }))
    }

    /// The records that are still needed, ascending.
    pub fn wanted(&self) -> Vec<Dot> {
        self.survey.wanted().filter(|dot| !self.given.contains_key(dot)).collect()
    }

    /// Takes what a peer has given for a record: see [`Store::material`]. Returns whether it can be that record.
    pub fn give(&mut self, dot: Dot, material: Bytes) -> bool {
        let material = Material::decode(material).filter(|material| material.record.header.dot == dot);
        let is_taken = material.is_some();
        self.given.extend(material.map(|material| (dot, material)));
        is_taken
    }

    /// Makes the rows again and proves them. It applies all rows up to the last of them anew, beside the store: it takes as long as opening
    /// does, and as much memory. On a thread that may take its time.
    ///
    /// # Errors
    ///
    /// Something is lacking, or what came out is not what was here.
    pub fn finish(self) -> Result<Vec<MendedRow>, MendError> {
        let shared = self.store.shared();
        let rows = rebuild(&*self.snapshot, &shared.owner, &self.survey, &self.given)?;
        let made: u128 = rows.iter().fold(0, |sum, row| sum.wrapping_add(Tally::of(&row.row).hashes));
        if self.counted.wrapping_sub(self.survey.hashes()) == made {
            return Ok(rows);
        }
        // A row that still says what its hash was proves its like by itself.
        let is_proved = |row: &MendedRow| {
            let stored = self.snapshot.get(&commit::key(row.commit)).ok().flatten();
            stored.is_some_and(|stored| Tally::of(&stored).hashes == Tally::of(&row.row).hashes)
        };
        let commit = rows.first().map_or(0, |row| row.commit);
        let proved: Vec<MendedRow> = rows.into_iter().filter(is_proved).collect();
        if proved.is_empty() { Err(MendError::Unproven { commit }) } else { Ok(proved) }
    }
}

impl Committer {
    /// Writes rows that were made again in their places. What compaction has taken meanwhile, and what is sound by now, is left as it is.
    /// Returns how many were written.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn mend(&mut self, rows: Vec<MendedRow>) -> Result<u64, CommitError> {
        self.check_health()?;
        let swept = self.compaction.swept();
        let rotten: Vec<MendedRow> = rows
            .into_iter()
            .filter(|row| (row.commit > swept || row.swept == swept) && self.is_rotten(row.commit))
            .collect();
        if rotten.is_empty() {
            return Ok(0);
        }
        let changes = rotten.iter().map(|row| Change::Put(commit::key(row.commit), row.row.clone())).collect();
        self.write(changes, Persist::Disk)?;
        let sound = rotten.iter().filter(|row| !self.shared.look_again(row.commit));
        Ok(sound.count() as u64)
    }

    fn is_rotten(&self, commit: u64) -> bool {
        match self.shared.engine.get(&commit::key(commit)) {
            Ok(row) => row.is_none_or(|row| CommitRow::decode(&row, commit).is_err()),
            Err(error) => error.is_damage(),
        }
    }

    /// Writes the base again, should one of its rows be rotten: what it says is known here.
    pub(crate) fn mend_base(&mut self) -> Result<(), CommitError> {
        if !self.shared.is_base_rotten() {
            return Ok(());
        }
        // One that is not written yet comes whole with its group.
        let Some((ordinal, base)) = self.compaction.base().filter(|_| !self.staged.holds_base()) else { return Ok(()) };
        let (ordinal, rows) = (*ordinal, bases::put(*ordinal, base));
        self.write(rows.into(), Persist::Disk)?;
        self.shared.look_at_base(ordinal).map_err(|error| ReadError::from(error).into())
    }
}

impl Store {
    /// What a peer needs to mend the row of a record: the record as its author wrote it, or what is left of it here. `None` when nothing is.
    /// It reads at most the rows from the milestone before it.
    ///
    /// # Errors
    ///
    /// A damaged row: what is rotten is not handed on.
    pub fn material(&self, dot: Dot) -> Result<Option<Bytes>, ReadError> {
        let part = self.shared().noting(self.part_of(dot, false))?;
        Ok(part
            .map(|Part { bytes, record, indices, context, .. }| Material { bytes, record, context, indices }.encode()))
    }

    /// The chain of a record: of an author's last one always, of another as long as it is whole in the log. It reads nothing for the last one, and
    /// else at most the rows from the milestone before the record up to its author's next whole one.
    ///
    /// # Errors
    ///
    /// A damaged row.
    pub fn chain_of(&self, dot: Dot) -> Result<Option<Chain>, ReadError> {
        {
            let state = self.shared().state.read();
            let last = state.streams.get(&dot.replica).filter(|_| state.frontier.seq(dot.replica) == dot.seq);
            if let Some(stream) = last {
                return Ok(Some(stream.chain));
            }
        }
        let part = self.shared().noting(self.part_of(dot, true))?;
        Ok(part.map(|part| part.record.header.chain))
    }

    /// Looks for a record, or for what is left of it if it need not be whole.
    fn part_of(&self, dot: Dot, is_whole: bool) -> Result<Option<Part>, ReadError> {
        let (first, last, snapshot) = {
            let state = self.shared().state.read();
            if !state.frontier.covers(dot) {
                return Ok(None);
            }
            let own =
                |known: Dot| if known.replica == dot.replica { Dot::new(dot.replica, dot.seq - 1) } else { known };
            let before: VersionVector = state.frontier.iter().map(own).collect();
            (state.milestones.covered(&before) + 1, state.published.commit, self.shared().engine.snapshot())
        };
        for row in NumberedRows::commits(&*snapshot, first, last) {
            // Another row may be rotten; that is for others to say.
            let (number, Some(row)) = row? else { continue };
            let Ok(row) = CommitRow::decode(&row, number) else { continue };
            let is_the_authors = |part: &Part| part.layer == Layer::Mesh && part.dot().replica == dot.replica;
            let Some(part) = row.parts.into_iter().find(is_the_authors) else { continue };
            // An author's whole records lie in their order; remainders that a transfer has brought lie anywhere.
            let is_past = is_whole && part.indices.is_none() && part.dot().seq > dot.seq;
            if part.dot() == dot || is_past {
                return Ok(Some(part).filter(|part| part.dot() == dot && !(is_whole && part.indices.is_some())));
            }
        }
        Ok(None)
    }
}

impl Material {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len() + 8);
        put_bytes(&mut out, &self.bytes);
        self.context.clone().unwrap_or_default().encode(&mut out);
        let indices = self.indices.as_deref().unwrap_or_default();
        out.push(u8::from(self.indices.is_some()));
        indices.iter().for_each(|index| put_varint(&mut out, u64::from(*index)));
        out.into()
    }

    /// `None` for what is no material.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let bytes = reader.bytes("record").ok()?;
        let context = VersionVector::decode(&mut reader).ok()?;
        let record = Record::decode(bytes.clone()).ok()?;
        let indices = match reader.u8("remainder").ok()? {
            0 => None,
            1 => {
                let index = |_: &Operation| u32::try_from(reader.varint("index").ok()?).ok();
                Some(record.operations.iter().map(index).collect::<Option<Vec<u32>>>()?)
            }
            _ => return None,
        };
        reader.finish("material").ok()?;
        Some(Self { bytes, record, context: (!context.is_empty()).then_some(context), indices })
    }
}
