//! A publication that did not end: its commit rows are not there, whatever the engine has of them.
//!
//! Before the first of these rows an *intent* is made durable, and the batch with the base row that ends them removes it. Who finds an
//! intent and no base row of that commit or a later one takes the rows back. What was staged is still there.

use bytes::Bytes;
use tombolo_crdt::mutation::Mutation;

use crate::{
    engine::{Change, Engine, EngineError, Persist},
    row::{Kind, commit, seal},
};

/// Rows removed in one batch.
const BATCH_ROWS: usize = 10_000;

/// Says that the commit rows from `first` on are there only if a base row says so.
pub(crate) fn intent(first: u64) -> Change {
    let mut row = vec![1];
    seal(&mut row, 0, first);
    Change::Put(Kind::Intent.key(first), Bytes::from(row))
}

/// Takes an intent back.
pub(crate) fn settled(first: u64) -> Change {
    Change::Remove(Kind::Intent.key(first))
}

/// What was found of publications that did not end.
pub(crate) struct Unfinished {
    /// The first commit that is not there.
    first: Option<u64>,
    /// All intents, also those of publications that did end.
    intents: Vec<Bytes>,
}

impl Unfinished {
    /// Looks for intents; the newest base row speaks of commit `base`.
    pub(crate) fn find(engine: &dyn Engine, base: u64) -> Result<Self, EngineError> {
        let snapshot = engine.snapshot();
        let rows = snapshot.scan(&Kind::Intent.key(0), &Kind::Intent.end());
        let intents = rows.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<_>, _>>()?;
        let first = intents.iter().filter_map(|key| Kind::Intent.number(key)).filter(|first| *first > base).min();
        Ok(Self { first: first.filter(|_| !Mutation::HalfJoinVisible.is_on()), intents })
    }

    /// A publication that is given up before its end.
    pub(crate) fn of(first: u64) -> Self {
        Self { first: Some(first), intents: vec![Kind::Intent.key(first)] }
    }

    /// The last commit that may be there.
    pub(crate) fn last(&self) -> u64 {
        self.first.map_or(u64::MAX, |first| first.saturating_sub(1))
    }

    /// Removes the rows that are not there, and then the intents.
    pub(crate) fn take_back(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        if let Some(first) = self.first {
            loop {
                let snapshot = engine.snapshot();
                let rows = snapshot.scan(&commit::key(first), &Kind::Commit.end()).take(BATCH_ROWS);
                let removed = rows.map(|row| row.map(|(key, _)| Change::Remove(key))).collect::<Result<Vec<_>, _>>()?;
                drop(snapshot);
                if removed.is_empty() {
                    break;
                }
                engine.write(removed, Persist::Os)?;
            }
        }
        if self.intents.is_empty() {
            return Ok(());
        }
        engine.write(self.intents.iter().cloned().map(Change::Remove).collect(), Persist::Disk)
    }
}
