//! Compaction: forgetting what no reader can ask for any more.
//!
//! Asking for it takes effect at once: reads below the revision fail. The rows go later and in slices, so that readers that
//! had begun finish ([`GRACE_MS`]) and writers are not held up. What remains of a row whose values are partly needed is
//! rewritten as a remainder. A slice forgets whole keys' histories together with the rows they are in, as one batch: a crash
//! between slices leaves nothing that a replay could bring back to life.

use std::collections::BTreeSet;

use bytes::Bytes;
use tombolo_crdt::{VersionVector, mutation::Mutation};

use self::reduce::{Fate, Needs, fate, forget, keys, unlink};
use crate::{
    CommitError, Committer, ReadError, WallTime, bases,
    engine::Change,
    heads,
    log_held::Held,
    row::{
        Kind, Tally,
        base::{BaseRow, Progress},
        commit::{self, CommitRow, Layer},
    },
    store::State,
};

mod ask;
mod reduce;

/// Milliseconds for which history stays on disk after it was compacted away: for reads that had begun before.
const GRACE_MS: u64 = 30_000;
/// Commit rows looked at in one slice.
const SLICE_ROWS: u64 = 256;

/// What compaction has still to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compaction {
    /// The newest base, and the ordinal of its row.
    base: Option<(u64, BaseRow)>,
    /// Ordinals of base rows that it replaced and that are still there.
    obsolete: Vec<u64>,
    /// The sweep under way, or waiting for its time.
    sweep: Option<Sweep>,
    /// One that was asked for before that one had ended. Whoever asks often does not put the work off for ever.
    after: Option<Sweep>,
    /// Rows of signed heads up to the last commit swept that are still there.
    lingering: BTreeSet<u64>,
    /// Commits whose keys' histories are forgotten and whose rows are still to be looked at: a slice that meets a damaged row is tried again.
    owed: BTreeSet<u64>,
}

/// A stretch of rows to look at.
#[derive(Clone, Debug)]
struct Sweep {
    /// When it was asked for; `None` when that was before the store was opened.
    asked: Option<WallTime>,
    /// The oldest readable revision.
    revision: i64,
    /// The first commit of that revision.
    first: u64,
    /// The last commit to look at.
    horizon: u64,
    /// The next commit to look at.
    next: u64,
}

impl Sweep {
    fn of(base: &BaseRow, asked: Option<WallTime>) -> Option<Self> {
        let &BaseRow { compacted: revision, first, horizon, ref progress, .. } = base;
        // One that was asked of an empty log leaves 0 behind, and no commit has that number.
        let next = progress.next.max(1);
        (next <= horizon).then_some(Self { asked, revision, first, horizon, next })
    }

    /// Whether readers that had begun before it was asked for have had their time. A clock that was set back does not delay it.
    fn is_due(&self, wall: WallTime) -> bool {
        self.asked.is_none_or(|asked| wall.0.abs_diff(asked.0) >= GRACE_MS)
    }

    /// Where the sweep after this one begins. The revision this one leaves readable keeps what only it is asked for.
    fn successor_starts(&self) -> u64 {
        self.next.min(self.first)
    }
}

impl Compaction {
    /// Compaction as a reopened store finds it: nobody is reading, and what was left undone goes on at once.
    pub(crate) fn resume(base: Option<(u64, BaseRow)>, obsolete: Vec<u64>, lingering: BTreeSet<u64>) -> Self {
        let sweep = base.as_ref().and_then(|(_, base)| Sweep::of(base, None));
        Self { base, obsolete, sweep, after: None, lingering, owed: BTreeSet::new() }
    }

    /// The last commit of the oldest readable revision.
    pub(crate) fn horizon(&self) -> u64 {
        self.base.as_ref().map_or(0, |(_, base)| base.horizon)
    }

