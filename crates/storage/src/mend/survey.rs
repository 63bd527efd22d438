//! What is wrong with the rows of a moment, and which records the rotten ones held.
//!
//! Streams are dense, so that a record which is in no row is missed between the rows of its author before and after. Which rotten row held it
//! is said by the index where there is one, and otherwise by where it can have been.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tombolo_crdt::{Dot, Element, Operation, Record, ReplicaId, VersionVector};

use super::{Material, MendError};
use crate::{
    ReadError, Revision,
    engine::Snapshot,
    index::View,
    rot::Needed,
    row::{
        Tally,
        commit::{CommitRow, Layer},
    },
    rows::NumberedRows,
    store::Floor,
};

/// The rows of a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// Rows up to here were compacted.
    swept: u64,
    /// Rows above that are rotten or missing.
    whole: BTreeSet<u64>,
    /// Those below that cannot be read.
    reduced: BTreeSet<u64>,
    missing: Vec<Missing>,
    /// The same of the private layer: no log but ours ever had these.
    at_home: Vec<Missing>,
    /// The last row that can be read of each author.
    ends: BTreeMap<ReplicaId, u64>,
    /// One beyond the last row.
    end: u64,
    /// What the sound rows add up to.
    hashes: u128,
    /// Which rows the records were in that the index knows of.
    known: BTreeMap<u64, Dot>,
    /// The revisions that rotten rows took, as far as the index knows.
    revisions: BTreeMap<u64, Revision>,
    /// The keys that each rotten row touched, when there is an index to say so.
    touched: Option<BTreeMap<u64, BTreeMap<Bytes, View>>>,
    /// The elements that are needed of them.
    elements: BTreeSet<Element>,
}

/// A record that is in no row that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    dot: Dot,
    /// The row with its author's record before.
    after: u64,
    /// The row with its author's next, or one beyond the last.
    before: u64,
}

impl Survey {
    /// Reads all rows up to `last`; `at_home` is the last record of the private layer, where that is known. O(bytes).
    pub(crate) fn take(
        snapshot: &dyn Snapshot,
        floor: &Floor,
        frontier: &VersionVector,
        at_home: Option<Dot>,
        last: u64,
    ) -> Result<Self, ReadError> {
        let mut survey = Self { swept: floor.commit, ..Self::default() };
        let mut seen: BTreeMap<ReplicaId, Dot> = floor.vector.iter().map(|dot| (dot.replica, dot)).collect();
        let mut places: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        let mut next = 1;
        for row in NumberedRows::commits(snapshot, 1, last) {
            let (number, row) = row?;
            survey.whole.extend(floor.gaps.past(next.max(floor.commit + 1))..number);
            next = number + 1;
            let read = row.as_ref().and_then(|row| CommitRow::decode(row, number).ok());
            let Some(read) = read else {
                if number > floor.commit {
                    survey.whole.insert(number)
                } else {
                    survey.reduced.insert(number)
                };
                continue;
            };
            survey.hashes = survey.hashes.wrapping_add(row.map_or(0, |row| Tally::of(&row).hashes));
            if number <= floor.commit {
                continue;
            }
            for part in read.parts.iter().filter(|part| part.indices.is_none()) {
                let dot = part.dot();
                let before = seen.insert(dot.replica, dot).map_or(0, |dot| dot.seq);
                let after = places.insert(dot.replica, number).unwrap_or(floor.commit);
                match part.layer {
                    Layer::Mesh => survey.miss(dot.replica, before + 1..dot.seq, after, number),
                    Layer::Private => survey.miss_at_home(dot, before, after, number),
                }
            }
        }
        if let Some(dot) = at_home {
            let before = seen.get(&dot.replica).map_or(0, |dot| dot.seq);
            let after = places.get(&dot.replica).copied().unwrap_or(floor.commit);
            survey.miss_at_home(Dot::new(dot.replica, dot.seq + 1), before, after, last + 1);
        }
        survey.whole.extend(floor.gaps.past(next.max(floor.commit + 1))..=last);
        for dot in frontier.iter() {
            let before = seen.get(&dot.replica).map_or(0, |dot| dot.seq);
            let after = places.get(&dot.replica).copied().unwrap_or(floor.commit);
            survey.miss(dot.replica, before + 1..dot.seq + 1, after, last + 1);
        }
        (survey.ends, survey.end) = (places, last + 1);
        Ok(survey)
    }

