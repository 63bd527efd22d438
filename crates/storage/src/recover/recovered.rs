//! From rows back to the head state: the rows are applied in order over what the newest base row says.
//!
//! Up to where compaction has come rows may be missing, above it they are dense. What comes out is what the rows say; whether anyone may go on
//! writing after it is for the caller to judge.

use std::{collections::BTreeSet, sync::mpsc, thread};

use bytes::Bytes;
use tombolo_crdt::Clock;

use super::unreadable;
use crate::{
    OpenError, ReadError, Revision, bases,
    committer::unknown_kind,
    digest::Digest,
    engine::{Engine, Snapshot},
    fence::Position,
    folder::{Folder, Owner, damaged},
    head::Head,
    index::Index,
    lease_homes::LeaseHomes,
    log::Log,
    milestones::Milestones,
    row::{
        Tally,
        base::{BaseRow, Progress},
        commit::{CommitRow, Layer, Part},
    },
    rows::NumberedRows,
    since_base::SinceBase,
    succession::Estate,
    system::SystemRegisters,
};

/// Rows handed over at a time from the thread that reads and checks them to the one that applies them.
const HANDOVER_ROWS: usize = 512;

/// What was found in the rows.
pub(crate) struct Recovered {
    pub(crate) head: Head,
    pub(crate) index: Index,
    pub(super) base: Option<(u64, BaseRow)>,
    pub(crate) tally: Tally,
    pub(super) milestones: Milestones,
    /// The chains at the commit the fence speaks of, if its row is whole.
    pub(super) fenced: Option<[Option<Position>; 2]>,
    /// The revision after the last row; `None` where there is none.
    logged: Option<Revision>,
    /// The revision after the last record of our own that nobody disputes, if its row is there.
    undisputed: Option<Revision>,
}

/// What is looked for in the rows besides the state.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sought {
    /// The commit that the fence speaks of.
    fenced_commit: u64,
    /// The last record of our own that nobody disputes.
    common: u64,
}

impl Sought {
    pub(super) fn of(folder: Option<&Folder>) -> Self {
        let common = |folder: &Folder| folder.dispute.as_ref().map_or(0, |dispute| dispute.common);
        folder.map_or(Self::default(), |folder| Self { fenced_commit: folder.fence.commit, common: common(folder) })
    }
}

/// Reads every row up to `last` and applies it; `index` is the empty one to begin with.
pub(super) fn replay(
    engine: &dyn Engine,
    owner: &Owner,
    sought: Sought,
    index: Index,
    last: u64,
) -> Result<Recovered, OpenError> {
    let begins = owner.numbers.begins;
    let mut recovered = Recovered::over(bases::newest(&*engine.snapshot(), owner)?, owner, index);
    let result: Result<(), OpenError> = thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(4);
        scope.spawn(move || read_rows(engine, last, &sender));
        for rows in receiver {
            for (number, size, row) in rows.map_err(unreadable)? {
                check_kinds(number, &row)?;
                recovered.apply(number, &row, sought).map_err(unreadable)?;
                recovered.tally.add(size);
            }
        }
        Ok(())
    });
    result?;
    recovered.finish()?;
    recovered.logged = (recovered.head.commit > 0).then_some(recovered.head.revision);
    // What was counted by forebears lies below: from here on it is counted from there.
    recovered.head.revision = recovered.head.revision.max(begins);
    Ok(recovered)
}

/// A row with its number and what it adds to the sum.
type ReadRow = (u64, Tally, CommitRow);

/// Reads and checks rows beside the thread that applies them: each is about half the work.
fn read_rows(engine: &dyn Engine, last: u64, sender: &mpsc::SyncSender<Result<Vec<ReadRow>, ReadError>>) {
    let snapshot = engine.snapshot();
    let mut rows = NumberedRows::commits(&*snapshot, 0, last).readable();
    loop {
        let some: Result<Vec<ReadRow>, ReadError> = rows.by_ref().take(HANDOVER_ROWS).map(read_row).collect();
        let is_last = !matches!(&some, Ok(rows) if rows.len() == HANDOVER_ROWS);
        // The other side hangs up at the first damage it finds.
        if sender.send(some).is_err() || is_last {
            return;
        }
    }
}

fn read_row(row: Result<(u64, Bytes), ReadError>) -> Result<ReadRow, ReadError> {
    let (number, row) = row?;
    Ok((number, Tally::of(&row), CommitRow::decode(&row, number)?))
}

/// Only a later version applied what this one cannot interpret.
fn check_kinds(number: u64, row: &CommitRow) -> Result<(), OpenError> {
    let operations = row.parts.iter().flat_map(|part| &part.record.operations);
    match operations.filter_map(unknown_kind).next() {
        Some(kind) => {
            Err(damaged(format!("commit {number} holds an operation of kind {kind}, which is not known here")))
        }
        None => Ok(()),
    }
}

impl Recovered {
    /// Before the first row of a snapshot.
    pub(crate) fn begin(snapshot: &dyn Snapshot, owner: &Owner) -> Result<Self, OpenError> {
        Ok(Self::over(bases::newest(snapshot, owner)?, owner, Index::new(&[0; 32])))
    }

