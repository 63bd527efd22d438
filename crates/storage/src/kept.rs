//! Everything that is kept of history up to a revision, change by change: what a copy in etcd's form consists of, and what its hash is
//! made from.
//!
//! Above the compacted revision that is every change. At it and below it is what some revision still shows. The store's own way of reading
//! history by key ranges is in [`history`](crate::history); this one is for readers who want all of it, in order, once.

use std::ops::ControlFlow;

use crate::{
    Event, KeyRange, Published, ReadError, Store,
    committer::events,
    engine::Snapshot,
    index::Index,
    query,
    row::{
        Kind,
        commit::{self, CommitRow, Effect},
    },
};

/// One change that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The revision of the transaction.
    pub revision: i64,
    /// Which of the transaction's changes it is, from 0.
    pub ordinal: u32,
    /// What changed.
    pub event: Event,
}

/// Which of the changes below the compacted revision are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// All that some readable revision shows, and the removals at the compacted revision itself.
    Readable,
    /// Those that the last revision shows; where it shows no key at all, those that the compacted revision shows.
    Shown,
}

/// Where a walk stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSpan {
    /// The last revision of the walk.
    pub last: i64,
    /// What was published when it began.
    pub published: Published,
}

impl Store {
    /// Walks what is kept up to revision `last`, 0 being the current one, in order, until `visit` breaks. It reads every row there is: on a
    /// thread that may take its time. Compacted rows stay on disk while it runs.
    ///
    /// # Errors
    ///
    /// A revision that is compacted or has not happened; a damaged row.
    pub fn kept(
        &self,
        last: i64,
        below: Below,
        visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
    ) -> Result<KeptSpan, ReadError> {
        let numbers = &self.shared().owner.numbers;
        let (span, shown, horizon, snapshot) = {
            let state = self.shared().state.read();
            let published = state.published;
            let last = query::read_revision(last, published.revision, published.compacted, numbers)?;
            let shown = ShownBelow::read(&state.index, below, last, published.compacted);
            (KeptSpan { last, published }, shown, state.horizon, self.shared().engine.snapshot())
        };
        let compacted = span.published.compacted;
        let mut expected = None;
        for row in snapshot.scan(&Kind::Commit.key(0), &commit::key(span.published.commit + 1)) {
            let (key, row) = row?;
            // Above the horizon nothing may be missing.
            let is_next = |number: &u64| *number <= horizon || expected.unwrap_or(horizon + 1) == *number;
            let number = Kind::Commit.number(&key).filter(is_next).ok_or(ReadError::Rot { commit: horizon + 1 })?;
            expected = (number >= horizon).then_some(number + 1);
            let row = CommitRow::decode(&row, number)?;
            if row.revision.get() > span.last {
                return Ok(span);
            }
            let is_kept = |effect: &Effect| row.revision.get() > compacted || shown.has(row.revision.get(), effect);
            let wanted: Vec<bool> = row.effects.iter().map(is_kept).collect();
            if tell(row, &wanted, &*snapshot, visit)?.is_break() {
                return Ok(span);
            }
        }
        if expected.unwrap_or(horizon + 1) <= span.published.commit {
            return Err(ReadError::Rot { commit: expected.unwrap_or(horizon + 1) });
        }
        Ok(span)
    }
}

/// Tells those changes of a row that are wanted.
fn tell(
    row: CommitRow,
    wanted: &[bool],
    rows: &dyn Snapshot,
    visit: &mut dyn FnMut(Kept) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    if !wanted.contains(&true) {
        return Ok(ControlFlow::Continue(()));
    }
    let revision = row.revision.get();
    let ordinals: Vec<u32> = (0..row.effects.len()).map(|at| row.ordinal(at)).collect();
    for ((event, ordinal), _) in events(row, rows)?.into_iter().zip(ordinals).zip(wanted).filter(|(_, wanted)| **wanted)
    {
        if visit(Kept { revision, ordinal, event }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The changes at the compacted revision and below it that are wanted.
struct ShownBelow {
    /// Revision, and the key's hash, ascending. Keys themselves would take too much: there is one for each.
    changes: Vec<(i64, u128)>,
    /// The revision at which removals are wanted as well.
    removals_at: Option<i64>,
}

impl ShownBelow {
    fn read(index: &Index, below: Below, last: i64, compacted: i64) -> Self {
        let at = match below {
            Below::Readable => compacted,
            Below::Shown if index.visible(&KeyRange::all(), last).next().is_some() => last,
            Below::Shown => compacted,
        };
        let seen = index.visible(&KeyRange::all(), at).filter(|(_, visible)| visible.mod_revision <= compacted);
        let mut changes: Vec<_> = seen.map(|(key, visible)| (visible.mod_revision, hash(key))).collect();
        changes.sort_unstable();
        Self { changes, removals_at: (below == Below::Readable).then_some(compacted) }
    }

    fn has(&self, revision: i64, effect: &Effect) -> bool {
        match effect {
            Effect::Show { key, .. } => self.changes.binary_search(&(revision, hash(key))).is_ok(),
            Effect::Gone { .. } => self.removals_at == Some(revision),
        }
    }
}

/// Of such hashes no two are ever equal, whoever chooses the keys.
fn hash(key: &[u8]) -> u128 {
    let hash = blake3::hash(key);
    hash.as_bytes().iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}
