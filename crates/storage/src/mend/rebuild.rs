//! Applying rows again, up to those that have rotted, and making these anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Record, ReplicaId};

use super::{Material, MendError, MendedRow, reduced::remake, survey::Survey};
use crate::{
    OpenError, ReadError, Revision,
    engine::Snapshot,
    folder::Owner,
    head::Head,
    merge::{Merge, Merged},
    recover::{Recovered, Sought},
    row::{
        Tally,
        commit::{self, CommitRow, Layer, Part},
    },
    rows::NumberedRows,
};

/// Makes the rotten rows of a survey again.
pub(crate) fn rebuild(
    snapshot: &dyn Snapshot,
    owner: &Owner,
    survey: &Survey,
    given: &BTreeMap<Dot, Material>,
) -> Result<Vec<MendedRow>, MendError> {
    let (mut again, made) = make_all(snapshot, owner, survey, given)?;
    // One row further: it may be of the same author, and then says whether the record was the right one.
    let next = again.recovered.head.commit + 1;
    again.take_all(snapshot, next, next)?;
    Ok(made)
}

/// The same where nothing but the rows themselves can prove it: all of those up to `last` are applied, each record must be continued as its
/// author continued it and each row as the next one says, and where the order of records cannot be told for certain the row has to carry its
/// old hash. `reached` says whether what came out in the end is all that there was.
pub(crate) fn rebuild_proven(
    snapshot: &dyn Snapshot,
    owner: &Owner,
    survey: &Survey,
    given: &BTreeMap<Dot, Material>,
    last: u64,
    reached: impl Fn(&Head) -> bool,
) -> Result<Vec<MendedRow>, MendError> {
    let (mut again, made) = make_all(snapshot, owner, survey, given)?;
    again.take_all(snapshot, again.recovered.head.commit + 1, last)?;
    let commit = made.last().map_or(last, |row| row.commit);
    again.recovered.finish().map_err(unreadable)?;
    let carries_its_hash = |row: &&MendedRow| {
        let stored = snapshot.get(&commit::key(row.commit)).ok().flatten();
        stored.is_some_and(|stored| Tally::of(&stored).hashes == Tally::of(&row.row).hashes)
    };
    let guessed = |row: &&MendedRow| again.guessed.contains(&row.commit);
    if let Some(MendedRow { commit, .. }) = made.iter().filter(guessed).find(|row| !carries_its_hash(row)) {
        return Err(MendError::Unproven { commit: *commit });
    }
    if reached(&again.recovered.head) { Ok(made) } else { Err(MendError::Unproven { commit }) }
}

fn make_all(
    snapshot: &dyn Snapshot,
    owner: &Owner,
    survey: &Survey,
    given: &BTreeMap<Dot, Material>,
) -> Result<(Again, Vec<MendedRow>), MendError> {
    let recovered = Recovered::begin(snapshot, owner).map_err(unreadable)?;
    let (chains, used, guessed) = Default::default();
    let mut again = Again { recovered, chains, used, guessed, made: None };
    let mut made = Vec::new();
    let mut next = 1;
    for &rotten in survey.reduced() {
        again.take_all(snapshot, next, rotten - 1)?;
        let dot = survey.known(rotten).ok_or(MendError::Compacted { commit: rotten })?;
        let material = given.get(&dot).ok_or(MendError::Lacking { dot })?;
        let row = remake(survey, rotten, material, again.recovered.head.revision)?;
        again.take(rotten, &row)?;
        made.push(MendedRow { commit: rotten, row, swept: survey.swept() });
        next = rotten + 1;
    }
    for &rotten in survey.whole() {
        again.take_all(snapshot, next, rotten - 1)?;
        let is_above = again.recovered.reach(rotten)?;
        let log = &again.recovered.head.mesh;
        let can_follow = |record: &Record| !is_above || log.gate(&record.header).is_ok();
        let (material, is_certain) = survey.choose(rotten, given, &again.used, can_follow)?;
        // Below the base its sum of rows decides.
        if is_above && !is_certain {
            again.guessed.insert(rotten);
        }
        let row = again.make(rotten, is_above, material, survey.revision(rotten))?;
        made.push(MendedRow { commit: rotten, row, swept: survey.swept() });
        next = rotten + 1;
    }
    Ok((again, made))
}