    /// Takes what others have of each author, `frontier` being what is known to have been here. Whose last record lay in a rotten row left
    /// nothing behind that says so.
    pub(crate) fn hear(&mut self, others: &VersionVector, frontier: &VersionVector) {
        if self.is_told() {
            return;
        }
        for dot in others.iter() {
            let (first, after) = (frontier.seq(dot.replica) + 1, self.ends.get(&dot.replica).copied());
            let beyond = dot.seq.min(frontier.seq(dot.replica) + self.whole.len() as u64) + 1;
            self.miss(dot.replica, first..beyond, after.unwrap_or(self.swept), self.end);
        }
    }

    /// Takes note of what lacks between two records of the private layer. Where nothing of it is above the floor nobody knows how much went below.
    fn miss_at_home(&mut self, next: Dot, before: u64, after: u64, place: u64) {
        if before > 0 || self.swept == 0 {
            let missing = |seq| Missing { dot: Dot::new(next.replica, seq), after, before: place };
            self.at_home.extend((before + 1..next.seq).map(missing));
        }
    }

    /// Whether a rotten row held something of the private layer for certain.
    fn is_at_home(&self, commit: u64) -> bool {
        self.at_home.iter().any(|missing| {
            let within = missing.after + 1..missing.before;
            let lacking =
                self.at_home.iter().filter(|other| (other.after, other.before) == (missing.after, missing.before));
            within.contains(&commit) && lacking.count() >= self.whole.range(within).count()
        })
    }

    /// Whether as many records are missed as rows.
    pub(crate) fn is_told(&self) -> bool {
        self.missing.len() + self.at_home.len() >= self.whole.len()
    }

    fn miss(&mut self, replica: ReplicaId, seqs: std::ops::Range<u64>, after: u64, before: u64) {
        self.missing.extend(seqs.map(|seq| Missing { dot: Dot::new(replica, seq), after, before }));
    }

    /// Rows that cannot be read.
    pub(crate) fn unreadable(&self) -> BTreeSet<u64> {
        self.whole.union(&self.reduced).copied().collect()
    }

    /// Takes what readers have missed: below where the log is dense nothing else says that a row was there.
    pub(crate) fn add(&mut self, noted: BTreeSet<u64>) {
        let swept = self.swept;
        self.reduced.extend(noted.into_iter().filter(|commit| *commit <= swept));
    }

    /// Below where the log is dense the engine may not know that there was no row.
    pub(crate) fn leave_out_unneeded(&mut self, needed: &BTreeSet<u64>) {
        self.reduced.retain(|commit| needed.contains(commit));
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.whole.is_empty() && self.reduced.is_empty()
    }

    pub(crate) fn hashes(&self) -> u128 {
        self.hashes
    }

    /// The last commit whose row was compacted.
    pub(crate) fn swept(&self) -> u64 {
        self.swept
    }

    /// The rows that were compacted and cannot be read.
    pub(crate) fn reduced(&self) -> &BTreeSet<u64> {
        &self.reduced
    }

    /// The rows that are to be made again.
    pub(crate) fn whole(&self) -> &BTreeSet<u64> {
        &self.whole
    }

    /// Takes what the index knows of the rotten rows.
    pub(crate) fn note(&mut self, needed: Needed, private: ReplicaId) -> Result<(), MendError> {
        for (&commit, dots) in &needed.dots {
            // What stays at home is in no log but ours.
            if dots.iter().any(|dot| dot.replica == private) {
                return Err(MendError::Private { commit });
            }
            let mut dots = dots.iter();
            let (Some(dot), None) = (dots.next(), dots.next()) else { return Err(MendError::Unknown { commit }) };
            self.known.insert(commit, *dot);
        }
        self.touched = Some(needed.touched);
        self.revisions = needed.revisions;
        self.elements = needed.elements;
        let known: BTreeSet<Dot> = self.known.values().copied().collect();
        self.missing.retain(|missing| !known.contains(&missing.dot));
        Ok(())
    }

