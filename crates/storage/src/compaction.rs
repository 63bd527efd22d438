//! Compaction: forgetting what no reader can ask for any more.
//!
//! Asking for it takes effect at once: reads below the revision fail. The rows go later and in slices, so that readers that
//! had begun finish ([`GRACE_MS`]) and writers are not held up. What remains of a row whose values are partly needed is
//! rewritten as a remainder. A slice forgets whole keys' histories together with the rows they are in, as one batch: a crash
//! between slices leaves nothing that a replay could bring back to life.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use tombolo_crdt::{Chain, Element, LeaseRef, Operation, Record, RecordHeader, VersionVector};

use crate::{
    CommitError, Committer, ReadError, WallTime,
    engine::Change,
    index::{Index, Touch, View, own_key},
    row::{
        Kind,
        commit::{self, CommitRow, Effect, Part},
    },
    view::read_row,
};

/// Milliseconds for which history stays on disk after it was compacted away: for reads that had begun before.
const GRACE_MS: u64 = 30_000;
/// Commit rows looked at in one slice.
const SLICE_ROWS: usize = 256;

/// What compaction has still to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compaction {
    /// Commits up to which rows may be missing or reduced.
    horizon: u64,
    /// The sweep under way or waiting for its time.
    sweep: Option<Sweep>,
}

#[derive(Clone, Debug)]
struct Sweep {
    not_before: WallTime,
    /// The oldest readable revision.
    revision: i64,
    /// The last commit to look at.
    horizon: u64,
    /// The next commit to look at.
    next: u64,
}

impl Compaction {
    /// Compaction as a reopened store finds it: whatever was left undone is done again, from the beginning.
    pub(crate) fn resume(wall: WallTime, revision: i64, horizon: u64) -> Self {
        let sweep = (horizon > 0).then_some(Sweep { not_before: wall, revision, horizon, next: 1 });
        Self { horizon, sweep }
    }

    pub(crate) fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Plans to drop what lies below `revision`. A sweep that is under way or waiting is widened.
    pub(crate) fn schedule(&mut self, wall: WallTime, revision: i64, horizon: u64) {
        let next = self.sweep.as_ref().map_or(self.horizon + 1, |sweep| sweep.next.min(self.horizon + 1));
        self.horizon = horizon;
        self.sweep = Some(Sweep { not_before: WallTime(wall.0 + GRACE_MS), revision, horizon, next });
    }
}

impl Committer {
    /// Housekeeping between groups: drops compacted history in slices. Returns whether more is due now.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); or a damaged row, which stays where it is.
    pub fn maintain(&mut self, wall: WallTime) -> Result<bool, CommitError> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(CommitError::Poisoned { cause });
        }
        let Some(sweep) = self.compaction.sweep.clone() else { return Ok(false) };
        if wall < sweep.not_before || !self.staged.changes.is_empty() {
            return Ok(false);
        }
        let last = sweep.next.saturating_add(SLICE_ROWS as u64 - 1).min(sweep.horizon);
        let changes = self.sweep_rows(sweep.next, last, sweep.revision)?;
        self.write(changes)?;
        self.compaction.sweep = (last < sweep.horizon).then_some(Sweep { next: last + 1, ..sweep });
        if self.compaction.sweep.is_none() {
            self.drop_old_bases()?;
        }
        self.shared.state.write().row_bytes = self.row_bytes;
        Ok(self.compaction.sweep.is_some())
    }

    /// Looks at a stretch of rows and returns what to do: drop them, reduce them, or drop or reduce earlier rows whose values
    /// they replaced.
    fn sweep_rows(&mut self, first: u64, last: u64, revision: i64) -> Result<Vec<Change>, ReadError> {
        let mut rows = Vec::new();
        {
            let snapshot = self.shared.engine.snapshot();
            for row in snapshot.scan(&commit::key(first), &commit::key(last + 1)) {
                let (key, row) = row?;
                let number = Kind::Commit.number(&key).ok_or(ReadError::Rot { commit: first })?;
                rows.push((number, CommitRow::decode(&row, number)?));
            }
        }
        let mut affected: BTreeSet<u64> = rows.iter().map(|(number, _)| *number).collect();
        {
            let index = &mut self.shared.state.write().index;
            for key in rows.iter().flat_map(|(_, row)| keys(row)) {
                affected.extend(forget(index, &key, revision));
            }
            // The row of a grant goes no later than the row that ended it, or a replay would grant the lease again.
            self.head.ended_grants.retain(|ended| {
                let is_due = ended.by <= last;
                affected.extend(is_due.then_some(ended.grant));
                !is_due
            });
        }
        let mut changes = Vec::new();
        for number in affected.into_iter().filter(|number| *number <= last) {
            let row = match rows.iter().find(|(at, _)| *at == number) {
                Some((_, row)) => row.clone(),
                None if self.shared.engine.get(&commit::key(number))?.is_none() => continue,
                None => read_row(&*self.shared.engine, number)?,
            };
            changes.extend(self.reduce(number, &row));
        }
        Ok(changes)
    }

    /// What becomes of a row: nothing when all of it is needed, a remainder, or its end.
    fn reduce(&mut self, number: u64, row: &CommitRow) -> Option<Change> {
        let before = row.encode(number).len() as u64;
        let index = &self.shared.state.read().index;
        let is_needed = |element: Element, operation: &Operation| match operation {
            Operation::Put { key, .. } => holds(index, key, number, element),
            Operation::LeaseGrant { id, .. } => {
                let lease = LeaseRef { home: element.dot.replica, id: *id };
                index.lease(lease).is_some_and(|entry| entry.grants.iter().any(|(grant, _)| *grant == element))
            }
            _ => false,
        };
        let mut needed = HashSet::new();
        let mut adds = 0;
        for part in &row.parts {
            for (at, operation) in part.numbered().filter(|(_, operation)| operation.adds() > 0) {
                adds += 1;
                let element = part.dot().element(at);
                if is_needed(element, operation) {
                    needed.insert(element);
                }
            }
        }
        if needed.is_empty() && !uncovers(index, row, number) {
            self.row_bytes = self.row_bytes.saturating_sub(before);
            return Some(Change::Remove(commit::key(number)));
        }
        if needed.len() == adds && !removes(row) {
            return None;
        }
        let rest = remainder(row, number, &needed);
        if rest == *row {
            return None;
        }
        let rest = rest.encode(number);
        self.row_bytes = self.row_bytes.saturating_sub(before) + rest.len() as u64;
        Some(Change::Put(commit::key(number), rest))
    }

    /// Drops the base rows before the newest.
    fn drop_old_bases(&mut self) -> Result<(), CommitError> {
        let keys = {
            let snapshot = self.shared.engine.snapshot();
            let rows = snapshot.scan(&Kind::Base.key(0), &Kind::Base.end());
            rows.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<Bytes>, _>>().map_err(ReadError::from)?
        };
        let old = keys.len().saturating_sub(1);
        let changes: Vec<Change> = keys.into_iter().take(old).map(Change::Remove).collect();
        if changes.is_empty() { Ok(()) } else { self.write(changes) }
    }
}