    fn over(base: Option<(u64, BaseRow)>, owner: &Owner, index: Index) -> Self {
        let head = Head {
            commit: 0,
            revision: owner.numbers.begins,
            numbers: owner.numbers.clone(),
            lease_homes: LeaseHomes::default(),
            compacted: base.as_ref().map_or(-1, |(_, base)| base.compacted),
            mesh: Log::new(owner.identity.replica),
            private: Log::new(owner.private),
            clock: Clock::default(),
            digest: Digest::default(),
            orphaned: BTreeSet::new(),
            system: SystemRegisters::default(),
            ended: Vec::new(),
            since_base: SinceBase::at(base.as_ref().map_or(0, |(_, base)| base.commit)),
        };
        let (tally, milestones) = Default::default();
        Self { head, index, base, tally, milestones, fenced: None, logged: None, undisputed: None }
    }

    /// Gets ready for a commit, the next one. Returns whether it is above the base.
    pub(crate) fn reach(&mut self, number: u64) -> Result<bool, ReadError> {
        let base_commit = self.base.as_ref().map_or(0, |(_, base)| base.commit);
        if number > base_commit && self.head.commit <= base_commit {
            self.reach_base()?;
        }
        Ok(number > base_commit)
    }

    pub(crate) fn apply(&mut self, number: u64, row: &CommitRow, sought: Sought) -> Result<(), ReadError> {
        let nothing = Progress::default();
        let (base_commit, progress) =
            self.base.as_ref().map_or((0, &nothing), |(_, base)| (base.commit, &base.progress));
        let swept = progress.swept;
        let expected = progress.gaps.past(self.head.commit + 1);
        // Rows that compaction has seen may be missing; above them the next one is the next one. A gap may begin right there.
        let dense_from = progress.gaps.past(swept + 1);
        if number < expected || (number > expected && number > dense_from) {
            return Err(ReadError::Rot { commit: expected });
        }
        // Only compactions and transfers leave remainders: one that no base knows of says that the base is lost.
        if (row.is_remainder() || row.is_bare()) && !progress.may_be_reduced(number) {
            return Err(ReadError::Rot { commit: number });
        }
        self.reach(number)?;
        self.head.replay(&mut self.index, number, row);
        self.index.departed.forget(number);
        for part in &row.parts {
            if number > base_commit {
                let log = self.head.log_mut(part.layer);
                log.gate(&part.record.header).map_err(|_| ReadError::Rot { commit: number })?;
                log.advance(&part.record.header);
            }
            if part.dot().replica == self.head.log(part.layer).own() {
                self.head.clock = Clock::resume(self.head.clock.last().max(part.record.header.hlc));
            }
        }
        if number > base_commit {
            self.milestones.note(number, self.head.mesh.frontier(), self.tally.bytes);
        }
        let is_common = |part: &Part| part.dot().replica == self.head.mesh.own() && part.dot().seq <= sought.common;
        if row.parts.iter().any(is_common) {
            self.undisputed = Some(row.revision);
        }
        if number == sought.fenced_commit {
            self.fenced = Some([Layer::Mesh, Layer::Private].map(|layer| self.own_position(row, layer)));
        }
        Ok(())
    }

    /// The position of our own stream if this row moved it.
    fn own_position(&self, row: &CommitRow, layer: Layer) -> Option<Position> {
        let own = self.head.log(layer).own();
        let part = row.parts.iter().find(|part| part.layer == layer && part.dot().replica == own)?;
        part.indices.is_none().then_some(Position { seq: part.dot().seq, chain: part.record.header.chain })
    }

    /// At the base's commit everything must be as the base says; from here on logs advance with the rows.
    fn reach_base(&mut self) -> Result<(), ReadError> {
        let Some((_, base)) = &self.base else { return Ok(()) };
        if self.head.digest.bits() != base.digest || self.tally.hashes != base.rows {
            return Err(ReadError::Rot { commit: base.commit });
        }
        self.head.commit = base.commit;
        self.head.revision = base.revision;
        (self.head.mesh, self.head.private) = (base.mesh.clone(), base.private.clone());
        self.head.clock = Clock::resume(self.head.clock.last().max(base.hlc));
        Ok(())
    }

    /// Whether the log has records of nobody but this replica, and whose past it has.
    pub(super) fn is_alone(&self) -> bool {
        let head = &self.head;
        let is_past = |replica| replica == head.mesh.own() || head.numbers.lineage.inherits_from(replica);
        head.mesh.streams().all(|(last, _)| is_past(last.replica))
    }

    /// What a successor goes on with. Where our records are disputed, only what came before is known to be what clients saw.
    pub(super) fn estate(&self, is_disputed: bool) -> Estate<'_> {
        let head = &self.head;
        let certain = if is_disputed { self.undisputed.unwrap_or(head.numbers.begins) } else { head.revision };
        Estate { head, certain, logged: self.logged }
    }

    /// After the last row: the base may be beyond it, when compaction dropped the last rows.
    pub(crate) fn finish(&mut self) -> Result<(), OpenError> {
        let Some((_, base)) = &self.base else { return Ok(()) };
        let commit = base.commit;
        if self.head.commit > commit {
            return Ok(());
        }
        if self.head.commit < commit && commit > base.progress.swept {
            return Err(unreadable(ReadError::Rot { commit: self.head.commit + 1 }));
        }
        self.reach_base().map_err(unreadable)
    }
}
