//! What is known to be rotten, and what it means for keys.
//!
//! A read that meets a row without its own hash, or none where one must be, looks again and takes note of it; so does the
//! [scrubber](crate::Scrubber). What is noted stays until the row is sound again. Nothing of it is ever served: whoever asks for it gets
//! [`ReadError::Rot`], and everything else is answered as ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tombolo_crdt::{Dot, Element};

use crate::{
    ReadError, Revision, Store, bases,
    engine::EngineError,
    index::{View, own_key},
    row::{
        commit::{self, CommitRow},
        heads::{self, HeadsRow},
    },
    store::Shared,
};

/// Keys looked at while the state is locked.
const STRETCH_KEYS: usize = 4096;

/// What of a store's rows is rotten.
#[derive(Default)]
pub(crate) struct Rot {
    commits: Mutex<BTreeSet<u64>>,
    /// The ordinal of the base of which not both rows are sound.
    base: Mutex<Option<u64>>,
    /// Rows of signatures, by the commit that each came with.
    signatures: Mutex<BTreeSet<u64>>,
    found: AtomicU64,
    mended: AtomicU64,
}

/// How much rot was found since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotCounts {
    /// Rows that were found rotten.
    pub found: u64,
    /// Those that are sound again.
    pub mended: u64,
    /// Those that are not.
    pub rotten: u64,
}

/// What a rotten commit row means for keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RottenRow {
    /// The commit whose row it is.
    pub commit: u64,
    /// The keys of which a value, now or at a readable revision, cannot be read, ascending. There may be none: then history, and what
    /// peers still lack, is all that cannot be told.
    pub keys: Vec<Bytes>,
}

impl Store {
    /// The rotten rows, and what they mean for keys. O(keys) when there is any.
    pub fn rotten(&self) -> Vec<RottenRow> {
        let commits = self.shared().rot.commits.lock().clone();
        let mut keys = if commits.is_empty() { BTreeMap::new() } else { self.needs(&commits).values };
        commits.into_iter().map(|commit| RottenRow { commit, keys: keys.remove(&commit).unwrap_or_default() }).collect()
    }

    /// The commits with which signatures came that are rotten, as the scrubber has found at its last look. What they cover cannot be passed on; no
    /// value is lost with them.
    pub fn rotten_signatures(&self) -> Vec<u64> {
        self.shared().rot.signatures.lock().iter().copied().collect()
    }

    /// How much rot there is, and was. O(1).
    pub fn rot_counts(&self) -> RotCounts {
        let rot = &self.shared().rot;
        let rows = rot.commits.lock().len() + rot.signatures.lock().len();
        let rotten = rows as u64 + u64::from(rot.base.lock().is_some());
        RotCounts { found: rot.found.load(Ordering::Relaxed), mended: rot.mended.load(Ordering::Relaxed), rotten }
    }

    /// Who needs something of these commits' rows.
    pub(crate) fn needs(&self, commits: &BTreeSet<u64>) -> Needed {
        let mut needed = Needed::default();
        let mut last: Option<Bytes> = None;
        loop {
            let state = self.shared().state.read();
            let before = last.take();
            let mut seen = 0;
            for (key, entry) in state.index.after(before.as_deref()).take(STRETCH_KEYS) {
                seen += 1;
                let live = entry.register.siblings().map(|(element, sibling)| (sibling.value.commit, element));
                let shown = entry.touches.iter().filter_map(|touch| match touch.view {
                    View::Shown(shown) => Some((shown.at.commit, shown.at.element)),
                    View::Gone | View::Unchanged => None,
                });
                let values: BTreeMap<u64, Element> = live.chain(shown).filter(|(at, _)| commits.contains(at)).collect();
                for (commit, element) in values {
                    needed.note(commits, commit, element);
                    needed.values.entry(commit).or_default().push(own_key(key));
                }
                for touch in entry.touches.iter().filter(|touch| commits.contains(&touch.commit)) {
                    needed.commits.insert(touch.commit);
                    needed.touched.entry(touch.commit).or_default().insert(own_key(key), touch.view);
                    let revision = Revision::new(touch.revision).filter(|_| touch.revision != 0);
                    needed.revisions.extend(revision.map(|revision| (touch.commit, revision)));
                }
                if seen == STRETCH_KEYS {
                    last = Some(own_key(key));
                }
            }
            if last.is_none() {
                for (element, grant) in state.index.grants().flat_map(|(_, grants)| grants) {
                    needed.note(commits, grant.commit, *element);
                }
                break;
            }
        }
        needed
    }
}

impl Needed {
    fn note(&mut self, asked: &BTreeSet<u64>, commit: u64, element: Element) {
        if asked.contains(&commit) {
            self.commits.insert(commit);
            self.dots.entry(commit).or_default().insert(element.dot);
            self.elements.insert(element);
        }
    }
}

