//! Reads of the store, and the one place where they leave the runtime.
//!
//! The store is synchronous and may read the disk. A small read is answered where it is: it takes microseconds, less than handing it to another
//! thread and back. A large one could hold up every other request of its thread for as long as it takes, so it goes to the runtime's
//! blocking threads, a few at a time, since each holds its whole answer in memory.

use std::{future, panic, sync::Arc};

use bytes::Bytes;
use tokio::{sync::Semaphore, task};
use tombolo_crdt::VersionVector;
use tombolo_storage::{
    ArrivalBudget, Arrivals, ArrivalsError, HistoryBudget, HistoryChunk, KeyRange, KeyValue, RangeAnswer, RangeQuery,
    ReadError, Revision, Store, engine::EngineError,
};
use tracing::warn;

use crate::limits;

/// The reading side of the server's store.
pub(crate) struct Reads {
    store: Store,
    large: Semaphore,
    replays: Semaphore,
    loads: Semaphore,
    wholes: Arc<Semaphore>,
    defragmentations: Arc<Semaphore>,
}

impl Reads {
    pub(crate) fn new(store: Store) -> Self {
        let large = Semaphore::new(limits::LARGE_READS_MAX);
        let replays = Semaphore::new(limits::REPLAYS_MAX);
        let loads = Semaphore::new(limits::LOADS_MAX);
        let wholes = Arc::new(Semaphore::new(limits::WHOLES_MAX));
        let defragmentations = Arc::new(Semaphore::new(1));
        Self { store, large, replays, loads, wholes, defragmentations }
    }

    pub(crate) async fn range(&self, query: RangeQuery) -> Result<RangeAnswer, ReadError> {
        if is_small(&query) {
            return self.store.range(&query);
        }
        self.elsewhere(&self.large, move |store| store.range(&query)).await
    }

    /// A stretch of history. It is always large: how much matches is not known before.
    pub(crate) async fn history(
        &self,
        from: i64,
        range: KeyRange,
        budget: HistoryBudget,
    ) -> Result<HistoryChunk, ReadError> {
        self.elsewhere(&self.replays, move |store| store.history(from, &range, budget)).await
    }

    /// A stretch of the log for a peer. A peer that is nearly up to date is answered where it is: handing its read over would
    /// take longer than the read.
    pub(crate) async fn arrivals(
        &self,
        seen: VersionVector,
        from: u64,
        budget: ArrivalBudget,
    ) -> Result<Arrivals, ArrivalsError> {
        let left = self.store.published().commit.saturating_sub(from).min(budget.commits as u64);
        if left <= limits::SMALL_LOADS_MAX {
            return self.store.arrivals(&seen, from, budget);
        }
        self.elsewhere(&self.loads, move |store| store.arrivals(&seen, from, budget)).await
    }

    /// What a peer asks for to mend its rows: it takes a place among the stretches of the log that are read for peers.
    pub(crate) async fn for_repair<T: Send + 'static>(&self, read: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        self.elsewhere(&self.loads, read).await
    }

    /// For each key and revision the pair as it was just before. What was compacted meanwhile is absent.
    pub(crate) async fn previous(&self, wanted: Vec<(Bytes, Revision)>) -> Vec<Option<KeyValue>> {
        let small = wanted.len() <= limits::SMALL_LOOKUPS_MAX;
        let look_up = move |store: &Store| wanted.iter().map(|(key, revision)| before(store, key, *revision)).collect();
        if small { look_up(&self.store) } else { self.elsewhere(&self.replays, look_up).await }
    }

    /// A read of everything there is, which may take minutes. It keeps its place until it has ended, also when nobody waits for it any more.
    pub(crate) async fn whole<T: Send + 'static>(&self, read: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        self.long(&self.wholes, read).await
    }

    /// Work on the store that has a thread to itself and holds up no read: one at a time is asked for, by whoever keeps the store sound.
    pub(crate) async fn apart<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        let store = self.store.clone();
        answer(task::spawn_blocking(move || work(&store)).await).await
    }

    /// Gives back disk that is not in use: no read, but as long.
    pub(crate) async fn defragment(&self) -> Result<(), EngineError> {
        self.long(&self.defragmentations, Store::defragment).await
    }

    async fn long<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> T {
        // An error would mean that the semaphore was closed, which nobody does.
        let place = Arc::clone(places).acquire_owned().await;
        let store = self.store.clone();
        let worked = task::spawn_blocking(move || {
            let _place = place;
            work(&store)
        });
        answer(worked.await).await
    }

    async fn elsewhere<T: Send + 'static>(
        &self,
        places: &Semaphore,
        read: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> T {
        // An error would mean that the semaphore was closed, which nobody does.
        let _place = places.acquire().await;
        let store = self.store.clone();
        answer(task::spawn_blocking(move || read(&store)).await).await
    }
}

async fn answer<T>(worked: Result<T, task::JoinError>) -> T {
    match worked {
        Ok(answer) => answer,
        Err(failure) if failure.is_panic() => panic::resume_unwind(failure.into_panic()),
        // Cancelled: the runtime is going away, and with it whoever waits here.
        Err(_) => future::pending().await,
    }
}

fn before(store: &Store, key: &[u8], revision: Revision) -> Option<KeyValue> {
    match store.previous(key, revision) {
        Ok(pair) => pair,
        Err(ReadError::Compacted { .. }) => None,
        Err(why) => {
            warn!(%why, %revision, "a watcher gets an event without the previous value: it cannot be read");
            None
        }
    }
}

/// Whether a read is known to be cheap before it is made. A limit does not make it so: every answer has the count of the whole range.
fn is_small(query: &RangeQuery) -> bool {
    query.range.as_single().is_some() || query.range.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(end: &'static [u8], adapt: impl FnOnce(&mut RangeQuery)) -> RangeQuery {
        let mut query = RangeQuery::all(KeyRange::from_etcd(Bytes::from_static(b"a"), Bytes::from_static(end)));
        adapt(&mut query);
        query
    }

    #[test]
    fn only_what_is_surely_cheap_is_read_on_the_runtime() {
        assert!(is_small(&query(b"", |_| {})));
        assert!(is_small(&query(b"a", |_| {})), "an empty range");
        assert!(!is_small(&query(b"b", |_| {})));
        assert!(!is_small(&query(b"b", |query| query.count_only = true)));
        assert!(!is_small(&query(b"b", |query| query.limit = 1)));
    }
}