    /// Takes note of rows of signed heads that have gone, and of those up to the last commit swept that were written anew.
    pub(crate) fn linger(&mut self, gone: &BTreeSet<u64>, written: impl Iterator<Item = u64>) {
        self.lingering.retain(|number| !gone.contains(number));
        self.lingering.extend(written);
    }

    /// The last commit whose row may be missing or reduced.
    pub(crate) fn swept(&self) -> u64 {
        self.base.as_ref().map_or(0, |(_, base)| base.progress.swept)
    }

    /// The first number from `commit` on that a commit may have.
    fn past_gap(&self, commit: u64) -> u64 {
        self.base.as_ref().map_or(commit, |(_, base)| base.progress.gaps.past(commit))
    }

    /// The newest base, with its ordinal.
    pub(crate) fn base(&self) -> Option<&(u64, BaseRow)> {
        self.base.as_ref()
    }

    /// What has been asked for and is still to do.
    pub(crate) fn held(&self) -> Held {
        let next = self.sweep.as_ref().map_or(0, |sweep| sweep.next);
        let last = self.after.as_ref().or(self.sweep.as_ref()).map_or(0, |sweep| sweep.horizon);
        if self.sweep.is_some() { Held { next, last } } else { Held { next: 1, last: 0 } }
    }

    /// What the next base takes over of this one.
    pub(crate) fn progress(&self) -> Progress {
        let Some((_, base)) = &self.base else { return Progress::default() };
        let next = match (&self.after, &self.sweep) {
            (Some(after), _) => after.next,
            (None, Some(sweep)) => sweep.successor_starts(),
            (None, None) => base.first.min(base.horizon + 1),
        };
        Progress { next, ..base.progress.clone() }
    }

    /// Plans to drop what lies below a new base, and returns how to write it.
    pub(crate) fn ask(&mut self, wall: WallTime, base: BaseRow) -> [Change; 2] {
        let sweep = Sweep::of(&base, Some(wall));
        if self.sweep.is_none() {
            self.sweep = sweep;
        } else {
            self.after = sweep;
        }
        self.replace_base(base)
    }

    /// What is known of compaction, for a base that changes nothing about it.
    pub(crate) fn standing(&self) -> (i64, u64, u64, Progress) {
        let Some((_, base)) = &self.base else { return (-1, 1, 0, Progress::default()) };
        (base.compacted, base.first, base.horizon, base.progress.clone())
    }

    /// Takes a base that only says anew where everything stood, and returns how to write it. The sweep goes on.
    pub(crate) fn restate(&mut self, base: BaseRow) -> [Change; 2] {
        self.replace_base(base)
    }

    /// The old one stays until a slice is written: it may be in the same group, and no batch names a row twice.
    fn replace_base(&mut self, base: BaseRow) -> [Change; 2] {
        let ordinal = self.base.as_ref().map_or(1, |(ordinal, _)| ordinal + 1);
        let written = bases::put(ordinal, &base);
        self.obsolete.extend(self.base.replace((ordinal, base)).map(|(old, _)| old));
        written
    }

    /// Takes note that the rows up to `last` are swept, and returns how to write that down.
    fn advance(&mut self, last: u64, slice: &Slice) -> Vec<Change> {
        self.owed.clear();
        let Some((_, mut base)) = self.base.clone() else { return Vec::new() };
        base.progress.swept = base.progress.swept.max(last);
        base.progress.floor.join(&slice.dots);
        base.progress.received.retain(|(_, received)| *received > last);
        base.progress.gaps.0.retain(|(_, gap)| *gap > last);
        base.rows = base.rows.wrapping_add(slice.added.hashes).wrapping_sub(slice.dropped.hashes);
        if self.after.is_none() {
            base.progress.next = last + 1;
        }
        self.sweep = self.sweep.take().filter(|sweep| last < sweep.horizon).map(|s| Sweep { next: last + 1, ..s });
        self.sweep = self.sweep.take().or_else(|| self.after.take());
        let written = self.replace_base(base);
        let obsolete = self.obsolete.drain(..).flat_map(bases::remove);
        written.into_iter().chain(obsolete).collect()
    }