/// What somebody needs of some commits' rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needed {
    /// The keys of which a value lies there, by commit.
    pub(crate) values: BTreeMap<u64, Vec<Bytes>>,
    /// The keys that were touched there, by commit.
    pub(crate) touched: BTreeMap<u64, BTreeMap<Bytes, View>>,
    /// The revisions that they took, by commit.
    pub(crate) revisions: BTreeMap<u64, Revision>,
    /// The records whose elements lie there, by commit.
    pub(crate) dots: BTreeMap<u64, BTreeSet<Dot>>,
    /// Those elements.
    pub(crate) elements: BTreeSet<Element>,
    /// The commits of which anything is needed.
    pub(crate) commits: BTreeSet<u64>,
}

impl Shared {
    /// Takes note of the rot that a read has met, if it is still there: a row may have gone while it was being looked for.
    pub(crate) fn noting<T>(&self, outcome: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(ReadError::Rot { commit }) = &outcome {
            self.look_again(*commit);
        }
        outcome
    }

    /// Looks at a commit's row, and takes note of it when it is rotten or missing. Returns whether it is.
    pub(crate) fn look_again(&self, commit: u64) -> bool {
        let (published, floor) = {
            let state = self.state.read();
            (state.published.commit, state.floor.commit)
        };
        // What is not published may not be with the engine yet, and 0 is no commit.
        if commit == 0 || commit > published {
            return false;
        }
        let is_rotten = match self.engine.get(&commit::key(commit)) {
            Ok(Some(row)) => CommitRow::decode(&row, commit).is_err(),
            // Where the log is not dense, whoever needs the row says that it was there.
            Ok(None) => commit > floor || self.holds_value(commit),
            Err(error) => error.is_damage(),
        };
        let mut commits = self.rot.commits.lock();
        if is_rotten && commits.insert(commit) {
            self.rot.found.fetch_add(1, Ordering::Relaxed);
        } else if !is_rotten && commits.remove(&commit) {
            self.rot.mended.fetch_add(1, Ordering::Relaxed);
        }
        is_rotten
    }

    /// Whether the value of some key, or the grant of a lease, lies in a commit's row. O(keys).
    fn holds_value(&self, commit: u64) -> bool {
        let state = self.state.read();
        let all = state.index.after(None);
        let values = all.flat_map(|(_, entry)| entry.register.siblings().map(|(_, sibling)| sibling.value.commit));
        let mut held = values.chain(state.index.grants().flat_map(|(_, grants)| grants).map(|(_, grant)| grant.commit));
        held.any(|at| at == commit)
    }

    /// Looks at both rows of a base, and takes note when one is rotten and there is no newer base. What is noted of a newer one stays.
    pub(crate) fn look_at_base(&self, ordinal: u64) -> Result<(), EngineError> {
        let is_sound = bases::is_whole(&*self.engine, ordinal)? || self.state.read().base_ordinal > ordinal;
        let mut base = self.rot.base.lock();
        if base.is_some_and(|noted| noted > ordinal) {
            return Ok(());
        }
        if is_sound {
            self.rot.mended.fetch_add(u64::from(base.take().is_some()), Ordering::Relaxed);
        } else if base.replace(ordinal) != Some(ordinal) {
            self.rot.found.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The rows of signatures that are known to be rotten.
    pub(crate) fn rotten_signatures(&self) -> BTreeSet<u64> {
        self.rot.signatures.lock().clone()
    }

    /// Forgets rows of signatures that are rotten no more.
    pub(crate) fn forget_signatures(&self, sound: &BTreeSet<u64>) {
        let mut known = self.rot.signatures.lock();
        let before = known.len();
        known.retain(|number| !sound.contains(number));
        self.rot.mended.fetch_add((before - known.len()) as u64, Ordering::Relaxed);
    }

    /// Takes note of a row of signatures that was met, if it is rotten still.
    pub(crate) fn look_at_signatures(&self, number: u64) {
        let is_rotten = match self.engine.get(&heads::key(number)) {
            Ok(row) => row.is_some_and(|row| HeadsRow::decode(&row, number).is_none()),
            Err(error) => error.is_damage(),
        };
        if is_rotten && self.rot.signatures.lock().insert(number) {
            self.rot.found.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes note of all rows of signatures that are rotten.
    pub(crate) fn note_signatures(&self, found: BTreeSet<u64>) {
        let mut known = self.rot.signatures.lock();
        self.rot.found.fetch_add(found.difference(&known).count() as u64, Ordering::Relaxed);
        self.rot.mended.fetch_add(known.difference(&found).count() as u64, Ordering::Relaxed);
        *known = found;
    }

    /// The commits whose rows are known to be rotten.
    pub(crate) fn known_rotten(&self) -> BTreeSet<u64> {
        self.rot.commits.lock().clone()
    }

    /// The commits whose rows are rotten.
    pub(crate) fn rotten_commits(&self) -> BTreeSet<u64> {
        self.known_rotten().into_iter().filter(|commit| self.look_again(*commit)).collect()
    }

    pub(crate) fn is_known_rotten(&self, commit: u64) -> bool {
        self.rot.commits.lock().contains(&commit)
    }

    /// Whether a row of the base is rotten.
    pub(crate) fn is_base_rotten(&self) -> bool {
        self.rot.base.lock().is_some()
    }
}
