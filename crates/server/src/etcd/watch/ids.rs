//! The watch ids of one stream: chosen by the client, or counted up from 0 around those.

use std::collections::HashMap;

use thiserror::Error;
use tombolo_site::WatcherId;

/// The client chose an id that it uses already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("mvcc: duplicate watch ID provided on the WatchStream")]
pub(super) struct DuplicateId;

/// What the stream knows of one watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watcher {
    /// The id that the client knows.
    pub(super) watch_id: i64,
    /// Whether the client takes answers in pieces.
    pub(super) fragment: bool,
}

/// The watchers of one stream, by either id.
#[derive(Debug, Default)]
pub(super) struct Ids {
    by_watch_id: HashMap<i64, WatcherId>,
    watchers: HashMap<WatcherId, Watcher>,
    next: i64,
}

impl Ids {
    /// The id that a new watcher gets when the client asked for `asked`; 0 leaves the choice to the server.
    pub(super) fn choose(&mut self, asked: i64) -> Result<i64, DuplicateId> {
        if asked != 0 {
            return if self.by_watch_id.contains_key(&asked) { Err(DuplicateId) } else { Ok(asked) };
        }
        while self.by_watch_id.contains_key(&self.next) {
            self.next += 1;
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    pub(super) fn insert(&mut self, id: WatcherId, watcher: Watcher) {
        self.by_watch_id.insert(watcher.watch_id, id);
        self.watchers.insert(id, watcher);
    }

    /// `None` when the watcher was cancelled: what was under way for it is skipped.
    pub(super) fn find(&self, id: WatcherId) -> Option<Watcher> {
        self.watchers.get(&id).copied()
    }

    /// Forgets a watcher that the client names.
    pub(super) fn remove(&mut self, watch_id: i64) -> Option<WatcherId> {
        let id = self.by_watch_id.remove(&watch_id)?;
        self.watchers.remove(&id);
        Some(id)
    }

    /// Forgets a watcher that the hub has ended.
    pub(super) fn ended(&mut self, id: WatcherId) -> Option<Watcher> {
        let watcher = self.watchers.remove(&id)?;
        self.by_watch_id.remove(&watcher.watch_id);
        Some(watcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_ids_count_up_around_those_of_the_client() {
        let mut hub =
            tombolo_site::Hub::new(tombolo_storage::Slot::FIRST.beginning(), tombolo_site::HubOptions::default());
        let subscriber = hub.subscribe(std::time::Duration::ZERO);
        let mut watcher = || {
            let range = tombolo_storage::KeyRange::all();
            hub.watch(subscriber, tombolo_site::WatchSpec::new(range, 0)).unwrap()
        };
        let mut ids = Ids::default();
        let mut add = |ids: &mut Ids, asked| {
            let watch_id = ids.choose(asked)?;
            ids.insert(watcher(), Watcher { watch_id, fragment: false });
            Ok(watch_id)
        };
        assert_eq!(add(&mut ids, 0), Ok(0));
        assert_eq!(add(&mut ids, 2), Ok(2));
        assert_eq!(add(&mut ids, 2), Err(DuplicateId));
        assert_eq!(add(&mut ids, -7), Ok(-7));
        assert_eq!([add(&mut ids, 0), add(&mut ids, 0)], [Ok(1), Ok(3)]);
        assert!(ids.remove(2).is_some() && ids.remove(2).is_none());
        assert_eq!(add(&mut ids, 2), Ok(2), "a cancelled id is free again");
        assert_eq!(add(&mut ids, 0), Ok(4), "a counted one is not given again");
    }
}
