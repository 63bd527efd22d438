//! The hub: who is subscribed, what is watched, and the outputs that wait to be fetched.
//!
//! Here are coming and going; the inputs that move events are in `dispatch` (what is published), `catch_up` (what history
//! answers) and `progress` (promises about revisions).

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use thiserror::Error;
use tombolo_storage::{Revision, is_foreign};

use super::{
    Credit, Output, SubscriberId, WatchSpec, WatcherId,
    index::Index,
    recent::Recent,
    slots::Slots,
    subscriber::Subscriber,
    watcher::{Gathered, Phase, Watcher},
};

/// The watches of one store. See the crate for how it is driven.
pub struct Hub {
    pub(super) options: HubOptions,
    /// Everything up to here is published, and nothing above is delivered.
    pub(super) revision: Revision,
    pub(super) subscribers: Slots<Subscriber>,
    pub(super) watchers: Slots<Watcher>,
    pub(super) index: Index,
    pub(super) recent: Recent,
    pub(super) outputs: VecDeque<Output>,
    /// When each subscriber's interval ends.
    pub(super) deadlines: BTreeSet<(Duration, SubscriberId)>,
    /// Subscribers with an unanswered progress request.
    pub(super) progress_waiting: BTreeSet<SubscriberId>,
    /// Watchers that are not synced.
    pub(super) catching_up: usize,
    pub(super) demotions: u64,
    pub(super) loads: u64,
    /// Scratch of `publish`: watchers that the commit concerns.
    pub(super) touched: Vec<WatcherId>,
    /// Scratch of `publish`: watchers for which something was gathered.
    pub(super) gathering: Vec<WatcherId>,
}

/// What a hub is told once.
#[derive(Clone, Copy, Debug)]
pub struct HubOptions {
    /// How much may be queued for one subscriber. One delivery may exceed it when nothing else is queued.
    pub credit: Credit,
    /// How often a watcher that asked for it is told the revision while nothing happens. Not less than 100 ms.
    pub progress_interval: Duration,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self { credit: CREDIT_DEFAULT, progress_interval: PROGRESS_INTERVAL_DEFAULT }
    }
}

/// How a hub is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubStats {
    /// Streams.
    pub subscribers: usize,
    /// Watches on them.
    pub watchers: usize,
    /// Those that are being fed from history.
    pub catching_up: usize,
    /// How often a watcher fell behind its stream's credit, since the hub began.
    pub demotions: u64,
    /// How many loads were asked for, since the hub began.
    pub loads: u64,
}

/// Why a watch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WatchError {
    /// No key can lie in the range.
    #[error("the watch's range is empty")]
    EmptyRange,
    /// The subscriber is gone.
    #[error("the subscriber does not exist")]
    UnknownSubscriber,
    /// The hub has no room for another watcher.
    #[error("there are {max} watches already")]
    TooManyWatchers {
        /// How many it takes.
        max: usize,
    },
}

impl Hub {
    /// A hub for a store whose published revision is `revision`: the first commit it is told of is the next one.
    pub fn new(revision: Revision, options: HubOptions) -> Self {
        let progress_interval = options.progress_interval.max(PROGRESS_INTERVAL_MIN);
        Self {
            options: HubOptions { progress_interval, ..options },
            revision,
            subscribers: Slots::new(),
            watchers: Slots::new(),
            index: Index::default(),
            recent: Recent::default(),
            outputs: VecDeque::new(),
            deadlines: BTreeSet::new(),
            progress_waiting: BTreeSet::new(),
            catching_up: 0,
            demotions: 0,
            loads: 0,
            touched: Vec::new(),
            gathering: Vec::new(),
        }
    }

    /// Takes on a stream with an empty queue.
    pub fn subscribe(&mut self, now: Duration) -> SubscriberId {
        let deadline = now.saturating_add(self.options.progress_interval);
        let subscriber = SubscriberId(self.subscribers.insert(Subscriber::new(self.options.credit, deadline)));
        self.deadlines.insert((deadline, subscriber));
        subscriber
    }

