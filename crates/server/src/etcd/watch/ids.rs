//! The watch ids of one stream: chosen by the client, or counted up from 0 around those.
//!
//! As in etcd, the id of a watcher that the server ended stays taken until the client cancels it too.

use std::collections::HashMap;

use thiserror::Error;
use tombolo_site::WatcherId;

use crate::limits;

/// Why a watcher got no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum NoId {
    /// The client chose one that is taken.
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    Duplicate,
    /// There are too many already.
    #[error("tombolo: a stream has at most {} watch ids", limits::WATCH_IDS_MAX)]
    TooMany,
}

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
    /// `None` for a watcher that the server ended.
    by_watch_id: HashMap<i64, Option<WatcherId>>,
    watchers: HashMap<WatcherId, Watcher>,
    next: i64,
}

impl Ids {
    /// The id that a new watcher gets when the client asked for `asked`; 0 leaves the choice to the server.
    pub(super) fn choose(&mut self, asked: i64) -> Result<i64, NoId> {
        if self.by_watch_id.len() >= limits::WATCH_IDS_MAX {
            return Err(NoId::TooMany);
        }
        if asked != 0 {
            return if self.by_watch_id.contains_key(&asked) { Err(NoId::Duplicate) } else { Ok(asked) };
        }
        while self.by_watch_id.contains_key(&self.next) {
            self.next += 1;
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    pub(super) fn insert(&mut self, id: WatcherId, watcher: Watcher) {
        self.by_watch_id.insert(watcher.watch_id, Some(id));
        self.watchers.insert(id, watcher);
    }

    /// `None` when the watcher was cancelled: what was under way for it is skipped.
    pub(super) fn find(&self, id: WatcherId) -> Option<Watcher> {
        self.watchers.get(&id).copied()
    }

    /// Frees an id that the client names; answers the watcher that had it, if that still lives, and `None` for an unknown id.
    pub(super) fn remove(&mut self, watch_id: i64) -> Option<Option<WatcherId>> {
        let id = self.by_watch_id.remove(&watch_id)?;
        if let Some(id) = id {
            self.watchers.remove(&id);
        }
        Some(id)
    }

    /// Forgets a watcher that the hub has ended. Its id stays taken.
    pub(super) fn ended(&mut self, id: WatcherId) -> Option<Watcher> {
        let watcher = self.watchers.remove(&id)?;
        self.by_watch_id.insert(watcher.watch_id, None);
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
        assert_eq!(add(&mut ids, 2), Err(NoId::Duplicate));
        assert_eq!(add(&mut ids, -7), Ok(-7));
        assert_eq!([add(&mut ids, 0), add(&mut ids, 0)], [Ok(1), Ok(3)]);
        assert!(ids.remove(2).is_some() && ids.remove(2).is_none());
        assert_eq!(add(&mut ids, 2), Ok(2), "a cancelled id is free again");
        assert_eq!(add(&mut ids, 0), Ok(4), "a counted one is not given again");
    }

    #[test]
    fn the_id_of_an_ended_watcher_is_free_only_when_the_client_cancels_it() {
        let mut hub =
            tombolo_site::Hub::new(tombolo_storage::Slot::FIRST.beginning(), tombolo_site::HubOptions::default());
        let subscriber = hub.subscribe(std::time::Duration::ZERO);
        let range = tombolo_storage::KeyRange::all();
        let watcher = hub.watch(subscriber, tombolo_site::WatchSpec::new(range, 0)).unwrap();
        let mut ids = Ids::default();
        ids.insert(watcher, Watcher { watch_id: 8, fragment: false });
        assert_eq!(ids.ended(watcher).map(|watcher| watcher.watch_id), Some(8));
        assert_eq!(ids.find(watcher), None);
        assert_eq!(ids.choose(8), Err(NoId::Duplicate));
        assert_eq!(ids.remove(8), Some(None));
        assert_eq!(ids.choose(8), Ok(8));
    }
}
