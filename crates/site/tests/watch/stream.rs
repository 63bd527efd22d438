//! A driver for scenarios: one hub, one history, and queues that are read when the test says so.

use std::{collections::VecDeque, time::Duration};

use tombolo_site::{Credit, EndCause, Hub, HubOptions, Load, Output, SubscriberId, WatchSpec, WatcherId};
use tombolo_storage::{KeyRange, Revision, Slot};

use crate::history::History;

/// A hub with what surrounds it. Loads wait until [`World::load`] answers them; queues until [`World::read`].
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) history: History,
    pub(crate) loads: VecDeque<Load>,
    queue: VecDeque<(SubscriberId, Seen, Credit)>,
}

/// What a client sees, short enough to write down in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The revisions of a delivery's events.
    Events(WatcherId, Vec<i64>),
    Progress(Option<WatcherId>, i64),
    Compacted(WatcherId, i64),
    Failed(WatcherId),
}

pub(crate) const START: Duration = Duration::ZERO;

impl World {
    pub(crate) fn new() -> Self {
        Self::with_credit(HubOptions::default().credit)
    }

    pub(crate) fn with_credit(credit: Credit) -> Self {
        let options = HubOptions { credit, progress_interval: Duration::from_secs(10) };
        let hub = Hub::new(Slot::FIRST.beginning(), options);
        Self { hub, history: History::new(), loads: VecDeque::new(), queue: VecDeque::new() }
    }

    pub(crate) fn watch(&mut self, subscriber: SubscriberId, range: KeyRange, start: i64) -> WatcherId {
        self.watch_spec(subscriber, WatchSpec::new(range, start))
    }

    pub(crate) fn watch_spec(&mut self, subscriber: SubscriberId, spec: WatchSpec) -> WatcherId {
        let watcher = self.hub.watch(subscriber, spec).unwrap();
        self.drain();
        watcher
    }

    /// Commits one put and publishes it.
    pub(crate) fn put(&mut self, key: &str) {
        let commit = self.history.put(key);
        self.hub.publish(&[commit]);
        self.drain();
    }

    /// Commits `count` puts of `key` and publishes them as one group.
    pub(crate) fn put_group(&mut self, key: &str, count: usize) {
        let group: Vec<_> = (0..count).map(|_| self.history.put(key)).collect();
        self.hub.publish(&group);
        self.drain();
    }

    /// Calls the hub and fetches what it answers.
    pub(crate) fn call<T>(&mut self, call: impl FnOnce(&mut Hub) -> T) -> T {
        let answer = call(&mut self.hub);
        self.drain();
        answer
    }

    /// Answers the oldest load with what history knows now.
    pub(crate) fn load(&mut self) {
        let load = self.loads.pop_front().expect("a load was asked for");
        let answer = self.history.read(&load, self.history.commits.len());
        self.hub.replayed(load.watcher, answer);
        self.drain();
    }

    /// Reads everything that is queued now and gives its credit back. What that makes possible is queued behind it.
    pub(crate) fn read(&mut self) -> Vec<Seen> {
        (0..self.queue.len()).filter_map(|_| self.read_one()).collect()
    }

    /// Reads what is queued first and gives its credit back.
    pub(crate) fn read_one(&mut self) -> Option<Seen> {
        let (subscriber, seen, cost) = self.queue.pop_front()?;
        self.hub.drained(subscriber, cost);
        self.drain();
        Some(seen)
    }

    /// Looks at everything that is queued; its credit stays out.
    pub(crate) fn queued(&self) -> Vec<Seen> {
        self.queue.iter().map(|(_, seen, _)| seen.clone()).collect()
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Load(load) => self.loads.push_back(load),
                Output::Deliver(delivery) => {
                    let revisions = delivery.events().map(|event| event.revision()).collect();
                    let seen = Seen::Events(delivery.watcher, revisions);
                    self.queue.push_back((delivery.subscriber, seen, delivery.cost));
                }
                Output::Progress(progress) => {
                    let seen = Seen::Progress(progress.watcher, progress.revision.get());
                    self.queue.push_back((progress.subscriber, seen, progress.cost));
                }
                Output::End(ending) => {
                    let seen = match ending.cause {
                        EndCause::Compacted { oldest } => Seen::Compacted(ending.watcher, oldest),
                        EndCause::Unreadable(_) | EndCause::Stalled { .. } => Seen::Failed(ending.watcher),
                    };
                    self.queue.push_back((ending.subscriber, seen, Credit::default()));
                }
            }
        }
    }
}

pub(crate) fn key(key: &str) -> KeyRange {
    KeyRange::single(key.to_owned().into())
}

/// Room for so many events of a few bytes.
pub(crate) fn events(events: usize) -> Credit {
    Credit { events, bytes: 1 << 20 }
}

pub(crate) fn revision(number: i64) -> Revision {
    Revision::new(number).unwrap()
}