/// A store that comes into being again.
struct Again {
    recovered: Recovered,
    /// Where the streams stand of which a record was put back.
    chains: HashMap<ReplicaId, Chain>,
    /// The records that were put back.
    used: BTreeSet<Dot>,
    /// The rows that could have held another record as well.
    guessed: BTreeSet<u64>,
    /// The row before, when it was made again, and the revision after it.
    made: Option<(u64, Revision)>,
}

impl Again {
    /// Applies the rows from one to another, which are sound.
    fn take_all(&mut self, snapshot: &dyn Snapshot, first: u64, last: u64) -> Result<(), MendError> {
        for row in NumberedRows::commits(snapshot, first, last).readable() {
            let (number, row) = row?;
            self.take(number, &row)?;
        }
        Ok(())
    }

    fn take(&mut self, number: u64, stored: &Bytes) -> Result<(), MendError> {
        let row = CommitRow::decode(stored, number)?;
        if let Some((commit, revision)) = self.made.take()
            && row.parts.iter().all(|part| part.indices.is_none())
        {
            let taken = i64::from(!row.effects.is_empty());
            // An import gives revisions of its own.
            if row.revision.get() - taken < revision.get() {
                return Err(MendError::Unproven { commit });
            }
        }
        for part in row.parts.iter().filter(|part| part.indices.is_none()) {
            let dot = part.dot();
            if let Some(chain) = self.chains.remove(&dot.replica)
                && !Record::follows(&part.bytes, &chain)
            {
                return Err(MendError::Foreign { dot: Dot::new(dot.replica, dot.seq - 1) });
            }
        }
        self.recovered.apply(number, &row, Sought::default())?;
        self.recovered.tally.add(Tally::of(stored));
        Ok(())
    }

    /// Applies a record as the commit of this number, and returns its row.
    fn make(
        &mut self,
        number: u64,
        is_above: bool,
        material: &Material,
        revision: Option<Revision>,
    ) -> Result<Bytes, MendError> {
        let Material { bytes, record, context, indices } = material.clone();
        let dot = record.header.dot;
        // What is left of a record says nothing of what it removed.
        if indices.is_some() {
            return Err(MendError::Compacted { commit: number });
        }
        self.used.insert(dot);
        let head = &mut self.recovered.head;
        // Where the streams are known, the record continues its author's.
        let before = self.chains.get(&dot.replica).copied();
        let before = before.or_else(|| is_above.then(|| head.mesh.chain(dot.replica)));
        if before.is_some_and(|chain| !Record::follows(&bytes, &chain))
            || (is_above && head.mesh.gate(&record.header).is_err())
        {
            return Err(MendError::Foreign { dot });
        }
        self.chains.insert(dot.replica, record.header.chain);
        let mut part = Part { layer: Layer::Mesh, record, bytes, indices: None, context: None, is_unbound: false };
        if part.removes_ranges() {
            part.context = if is_above { Some(head.mesh.context(&part.record.header)) } else { context };
        }
        let next = revision.or_else(|| head.revision.next()).ok_or(MendError::Unproven { commit: number })?;
        let mut merge = Merge::fresh(head, &mut self.recovered.index, number, next);
        merge.part(&part);
        let Merged { cleared, effects, .. } = merge.finish();
        if is_above {
            head.mesh.advance(&part.record.header);
        }
        head.commit = number;
        if !effects.is_empty() {
            head.revision = next;
        }
        self.recovered.index.departed.forget(number);
        self.made = Some((number, head.revision));
        let row = CommitRow {
            revision: head.revision,
            parts: vec![part],
            cleared,
            effects,
            ordinals: Vec::new(),
            apart: Default::default(),
        };
        let row = row.encode(number);
        self.recovered.tally.add(Tally::of(&row));
        Ok(row)
    }
}

fn unreadable(error: OpenError) -> MendError {
    match error {
        OpenError::Engine(error) => ReadError::Engine(error).into(),
        _ => ReadError::Rot { commit: 0 }.into(),
    }
}
