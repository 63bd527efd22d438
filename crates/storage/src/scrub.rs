//! The scrubber: it reads every row there is, slowly, and verifies each one's own hash.
//!
//! Rot in a row that nobody asks for is found before the last peer that holds the record has forgotten it. A step reads so many bytes and
//! says how many; how often it is called is what bounds the rate. It has no clock, and begins anew when it has come to the end.

use std::collections::BTreeSet;

use crate::{
    Store,
    engine::{EngineError, Snapshot},
    row::{self, KEY_LEN, Kind, commit},
    rows::NumberedRows,
    store::Floor,
};

/// A reader of all rows, in passes without end.
pub struct Scrubber {
    store: Store,
    place: Place,
    pass: ScrubPass,
}

/// Where a pass is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The next commit.
    Commits(u64),
    /// Everything else.
    Others,
}

/// What a pass, or a part of one, has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubPass {
    /// Rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows among them that are rotten, or missing.
    pub rotten: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubStep {
    /// Bytes that were read.
    pub bytes: u64,
    /// The pass that ended with this step.
    pub finished: Option<ScrubPass>,
}

impl Scrubber {
    /// A scrubber of this store, at the beginning of a pass.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), place: Place::Commits(1), pass: ScrubPass::default() }
    }

    /// The pass under way.
    pub fn pass(&self) -> ScrubPass {
        self.pass
    }

    /// Reads about `budget` bytes of rows. What is rotten is noted: see [`Store::rotten`].
    ///
    /// # Errors
    ///
    /// The engine's, when it is not damage of a row. The next step tries again.
    pub fn step(&mut self, budget: u64) -> Result<ScrubStep, EngineError> {
        let before = self.pass.bytes;
        let mut finished = None;
        match self.place {
            Place::Commits(next) => self.commits(next, budget)?,
            Place::Others => {
                self.others()?;
                finished = Some(std::mem::take(&mut self.pass));
                self.place = Place::Commits(1);
            }
        }
        let after = finished.map_or(self.pass.bytes, |pass| pass.bytes);
        Ok(ScrubStep { bytes: after - before, finished })
    }

    fn commits(&mut self, first: u64, budget: u64) -> Result<(), EngineError> {
        let (Floor { commit: floor, gaps, .. }, last, snapshot) = {
            let state = self.store.shared().state.read();
            (state.floor.clone(), state.published.commit, self.store.shared().engine.snapshot())
        };
        let (mut next, mut read) = (first, 0);
        let mut suspects = Vec::new();
        for row in NumberedRows::commits(&*snapshot, first, last) {
            let (number, row) = row?;
            // Above the floor nothing may be missing.
            suspects.extend(gaps.past(next.max(floor + 1))..number);
            next = number + 1;
            self.pass.rows += 1;
            let bytes = row.as_ref().map_or(0, |row| row.len() as u64 + commit::key(number).len() as u64);
            self.pass.bytes += bytes;
            read += bytes;
            if row.is_none_or(|row| row::unseal(&row, number).is_none()) {
                suspects.push(number);
            }
            if read >= budget {
                self.place = Place::Commits(next);
                self.judge(suspects, floor);
                return Ok(());
            }
        }
        suspects.extend(gaps.past(next.max(floor + 1))..=last);
        self.place = Place::Others;
        self.judge(suspects, floor);
        Ok(())
    }

    /// Looks again at what could not be read. Where the log is not dense, the engine may not know that there was no row.
    fn judge(&mut self, suspects: Vec<u64>, floor: u64) {
        let below = suspects.iter().copied().filter(|number| *number <= floor).collect();
        let needed = if suspects.is_empty() { Default::default() } else { self.store.needs(&below) };
        let is_there = |number: u64| matches!(self.store.shared().engine.get(&commit::key(number)), Ok(Some(_)));
        for number in suspects {
            if number <= floor && !needed.commits.contains(&number) && !is_there(number) {
                continue;
            }
            self.pass.rotten += u64::from(self.store.shared().look_again(number));
        }
    }

    /// Rows of every other kind. There are few.
    fn others(&mut self) -> Result<(), EngineError> {
        let store = self.store.clone();
        let shared = store.shared();
        let snapshot = shared.engine.snapshot();
        // What can be read of the newest base names it; where that cannot be told the store knows.
        let mut base = Some(0);
        for kind in [Kind::Base, Kind::BaseCopy, Kind::Intent, Kind::Staged] {
            let newest = self.kind(&*snapshot, kind)?;
            if matches!(kind, Kind::Base | Kind::BaseCopy) {
                base = base.zip(newest).map(|(one, other)| one.max(other));
            }
        }
        let mut signatures = BTreeSet::new();
        // The state is not held while rows are read.
        let last = shared.state.read().published.commit;
        for row in NumberedRows::of(Kind::Heads, &*snapshot, 0, last) {
            let (number, row) = row?;
            let is_rotten = row.as_ref().is_none_or(|row| row::unseal(row, number).is_none());
            self.count(row.map_or(0, |row| row.len()), is_rotten);
            signatures.extend(is_rotten.then_some(number));
        }
        shared.note_signatures(signatures);
        // Older bases count for nothing, and what is staged of a transfer is asked for again.
        let base = base.unwrap_or_else(|| shared.state.read().base_ordinal);
        if base > 0 { shared.look_at_base(base) } else { Ok(()) }
    }

    /// Reads the rows of a kind. Returns the number of the last one, or 0; `None` where some cannot be read at all.
    fn kind(&mut self, snapshot: &dyn Snapshot, kind: Kind) -> Result<Option<u64>, EngineError> {
        let mut newest = 0;
        for row in snapshot.scan(&kind.key(0), &kind.end()) {
            match row {
                Ok((key, row)) => {
                    newest = kind.number(&key).unwrap_or(newest);
                    self.count(row.len(), row::unseal(&row, newest).is_none());
                }
                Err(error) if error.is_damage() => {
                    self.pass.rotten += 1;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(newest))
    }

    fn count(&mut self, len: usize, is_rotten: bool) {
        self.pass.rows += 1;
        self.pass.bytes += (KEY_LEN + len) as u64;
        self.pass.rotten += u64::from(is_rotten);
    }
}
