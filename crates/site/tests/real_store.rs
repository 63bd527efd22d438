//! The hub on a real store: what history answers is what publish said, and the hub finds in its answers what it relies on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tombolo_site::{Credit, EndCause, Hub, HubOptions, LeaseTable, Output, WatchSpec, WatcherId};
use tombolo_storage::{
    Commit, Committer, Delete, Event, KeyRange, Op, OpenOptions, Put, Request, Store, Transaction, WallTime,
};

/// A store, its hub and its leases, driven as a server would.
struct Site {
    _folder: tempfile::TempDir,
    store: Store,
    committer: Committer,
    hub: Hub,
    leases: LeaseTable,
    delivered: Vec<(WatcherId, Event)>,
    endings: Vec<(WatcherId, EndCause)>,
}

impl Site {
    fn new(credit: Credit) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = OpenOptions::new(WallTime(1_000), [7; 32]);
        let (store, committer) = Store::open(&folder.path().join("data"), &options).expect("a new store opens");
        let hub = Hub::new(store.published().revision, HubOptions { credit, ..HubOptions::default() });
        let (delivered, endings) = (Vec::new(), Vec::new());
        Self { _folder: folder, store, committer, hub, leases: LeaseTable::new(), delivered, endings }
    }

    /// Commits requests as one group and publishes it.
    fn commit(&mut self, requests: Vec<Request>) -> Vec<Arc<Commit>> {
        for request in requests {
            self.committer.execute(WallTime(1_000), request).expect("the request is sound");
        }
        let commits = self.committer.commit().expect("the store takes writes");
        self.hub.publish(&commits);
        self.leases.apply(&commits, Duration::ZERO);
        self.drive();
        commits
    }

    fn watch(&mut self, spec: WatchSpec) -> WatcherId {
        let subscriber = self.hub.subscribe(Duration::ZERO);
        let watcher = self.hub.watch(subscriber, spec).expect("it can be watched");
        self.drive();
        watcher
    }

    /// Reads at once, and answers loads from the store.
    fn drive(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Load(load) => {
                    let answer = self.store.history(load.from, &load.range, load.budget);
                    self.hub.replayed(load.watcher, answer);
                }
                Output::Deliver(delivery) => {
                    let events = delivery.events().map(|event| (delivery.watcher, event.clone()));
                    self.delivered.extend(events);
                    self.hub.drained(delivery.subscriber, delivery.cost);
                }
                Output::End(ending) => self.endings.push((ending.watcher, ending.cause)),
                Output::Progress(progress) => self.hub.drained(progress.subscriber, progress.cost),
            }
        }
    }

    fn delivered_to(&self, watcher: WatcherId) -> Vec<Event> {
        self.delivered.iter().filter(|(id, _)| *id == watcher).map(|(_, event)| event.clone()).collect()
    }
}

#[test]
fn every_start_gets_the_rest_of_what_the_live_watch_got() {
    let mut site = Site::new(Credit { events: 7, bytes: 400 });
    let live = site.watch(WatchSpec::new(KeyRange::all(), 0));
    for round in 0..40 {
        site.commit((0..3).map(|nth| request(round * 3 + nth)).collect());
    }
    let all = site.delivered_to(live);
    assert!(all.len() > 120);
    let last = site.hub.revision().get();
    for range in [KeyRange::all(), KeyRange::single("k1".into()), KeyRange::before("k1".into(), "k4".into())] {
        for start in 1..=last {
            let watcher = site.watch(WatchSpec::new(range.clone(), start));
            let expected = all.iter().filter(|event| event.revision() >= start && range.contains(event.key()));
            assert_eq!(site.delivered_to(watcher), expected.cloned().collect::<Vec<_>>(), "{range:?} from {start}");
        }
    }
    assert_eq!(site.hub.stats().catching_up, 0);
    assert!(site.endings.is_empty());
}

#[test]
fn starts_below_a_compaction_are_refused_and_all_others_served() {
    let mut site = Site::new(HubOptions::default().credit);
    for nth in 0..20 {
        site.commit(vec![request(nth)]);
    }
    site.commit(vec![Request::Compact { revision: 12 }]);
    let below = site.watch(WatchSpec::new(KeyRange::all(), 11));
    let at = site.watch(WatchSpec::new(KeyRange::all(), 12));
    let foreign = site.watch(WatchSpec::new(KeyRange::all(), (5 << 38) | 40));
    let refused: Vec<_> = site.endings.iter().map(|(watcher, _)| *watcher).collect();
    assert_eq!(refused, [below, foreign]);
    assert!(site.endings.iter().all(|(_, cause)| matches!(cause, EndCause::Compacted { oldest: 12 })));
    assert_eq!(site.delivered_to(at).first().map(Event::revision), Some(12));
}

#[test]
fn an_expired_lease_ends_by_its_commit() {
    let mut site = Site::new(HubOptions::default().credit);
    let watcher = site.watch(WatchSpec::new(KeyRange::single("held".into()), 0));
    let held = Put { key: "held".into(), value: Some("v".into()), lease: Some(9), previous: false };
    site.commit(vec![Request::LeaseGrant { id: 9, ttl_s: 5 }, Request::Put(held)]);
    assert_eq!(site.leases.due(Duration::from_secs(4)), []);
    let due = site.leases.due(Duration::from_secs(5));
    site.commit(due.into_iter().map(|id| Request::LeaseRevoke { id }).collect());
    assert!(site.leases.is_empty());
    assert!(matches!(site.delivered_to(watcher)[..], [Event::Put(_), Event::Delete { .. }]));
}

/// A put, a delete or a transaction of both, over a handful of keys.
fn request(nth: usize) -> Request {
    let key = |nth: usize| Bytes::from(format!("k{}", nth % 6));
    let put = |nth| Put { key: key(nth), value: Some(vec![b'v'; nth % 90].into()), lease: Some(0), previous: false };
    let delete = |nth| Delete { range: KeyRange::single(key(nth)), previous: false };
    match nth % 5 {
        3 => Request::Delete(delete(nth / 2)),
        4 => {
            let then = vec![Op::Put(put(nth)), Op::Delete(delete(nth + 1)), Op::Put(put(nth + 2))];
            Request::Txn(Transaction { guards: Vec::new(), then, otherwise: Vec::new() })
        }
        _ => Request::Put(put(nth)),
    }
}