    /// Tells readers where cuts and the log begin.
    pub(crate) fn tell(&self, state: &mut State) {
        state.held = self.held();
        let Some((ordinal, base)) = &self.base else { return };
        state.base_ordinal = *ordinal;
        state.cuts_from = base.mesh.frontier().clone();
        state.floor = base.floor();
    }

    fn due(&self, wall: WallTime) -> Option<&Sweep> {
        self.sweep.as_ref().filter(|sweep| sweep.is_due(wall))
    }
}

/// What one slice of a sweep does.
#[derive(Default)]
struct Slice {
    changes: Vec<Change>,
    dropped: Tally,
    added: Tally,
    /// The mesh layer's records that are no longer whole.
    dots: VersionVector,
}

/// A row as it is stored, and as it reads.
type StoredRow = (Bytes, CommitRow);

impl Committer {
    /// Housekeeping, between groups or beside them: brings the disk up to date when the durability says so, and drops compacted history in
    /// slices. It may execute a commit, which [`pending`](Self::pending) tells of and the next group takes along. Returns whether more is due
    /// now.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); or a damaged row, which stays where it is.
    pub fn maintain(&mut self, wall: WallTime) -> Result<bool, CommitError> {
        self.check_health()?;
        self.wall = wall;
        self.sync_if_due(wall)?;
        self.space.refresh(wall, self.tally.bytes, &self.shared.health);
        self.remove_orphans()?;
        let is_more_staged = self.remove_staged()?;
        self.mend_base()?;
        self.join_signatures()?;
        if self.staged.holds_base() || self.beside.is_some() {
            return Ok(is_more_staged);
        }
        let Some(sweep) = self.compaction.due(wall).cloned() else { return Ok(is_more_staged) };
        let from = self.compaction.past_gap(sweep.next);
        let last = from.saturating_add(SLICE_ROWS - 1).min(sweep.horizon).min(self.sweeps_up_to());
        if last < sweep.next {
            return Ok(is_more_staged);
        }
        let slice = self.slice(&sweep, last);
        let mut slice = self.shared.noting(slice)?;
        let mut changes = std::mem::take(&mut slice.changes);
        changes.extend(self.superfluous_heads(sweep.next, last)?);
        if Mutation::SweptInPieces.is_on() {
            self.write(std::mem::take(&mut changes), self.shared.durability.persist())?;
        }
        changes.extend(self.compaction.advance(last, &slice));
        self.bind();
        self.tally.add(slice.added);
        self.tally.remove(slice.dropped);
        // Before the rows go: who looks in between must not find them missing.
        self.publish_slice();
        self.write(changes, self.shared.durability.persist())?;
        let is_more_due = self.compaction.due(wall).is_some_and(|sweep| sweep.next <= self.sweeps_up_to());
        Ok(is_more_staged || is_more_due)
    }

    /// The last commit that no peer may still need, or for which there is no room.
    fn sweeps_up_to(&self) -> u64 {
        let (applied, base) = (self.shared.applied_by_peers.lock(), &self.compaction.base);
        let (Some(applied), Some((_, base))) = (&*applied, base) else { return u64::MAX };
        if applied.includes(base.mesh.frontier()) || self.shared.health.is_over_quota() {
            return u64::MAX;
        }
        let (state, held) = (self.shared.state.read(), self.compaction.held());
        let is_within = state.log_bytes(held.next..=held.last) <= self.shared.log_budget_bytes;
        if is_within { state.milestones.covered(applied) } else { u64::MAX }
    }

    /// Of the signed heads in a stretch of the log that is going only each author's newest are kept. What is not published may be
    /// lost in a crash: it makes nothing superfluous.
    fn superfluous_heads(&mut self, from: u64, last: u64) -> Result<Vec<Change>, ReadError> {
        let state = self.shared.state.read();
        heads::sweep(
            &*self.shared.engine,
            &state.heads,
            &self.shared.rotten_signatures(),
            &mut self.compaction.lingering,
            from,
            last,
        )
    }

