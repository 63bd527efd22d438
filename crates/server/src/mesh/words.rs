//! When something was last heard of each member: from itself over a connection, or as a row that somebody passed on.
//!
//! Moments are the uptime's: a server that has just started has heard of nobody, and waits as long again before it takes anybody
//! for lost.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tombolo_crdt::ReplicaId;

use crate::clock::Uptime;

/// The last word of each member since the server started.
pub(super) struct Words {
    last: Mutex<BTreeMap<ReplicaId, Duration>>,
    uptime: Uptime,
}

impl Words {
    pub(super) fn new(uptime: Uptime) -> Self {
        Self { last: Mutex::default(), uptime }
    }

    /// Something was heard of a member just now.
    pub(super) fn heard(&self, member: ReplicaId) {
        self.last.lock().insert(member, self.uptime.now());
    }

    /// How long nothing has been heard of a member; `None` when nothing was since the start.
    pub(super) fn silent_for(&self, member: ReplicaId) -> Option<Duration> {
        let last = self.last.lock().get(&member).copied();
        last.map(|last| self.uptime.now().saturating_sub(last))
    }

    /// The same, counting from the start for one that was never heard of.
    pub(super) fn silent_at_least(&self, member: ReplicaId) -> Duration {
        self.silent_for(member).unwrap_or_else(|| self.uptime.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_with_the_last_word_or_with_the_start() {
        let [heard, never] = [1, 2].map(|bits| ReplicaId::new(bits).unwrap());
        let words = Words::new(Uptime::start());
        std::thread::sleep(Duration::from_millis(30));
        words.heard(heard);
        assert!(words.silent_for(heard).is_some_and(|silent| silent < Duration::from_secs(20)));
        assert_eq!(words.silent_for(never), None);
        assert!(words.silent_at_least(never) >= Duration::from_millis(30));
    }
}
