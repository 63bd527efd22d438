//! The commits published since somebody began to catch up, as far back as memory is allowed to go.
//!
//! Without it a watcher could chase the end of history for ever: each load ends where history ended when it was read, and by
//! the time its answer is here there is more. With it, the last stretch up to the hub's revision comes from memory.

use std::{collections::VecDeque, sync::Arc};

use tombolo_storage::Commit;

use super::Credit;

/// The last published commits, without gaps. Kept only while a watcher catches up.
#[derive(Default)]
pub(crate) struct Recent {
    commits: VecDeque<(Arc<Commit>, usize)>,
    bytes: usize,
    /// Every revision published from here on is in `commits`; `None` when nothing was published since recording began.
    from: Option<i64>,
}

impl Recent {
    /// Appends a commit that has events.
    pub(crate) fn push(&mut self, commit: &Arc<Commit>) {
        let bytes = commit.events.iter().map(|event| Credit::of(event).bytes).sum();
        self.from.get_or_insert(commit.revision.get());
        self.commits.push_back((Arc::clone(commit), bytes));
        self.bytes += bytes;
        while self.commits.len() > COMMITS_MAX || self.bytes > BYTES_MAX {
            let Some((oldest, bytes)) = self.commits.pop_front() else { break };
            self.bytes -= bytes;
            self.from = Some(oldest.revision.get() + 1);
        }
    }

    /// Whether every commit with `next <= revision <= published` is here.
    pub(crate) fn covers(&self, next: i64, published: i64) -> bool {
        next > published || self.from.is_some_and(|from| next >= from)
    }

    /// The commits from `next` on.
    pub(crate) fn since(&self, next: i64) -> impl Iterator<Item = &Arc<Commit>> {
        let skipped = self.commits.partition_point(|(commit, _)| commit.revision.get() < next);
        self.commits.range(skipped..).map(|(commit, _)| commit)
    }

    /// Ends the recording: nobody is catching up.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// More commits than are published during one read of history.
const COMMITS_MAX: usize = 256;

/// What the hub may keep alive for watchers that catch up, however large the commits are.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use tombolo_storage::{Event, Revision};

    use super::*;

    fn commit(revision: i64) -> Arc<Commit> {
        let revision = Revision::new(revision).unwrap();
        let event = Event::Delete { key: "k".into(), revision };
        Arc::new(Commit { number: 1, revision, events: vec![event], leases: Vec::new(), system: Vec::new() })
    }

    #[test]
    fn coverage_ends_where_old_commits_were_dropped() {
        let mut recent = Recent::default();
        assert!(recent.covers(10, 9));
        assert!(!recent.covers(9, 9));
        let last = 10 + COMMITS_MAX as i64;
        for revision in 10..=last {
            recent.push(&commit(revision));
        }
        assert!(!recent.covers(10, last));
        assert!(recent.covers(11, last));
        assert_eq!(recent.since(last - 1).count(), 2);
        recent.clear();
        assert!(!recent.covers(last, last));
    }
}