/// Forgets a key's history below `revision`, all but what was visible at it, and returns the commits that lost something.
fn forget(index: &mut Index, key: &[u8], revision: i64) -> Vec<u64> {
    let Some(entry) = index.entry_if_present(key) else { return Vec::new() };
    let is_kept_by = |touch: &Touch| touch.revision != 0 && touch.revision <= revision;
    let Some(newest) = entry.touches.iter().rposition(is_kept_by) else { return Vec::new() };
    let mut lost = Vec::new();
    let mut at = 0;
    let live: HashSet<u64> = entry.register.siblings().map(|(_, sibling)| sibling.value.commit).collect();
    entry.touches.retain(|touch| {
        let is_kept = at > newest || (at == newest && touch.view != View::Gone) || live.contains(&touch.commit);
        at += 1;
        if !is_kept {
            lost.push(touch.commit);
            if let View::Shown(shown) = touch.view {
                lost.push(shown.at.commit);
            }
        }
        is_kept
    });
    index.forget_if_empty(key);
    lost
}

/// Whether a value of a row is still needed: it is live, or it is what some readable revision shows.
fn holds(index: &Index, key: &[u8], number: u64, element: Element) -> bool {
    let Some(entry) = index.get(key) else { return false };
    entry.register.siblings().any(|(live, sibling)| live == element && sibling.value.commit == number)
        || entry.touches.iter().any(|touch| matches!(touch.view, View::Shown(s) if s.at.element == element))
}

/// Whether a row shows, at a readable revision, a value that is in an earlier row.
fn uncovers(index: &Index, row: &CommitRow, number: u64) -> bool {
    row.effects.iter().any(|effect| match effect {
        Effect::Show { key, at, .. } if at.commit != number => {
            index.get(key).is_some_and(|entry| entry.touches.iter().any(|touch| touch.commit == number))
        }
        _ => false,
    })
}

/// The part of a row that is still needed.
fn remainder(row: &CommitRow, number: u64, needed: &HashSet<Element>) -> CommitRow {
    let parts: Vec<Part> = row.parts.iter().map(|part| reduced(part, needed)).collect();
    let effects = row.effects.iter().filter(|effect| match effect {
        Effect::Show { at, .. } => at.commit != number || needed.contains(&at.element),
        Effect::Gone { .. } => false,
    });
    CommitRow { revision: row.revision, effects: effects.cloned().collect(), cleared: Vec::new(), parts }
}

fn reduced(part: &Part, needed: &HashSet<Element>) -> Part {
    let dot = part.dot();
    let (mut indices, mut operations) = (Vec::new(), Vec::new());
    for (index, operation) in
        part.numbered().filter(|(index, op)| op.adds() > 0 && needed.contains(&dot.element(*index)))
    {
        indices.push(index);
        operations.push(match operation.clone() {
            // What it replaced is gone too.
            Operation::Put { key, value, lease, .. } => Operation::Put { key, value, lease, supersedes: Vec::new() },
            other => other,
        });
    }
    let header =
        RecordHeader { context_delta: VersionVector::new(), chain: Chain::BEGINNING, ..part.record.header.clone() };
    let mut record = Record { header, operations };
    let (bytes, chain) = record.encode(&Chain::BEGINNING);
    record.header.chain = chain;
    Part { layer: part.layer, record, bytes, indices: Some(indices) }
}

/// The keys that a row touches.
fn keys(row: &CommitRow) -> Vec<Bytes> {
    let operations = row.parts.iter().flat_map(|part| &part.record.operations);
    let named = operations.filter_map(|operation| match operation {
        Operation::Put { key, .. } | Operation::Remove { key, .. } => Some(own_key(key)),
        _ => None,
    });
    named.chain(row.cleared.iter().map(|cleared| own_key(&cleared.key))).collect()
}

/// Whether a row did anything but add.
fn removes(row: &CommitRow) -> bool {
    let mut operations = row.parts.iter().flat_map(|part| &part.record.operations);
    !row.cleared.is_empty() || operations.any(|operation| operation.adds() == 0)
}