    fn publish_slice(&mut self) {
        let mut state = self.shared.state.write();
        state.freed_bytes += state.row_bytes.saturating_sub(self.tally.bytes);
        state.row_bytes = self.tally.bytes;
        state.row_hashes = self.tally.hashes;
        self.compaction.tell(&mut state);
    }

    /// Looks at a stretch of rows and returns what to do: drop them, reduce them, or drop or reduce earlier rows whose values
    /// they replaced.
    fn slice(&mut self, sweep: &Sweep, last: u64) -> Result<Slice, ReadError> {
        let rows = self.stored_rows(sweep.next, last)?;
        let affected = self.forget(&rows, sweep, last);
        let mut slice = Slice::default();
        for (_, (_, row)) in &rows {
            for part in row.parts.iter().filter(|part| part.layer == Layer::Mesh) {
                slice.dots.raise(part.dot().replica, part.dot().seq);
            }
        }
        for number in affected {
            let earlier;
            let (stored, row) = match rows.binary_search_by_key(&number, |(number, _)| *number) {
                Ok(at) => &rows[at].1,
                Err(_) => match self.stored_rows(number, number)?.pop() {
                    Some((_, found)) => {
                        earlier = found;
                        &earlier
                    }
                    None if self.shared.is_known_rotten(number) => return Err(ReadError::Rot { commit: number }),
                    None => continue,
                },
            };
            let fate = {
                let state = self.shared.state.read();
                let needs = Needs { index: &state.index, system: &self.head.system, since: &self.head.since_base };
                fate(&needs, number, row)
            };
            let rest = match fate {
                Fate::Kept => continue,
                Fate::Dropped => None,
                Fate::Reduced(rest) => Some(rest),
            };
            unlink(&mut self.shared.state.write().index, number, row, rest.as_ref());
            let rest = rest.map(|rest| rest.encode(number));
            slice.dropped.add(Tally::of(stored));
            slice.added.add(rest.as_ref().map_or(Tally::default(), |row| Tally::of(row)));
            let key = commit::key(number);
            slice.changes.push(rest.map_or_else(|| Change::Remove(key.clone()), |row| Change::Put(key.clone(), row)));
        }
        Ok(slice)
    }

    /// Forgets the history of every key of the rows, and returns the commits up to `last` that may have lost something, in this attempt or in
    /// one before: what is forgotten is not found again by looking.
    fn forget(&mut self, rows: &[(u64, StoredRow)], sweep: &Sweep, last: u64) -> BTreeSet<u64> {
        let mut affected = std::mem::take(&mut self.compaction.owed);
        affected.extend(rows.iter().map(|(number, _)| *number));
        let index = &mut self.shared.state.write().index;
        index.forget_range_removals(last);
        for key in rows.iter().flat_map(|(_, (_, row))| keys(row)) {
            affected.extend(forget(index, &self.head.since_base, &key, sweep.revision, sweep.horizon));
        }
        // The row of a grant goes no later than the row that ended it, or a replay would grant the lease again. So it is with
        // the system's data.
        self.head.ended.retain(|ended| {
            let is_due = ended.by <= last;
            affected.extend(is_due.then_some(ended.added));
            !is_due
        });
        affected.split_off(&(last + 1));
        self.compaction.owed.clone_from(&affected);
        affected
    }

    fn stored_rows(&self, first: u64, last: u64) -> Result<Vec<(u64, StoredRow)>, ReadError> {
        let snapshot = self.shared.engine.snapshot();
        let rows = snapshot.scan(&commit::key(first), &commit::key(last + 1)).map(|row| {
            let (key, row) = row?;
            let number = Kind::Commit.number(&key).ok_or(ReadError::Rot { commit: first })?;
            let read = CommitRow::decode(&row, number)?;
            Ok((number, (row, read)))
        });
        rows.collect()
    }
}