    /// The record that the row of a compacted commit held, or something of it.
    pub(crate) fn known(&self, commit: u64) -> Option<Dot> {
        self.known.get(&commit).copied()
    }

    /// Whether an element of a rotten row is live, or shown by a revision that can be read.
    pub(crate) fn needs(&self, element: Element) -> bool {
        self.elements.contains(&element)
    }

    /// What clients see of the keys that a commit touched from it on.
    pub(crate) fn views(&self, commit: u64) -> impl Iterator<Item = (&Bytes, View)> {
        let touched = self.touched.as_ref().and_then(|touched| touched.get(&commit));
        touched.into_iter().flatten().map(|(key, view)| (key, *view)).filter(|(_, view)| *view != View::Unchanged)
    }

    /// The revision that a rotten row took, if the index knows it.
    pub(crate) fn revision(&self, commit: u64) -> Option<Revision> {
        self.revisions.get(&commit).copied()
    }

    /// The records that are needed, ascending.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Dot> {
        let is_asked = |missing: &&Missing| self.whole.range(missing.after + 1..missing.before).next().is_some();
        let missing = self.missing.iter().filter(is_asked).map(|missing| missing.dot);
        let wanted: BTreeSet<Dot> = self.known.values().copied().chain(missing).collect();
        wanted.into_iter()
    }

    /// Which record a rotten row held, those in `used` having been in rows before it. Of several that can have been there, the earliest stamp is
    /// taken to have come first, as a rule it did; whether it did is seen when the rows are proved. Says besides whether it was the only one.
    pub(crate) fn choose<'a>(
        &self,
        commit: u64,
        given: &'a BTreeMap<Dot, Material>,
        used: &BTreeSet<Dot>,
        can_follow: impl Fn(&Record) -> bool,
    ) -> Result<(&'a Material, bool), MendError> {
        if self.is_at_home(commit) {
            return Err(MendError::Private { commit });
        }
        if let Some(&dot) = self.known.get(&commit) {
            let material = given.get(&dot).ok_or(MendError::Lacking { dot })?;
            return Ok((material, true));
        }
        let open = self
            .missing
            .iter()
            .filter(|missing| missing.after < commit && commit < missing.before && !used.contains(&missing.dot));
        let fitting = open
            .clone()
            .filter_map(|missing| Some((missing, given.get(&missing.dot)?)))
            .filter(|(_, material)| can_follow(&material.record) && self.fits(commit, &material.record));
        // Nobody may wait beyond its author's next record.
        let is_late = |missing: &Missing| {
            let waiting = open.clone().filter(|other| other.before <= missing.before).count();
            waiting >= self.whole.range(commit..missing.before).filter(|at| !self.known.contains_key(at)).count()
        };
        let is_only = fitting.clone().count() == 1;
        let chosen =
            fitting.min_by_key(|(missing, material)| (!is_late(missing), material.record.header.hlc, missing.dot));
        if let Some((_, material)) = chosen {
            return Ok((material, is_only));
        }
        let lacking = open.clone().find(|missing| !given.contains_key(&missing.dot));
        Err(lacking.map_or(MendError::Unknown { commit }, |missing| MendError::Lacking { dot: missing.dot }))
    }

    /// Whether a record touches the keys that the index says were touched by this commit.
    fn fits(&self, commit: u64, record: &Record) -> bool {
        let Some(touched) = &self.touched else { return true };
        let nothing = BTreeMap::new();
        let touched = touched.get(&commit).unwrap_or(&nothing);
        let mut named = BTreeSet::new();
        for operation in &record.operations {
            match operation {
                Operation::Put { key, .. } | Operation::Remove { key, .. } => drop(named.insert(key)),
                // What a range held is not said.
                Operation::RangeRemove(_) => return true,
                _ => {}
            }
        }
        named.into_iter().eq(touched.keys())
    }
}
