//! What two sides ask each other and have not answered, numbered by whoever asks.
//!
//! Each side's numbers ascend, and a bounded number may be open. Answers come in any order, each once.

use std::collections::{BTreeMap, BTreeSet};

/// What is unanswered, both ways, of one kind of question.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The number of our last.
    last_own: u64,
    /// Ours, and what the host knows each by.
    own: BTreeMap<u64, u64>,
    /// The number of the peer's last.
    last_theirs: u64,
    theirs: BTreeSet<u64>,
}

/// Why the peer's question is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misasked {
    /// Its number is not above the last one.
    Stale { last: u64 },
    /// As many are open as may be.
    TooMany,
}

impl Questions {
    /// Numbers a question of ours; `None` when as many are open as may be.
    pub(crate) fn begin(&mut self, token: u64, max: usize) -> Option<u64> {
        if self.own.len() >= max {
            return None;
        }
        self.last_own += 1;
        self.own.insert(self.last_own, token);
        Some(self.last_own)
    }

    /// The peer answers. Returns what the host knows the question by; `None` when it is not open.
    pub(crate) fn end(&mut self, id: u64) -> Option<u64> {
        self.own.remove(&id)
    }

    /// The peer asks.
    pub(crate) fn take(&mut self, id: u64, max: usize) -> Result<(), Misasked> {
        if id <= self.last_theirs {
            return Err(Misasked::Stale { last: self.last_theirs });
        }
        if self.theirs.len() >= max {
            return Err(Misasked::TooMany);
        }
        self.last_theirs = id;
        self.theirs.insert(id);
        Ok(())
    }

    /// We answer. Whether the question was open.
    pub(crate) fn answer(&mut self, id: u64) -> bool {
        self.theirs.remove(&id)
    }

    /// What the host knows those by that will never be answered.
    pub(crate) fn into_unanswered(self) -> impl Iterator<Item = u64> {
        self.own.into_values()
    }
}
