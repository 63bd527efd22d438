//! Reading history: what watchers that start in the past are told, and what a key held at a cut.
//!
//! History is the commit rows themselves, read in order.

use std::collections::BTreeSet;

use bytes::Bytes;
use tombolo_crdt::{Element, Hlc, Operation, RangeRemove, Register, VersionVector};

use crate::{
    Commit, Event, KeyRange, ReadError, Store,
    committer::{events, first_commit_at},
    engine::Snapshot,
    row::commit::CommitRow,
    rows::NumberedRows,
    view::read_row,
};

/// How much history one call may return.
#[derive(Clone, Copy, Debug)]
pub struct HistoryBudget {
    /// Commits looked at, matching or not.
    pub commits: usize,
    /// Bytes of keys and values returned; one commit may exceed it.
    pub bytes: usize,
}

/// A stretch of history.
#[derive(Clone, Debug)]
pub struct HistoryChunk {
    /// The commits with matching events, in order, with those events alone.
    pub commits: Vec<Commit>,
    /// The first revision that was not looked at.
    pub next: i64,
}

/// One of the concurrent values of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiblingValue {
    /// The write.
    pub element: Element,
    /// Its stamp.
    pub hlc: Hlc,
    /// What it wrote.
    pub value: Bytes,
}

impl Store {
    /// Reads the events of a range from revision `from` on, as far as the budget goes.
    ///
    /// # Errors
    ///
    /// A start below what compaction left, or in another replica's share of the revisions; a damaged row.
    pub fn history(&self, from: i64, range: &KeyRange, budget: HistoryBudget) -> Result<HistoryChunk, ReadError> {
        self.shared().noting(self.read_history(from, range, budget))
    }

    fn read_history(&self, from: i64, range: &KeyRange, budget: HistoryBudget) -> Result<HistoryChunk, ReadError> {
        let numbers = &self.shared().owner.numbers;
        let (published, horizon, compacted_first, snapshot) = {
            let state = self.shared().state.read();
            (state.published, state.horizon, state.compacted_first, self.shared().engine.snapshot())
        };
        // 1 means this replica's own beginning, whatever its slot.
        let from = if from <= 1 { numbers.beginning().get() } else { from };
        if numbers.is_foreign(from) || from < published.compacted {
            return Err(ReadError::Compacted { oldest: published.compacted.max(1) });
        }
        let mut chunk = HistoryChunk { commits: Vec::new(), next: published.revision.get() + 1 };
        if from > published.revision.get() {
            chunk.next = from;
            return Ok(chunk);
        }
        let start = if from == published.compacted {
            compacted_first
        } else {
            first_commit_at(&*snapshot, horizon + 1, published.commit, from)?
        };
        let mut left = budget;
        let (mut expected, mut told) = (start, 0);
        for row in NumberedRows::commits(&*snapshot, start, published.commit).readable() {
            let (number, row) = row?;
            // Above the horizon nothing may be missing.
            if number != expected && number > horizon + 1 {
                return Err(ReadError::Rot { commit: expected });
            }
            let row = CommitRow::decode(&row, number)?;
            expected = number + 1;
            if row.effects.is_empty() {
                continue;
            }
            // A transfer that was joined has many rows and one revision, which is told whole.
            let goes_on = told == row.revision.get();
            if !goes_on && (left.commits == 0 || left.bytes == 0) {
                chunk.next = row.revision.get();
                return Ok(chunk);
            }
            left.commits -= usize::from(!goes_on);
            told = row.revision.get();
            if let Some(commit) = matching(number, row, range, &*snapshot)? {
                left.bytes = left.bytes.saturating_sub(commit.events.iter().map(size).sum());
                match chunk.commits.last_mut().filter(|last| last.revision == commit.revision) {
                    Some(last) => {
                        last.number = commit.number;
                        last.events.extend(commit.events);
                    }
                    None => chunk.commits.push(commit),
                }
            }
        }
        if expected.max(horizon + 1) <= published.commit {
            return Err(ReadError::Rot { commit: expected });
        }
        Ok(chunk)
    }

    /// The siblings that a key held at a cut, losers included: the history of the key, folded over the commits in `cut`.
    ///
    /// # Errors
    ///
    /// A cut below what compaction left; a damaged row.
    pub fn read_at(&self, key: &[u8], cut: &VersionVector) -> Result<Vec<SiblingValue>, ReadError> {
        self.shared().noting(self.read_siblings(key, cut))
    }

    fn read_siblings(&self, key: &[u8], cut: &VersionVector) -> Result<Vec<SiblingValue>, ReadError> {
        let (commits, snapshot) = {
            let state = self.shared().state.read();
            if !cut.includes(&state.cuts_from) {
                return Err(ReadError::Compacted { oldest: state.published.compacted.max(1) });
            }
            let touches = state.index.get(key).map(|entry| entry.touches.iter().map(|touch| touch.commit));
            let commits = touches.into_iter().flatten().chain(state.index.range_removals(key));
            let commits: BTreeSet<u64> = commits.filter(|&at| at <= state.published.commit).collect();
            (commits, self.shared().engine.snapshot())
        };
        let mut register = Register::default();
        for commit in commits {
            fold(&mut register, &read_row(&*snapshot, commit)?, key, cut);
        }
        let siblings = register.siblings();
        let values = siblings.map(|(element, s)| SiblingValue { element, hlc: s.hlc, value: s.value.clone() });
        Ok(values.collect())
    }
}

/// The commit with the events that lie in the range, if there are any.
fn matching(number: u64, row: CommitRow, range: &KeyRange, rows: &dyn Snapshot) -> Result<Option<Commit>, ReadError> {
    if !row.effects.iter().any(|effect| range.contains(effect.key())) {
        return Ok(None);
    }
    let revision = row.revision;
    let mut events = events(row, rows)?;
    events.retain(|event| range.contains(event.key()));
    Ok(Some(Commit { number, revision, events, leases: Vec::new(), system: Vec::new() }))
}

fn size(event: &Event) -> usize {
    match event {
        Event::Put(pair) => pair.key.len() + pair.value.len(),
        Event::Delete { key, .. } => key.len(),
    }
}

/// Applies what a commit did to one key, as far as the cut contains it.
fn fold(register: &mut Register<Bytes>, row: &CommitRow, wanted: &[u8], cut: &VersionVector) {
    // What a transfer removed: no cut can be read that lacks what removed it.
    if row.parts.is_empty() {
        let cleared = row.cleared.iter().filter(|cleared| cleared.key == wanted);
        cleared.for_each(|cleared| remove(register, &cleared.elements));
    }
    for part in row.parts.iter().filter(|part| cut.covers(part.dot())) {
        for (index, operation) in part.numbered() {
            match operation {
                Operation::Put { key, value, supersedes, .. } if key == wanted => {
                    remove(register, supersedes);
                    register.add(part.dot().element(index), part.record.header.hlc, value.clone());
                }
                Operation::Remove { key, elements } if key == wanted => remove(register, elements),
                // What went at the time is not what goes at every cut: a write that the cut lacks may have been first.
                Operation::RangeRemove(RangeRemove { start, end })
                    if wanted >= start.as_ref() && end.as_ref().is_none_or(|end| wanted < end.as_ref()) =>
                {
                    let seen = |element: &Element| part.context.as_ref().is_some_and(|c| c.covers_element(*element));
                    let elements: Vec<Element> = register.siblings().map(|(element, _)| element).filter(seen).collect();
                    remove(register, &elements);
                }
                _ => {}
            }
        }
    }
}

fn remove(register: &mut Register<Bytes>, elements: &[Element]) {
    for &element in elements {
        register.remove(element);
    }
}