    /// Forgets a stream and its watchers.
    pub fn unsubscribe(&mut self, subscriber: SubscriberId) {
        let Some(state) = self.subscribers.get_mut(subscriber.0) else { return };
        let watchers = std::mem::take(&mut state.watchers);
        self.deadlines.remove(&(state.deadline, subscriber));
        self.progress_waiting.remove(&subscriber);
        for watcher in watchers {
            self.forget(watcher);
        }
        self.subscribers.remove(subscriber.0);
    }

    /// Begins a watch. Its events come after this call, and so does the refusal of a start that is compacted.
    ///
    /// # Errors
    ///
    /// [`WatchError`] says why there is no watch. Nothing has changed.
    pub fn watch(&mut self, subscriber: SubscriberId, spec: WatchSpec) -> Result<WatcherId, WatchError> {
        if spec.range.is_empty() {
            return Err(WatchError::EmptyRange);
        }
        if self.watchers.len() >= WATCHERS_MAX {
            return Err(WatchError::TooManyWatchers { max: WATCHERS_MAX });
        }
        let Some(state) = self.subscribers.get_mut(subscriber.0) else { return Err(WatchError::UnknownSubscriber) };

        let published = self.revision.get();
        let ahead = spec.start > published && !is_foreign(spec.start, self.revision.slot());
        let synced = spec.start == 0 || ahead;
        // Below 1 there is nothing: a negative start is the beginning.
        let next = if spec.start == 0 { published + 1 } else { spec.start.max(1) };
        let range = spec.range.clone();
        let notified = spec.progress_notify;
        let watcher = WatcherId(self.watchers.insert(Watcher {
            subscriber,
            spec,
            phase: Phase::Synced,
            next,
            vouched: synced,
            quiet: true,
            matching: Default::default(),
            gathered: Gathered::default(),
        }));
        self.index.insert(&range, watcher);
        state.watchers.insert(watcher);
        if notified {
            state.notified.insert(watcher);
        }
        state.progress_floor = state.progress_floor.max(next - 1);
        if !synced {
            self.fall_behind(watcher, next);
            self.settle(subscriber);
        }
        Ok(watcher)
    }

    /// Ends a watch. Answers whether there was one; nothing is delivered for it any more.
    pub fn cancel(&mut self, watcher: WatcherId) -> bool {
        let Some(state) = self.forget(watcher) else { return false };
        self.settle(state.subscriber);
        true
    }

    /// Takes back what has left a subscriber's queue: the costs of outputs that were sent or dropped.
    pub fn drained(&mut self, subscriber: SubscriberId, credit: Credit) {
        if let Some(state) = self.subscribers.get_mut(subscriber.0) {
            state.drained(credit);
            self.settle(subscriber);
        }
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The revision up to which everything is published.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How the hub is doing.
    pub fn stats(&self) -> HubStats {
        HubStats {
            subscribers: self.subscribers.len(),
            watchers: self.watchers.len(),
            catching_up: self.catching_up,
            demotions: self.demotions,
            loads: self.loads,
        }
    }

    /// Does what a change of a subscriber's room, line or watchers has made possible.
    pub(super) fn settle(&mut self, subscriber: SubscriberId) {
        self.serve_line(subscriber);
        self.answer_progress(subscriber);
    }

    /// Takes a watcher out of every place that knows it.
    pub(super) fn forget(&mut self, watcher: WatcherId) -> Option<Watcher> {
        let state = self.watchers.remove(watcher.0)?;
        self.index.remove(&state.spec.range, watcher);
        if state.phase != Phase::Synced {
            self.catch_up_ended();
        }
        let subscriber = self.subscribers.get_mut(state.subscriber.0)?;
        subscriber.watchers.remove(&watcher);
        subscriber.notified.remove(&watcher);
        subscriber.not_starved(watcher);
        match state.phase {
            Phase::Synced => {}
            Phase::Waiting { ticket } => subscriber.leave_line(ticket),
            Phase::Loading => subscriber.end_load(),
        }
        if state.phase != Phase::Synced {
            subscriber.catching_up -= 1;
        }
        // The greatest start is looked for anew only if it can matter: nobody is asked about starts that have happened.
        if subscriber.progress_floor > self.revision.get() {
            let starts =
                subscriber.watchers.iter().filter_map(|id| self.watchers.get(id.0)).map(|other| other.next - 1);
            subscriber.progress_floor = starts.max().unwrap_or(i64::MIN);
        }
        Some(state)
    }
}

/// Enough for a link with some latency, little enough that thousands of stuck streams do not fill the memory.
const CREDIT_DEFAULT: Credit = Credit { events: 1024, bytes: 256 << 10 };

/// etcd's.
const PROGRESS_INTERVAL_DEFAULT: Duration = Duration::from_secs(600);

/// etcd's: shorter intervals only make load.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// A watcher takes some 400 bytes besides its key: half a gigabyte when all are there.
const WATCHERS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tombolo_storage::{Commit, Event, KeyRange, Slot};

