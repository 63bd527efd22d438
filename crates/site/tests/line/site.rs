//! A store and its hub, driven at once as a server would by and by.

use std::{collections::HashMap, time::Duration};

use tombolo_site::{Hub, HubOptions, Output, WatchSpec, WatcherId};
use tombolo_storage::{
    Answer, Committer, Durability, Event, OpenOptions, RangeAnswer, RangeQuery, Request, Store, Transaction, WallTime,
};

/// A store and its hub.
pub(crate) struct Site {
    _folder: tempfile::TempDir,
    store: Store,
    committer: Committer,
    hub: Hub,
    events: HashMap<WatcherId, Vec<Event>>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { durability: Durability::Os, ..OpenOptions::new(WallTime(1_000), [7; 32]) };
        let (store, committer) = Store::open(&folder.path().join("data"), &options).unwrap();
        let hub = Hub::new(store.published().revision, HubOptions::default());
        Self { _folder: folder, store, committer, hub, events: HashMap::new() }
    }

    pub(crate) fn commit(&mut self, request: Request) -> Answer {
        let answer = self.committer.execute(WallTime(1_000), request).unwrap();
        let commits = self.committer.commit().unwrap();
        self.hub.publish(&commits);
        self.drive();
        answer
    }

    pub(crate) fn txn(&mut self, transaction: Transaction) -> (tombolo_storage::TxnAnswer, i64) {
        let answer = self.commit(Request::Txn(transaction));
        let tombolo_storage::Outcome::Txn(txn) = answer.outcome else { panic!("{:?}", answer.outcome) };
        (txn, answer.revision.get())
    }

    pub(crate) fn read(&self, query: &RangeQuery) -> RangeAnswer {
        self.store.range(query).unwrap()
    }

    pub(crate) fn watch(&mut self, spec: WatchSpec) -> WatcherId {
        let subscriber = self.hub.subscribe(Duration::ZERO);
        let watcher = self.hub.watch(subscriber, spec).unwrap();
        self.drive();
        watcher
    }

    /// What the watch has yielded and nobody has looked at yet.
    pub(crate) fn heard(&mut self, watcher: WatcherId) -> Vec<Event> {
        self.events.remove(&watcher).unwrap_or_default()
    }

    fn drive(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Load(load) => {
                    let answer = self.store.history(load.from, &load.range, load.budget);
                    self.hub.replayed(load.watcher, answer);
                }
                Output::Deliver(delivery) => {
                    self.events.entry(delivery.watcher).or_default().extend(delivery.events().cloned());
                    self.hub.drained(delivery.subscriber, delivery.cost);
                }
                Output::End(ending) => panic!("{ending:?}"),
                Output::Progress(progress) => self.hub.drained(progress.subscriber, progress.cost),
            }
        }
    }
}

/// Small numbers in an order that the seed decides.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
