//! Following who leads an election, and what the leader proclaims, as etcd's clients follow it.
//!
//! The first in line leads. A [`Leader`] reads the line, tells whom it finds, and watches that one's key: its puts are proclamations,
//! its deletion a reason to read again. While the line is empty it watches for the first to enter. What is told is always newer
//! than what was told before; of several changes between a departure and the next reading only the last is told.

use tombolo_storage::{Event, KeyRange, KeyValue, RangeAnswer, RangeQuery};

use crate::{
    WatchSpec,
    turn::{first_of, line_of},
};

/// Who is seen to lead.
#[derive(Clone, Debug)]
pub struct Leader {
    line: KeyRange,
    /// Whether somebody led when the line was read last.
    is_elected: bool,
}

/// What an event means to those who follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The leader proclaimed something.
    Proclaimed(KeyValue),
    /// Somebody leads where nobody did: tell it, then watch on with [`Leader::watch_of`].
    Elected(KeyValue),
    /// The leader is gone: read again.
    Departed,
    /// Nothing that concerns them.
    Nothing,
}

impl Leader {
    /// Follows the election of this name.
    pub fn new(name: &[u8]) -> Self {
        Self { line: line_of(name), is_elected: false }
    }

    /// Asks who leads.
    pub fn query(&self) -> RangeQuery {
        first_of(self.line.clone())
    }

    /// Takes the answer: who leads, if anybody does, and what to watch from now on.
    pub fn found(&mut self, answer: RangeAnswer) -> (Option<KeyValue>, WatchSpec) {
        let revision = answer.revision.get();
        match answer.pairs.into_iter().next() {
            Some(pair) => {
                let watch = self.watch_of(&pair, revision);
                (Some(pair), watch)
            }
            None => {
                self.is_elected = false;
                let watch = WatchSpec::new(self.line.clone(), revision.saturating_add(1));
                (None, WatchSpec { without_deletes: true, ..watch })
            }
        }
    }

    /// What to watch once `leader` was told, as of `revision`.
    pub fn watch_of(&mut self, leader: &KeyValue, revision: i64) -> WatchSpec {
        self.is_elected = true;
        WatchSpec::new(KeyRange::single(leader.key.clone()), revision.saturating_add(1))
    }

    /// Takes an event of the watch that was asked for last.
    pub fn hear(&self, event: &Event) -> Heard {
        match event {
            Event::Put(pair) if self.is_elected => Heard::Proclaimed(pair.clone()),
            Event::Put(pair) => Heard::Elected(pair.clone()),
            Event::Delete { .. } if self.is_elected => Heard::Departed,
            Event::Delete { .. } => Heard::Nothing,
        }
    }
}