    use super::*;

    /// What a hub says, with each load answered by what a store would say whose history begins at `oldest`.
    fn said(hub: &mut Hub, oldest: i64) -> Vec<(WatcherId, Option<i64>)> {
        let mut said = Vec::new();
        while let Some(output) = hub.poll() {
            match output {
                Output::Load(load) if load.from < oldest => {
                    hub.replayed(load.watcher, Err(tombolo_storage::ReadError::Compacted { oldest }));
                }
                Output::Load(load) => panic!("{load:?}"),
                Output::End(ending) => said.push((ending.watcher, None)),
                Output::Deliver(delivery) => {
                    said.push((delivery.watcher, Some(delivery.commits[0].commit.revision.get())))
                }
                Output::Progress(_) => {}
            }
        }
        said
    }

    #[test]
    fn when_history_begins_anew_watchers_hear_of_it_but_for_those_who_wait_for_what_is_ahead() {
        let mut hub = Hub::new(Slot::FIRST.beginning(), HubOptions::default());
        let subscriber = hub.subscribe(Duration::ZERO);
        let mut watch =
            |start| hub.watch(subscriber, WatchSpec::new(KeyRange::all(), start)).expect("it can be watched");
        let (synced, soon, later) = (watch(0), watch(3), watch(5));
        let mut revisions = vec![hub.revision];
        (0..4).for_each(|at: usize| revisions.push(revisions[at].next().expect("there is a next revision")));
        let commit = |at: usize, events: bool| {
            let revision = revisions[at];
            let events = if events { vec![Event::Delete { key: "b".into(), revision }] } else { Vec::new() };
            Arc::new(Commit { number: at as u64, revision, events, leases: Vec::new(), system: Vec::new() })
        };
        // A group that is told, a join that is not, and a write after it.
        hub.publish(&[commit(1, true), commit(3, false)]);
        assert_eq!(said(&mut hub, 4), [(synced, Some(2)), (synced, None), (soon, None)]);
        hub.publish(&[commit(3, false), commit(4, true)]);
        assert_eq!(said(&mut hub, 4), [(later, Some(5))]);
        let from_there = hub.watch(subscriber, WatchSpec::new(KeyRange::all(), 0)).expect("it can be watched");
        assert!(hub.cancel(from_there) && hub.cancel(later));
    }

    #[test]
    fn a_watch_that_is_gone_leaves_nothing_behind() {
        let mut hub = Hub::new(Slot::FIRST.beginning(), HubOptions::default());
        let subscriber = hub.subscribe(Duration::ZERO);
        let mut watch = |range, start| hub.watch(subscriber, WatchSpec::new(range, start)).expect("it can be watched");
        let synced = watch(KeyRange::single("a".into()), 0);
        let ranged = watch(KeyRange::all(), 0);
        let behind = watch(KeyRange::single("a".into()), 1);
        let revision = hub.revision.next().expect("there is a next revision");
        let events = vec![Event::Delete { key: "b".into(), revision }];
        hub.publish(&[Arc::new(Commit { number: 1, revision, events, leases: Vec::new(), system: Vec::new() })]);
        assert!(!hub.index.is_empty() && hub.recent.since(0).count() == 1);

        hub.progress(subscriber);
        assert!(hub.cancel(synced) && hub.cancel(behind));
        assert_eq!(hub.recent.since(0).count(), 0);
        hub.unsubscribe(subscriber);
        assert!(!hub.cancel(ranged));
        assert!(hub.index.is_empty() && hub.deadlines.is_empty() && hub.progress_waiting.is_empty());
        assert_eq!(hub.stats(), HubStats { loads: 1, ..HubStats::default() });
    }
}
