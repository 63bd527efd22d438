//! Drives the watch hub: one lock around it, one outbox for each stream, and the tasks that read history and keep its time.
//!
//! Every call on the hub is followed by draining what it has to say, under the same lock, so that each stream's outbox has one order:
//! the hub's. The outboxes are bounded by the hub's credit, which a stream gives back as items leave.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tombolo_proto::etcdserverpb::WatchResponse;
use tombolo_site::{
    Credit, Delivery, Ending, Hub, HubOptions, HubStats, Load, Output, Progress, SubscriberId, WatchError, WatchSpec,
    WatcherId,
};
use tombolo_storage::{Commit, Revision};

use crate::{clock::Uptime, replica::Replica};

/// What a stream has to send, in order.
pub(crate) enum Item {
    /// The stream's own word about a watcher.
    Control(WatchResponse),
    Deliver(Delivery),
    End(Ending),
    Progress(Progress),
}

/// The hub with its surroundings.
pub(crate) struct Watches {
    state: Mutex<State>,
    uptime: Uptime,
    /// Wakes the clock's task when its next deadline may have come nearer.
    sooner: Notify,
    loads: mpsc::UnboundedSender<Load>,
    /// Taken by the task that serves it.
    loads_wanted: Mutex<Option<mpsc::UnboundedReceiver<Load>>>,
}

struct State {
    hub: Hub,
    /// An outbox that is gone from here ends its stream.
    outboxes: HashMap<SubscriberId, mpsc::UnboundedSender<Item>>,
    closed: bool,
}

/// One stream's place in the hub. Dropping it ends its watchers.
pub(crate) struct Subscription {
    watches: Arc<Watches>,
    id: SubscriberId,
    pub(crate) outbox: mpsc::UnboundedReceiver<Item>,
}

impl Watches {
    pub(crate) fn new(revision: Revision, progress_interval: Duration, uptime: Uptime) -> Self {
        let hub = Hub::new(revision, HubOptions { progress_interval, ..HubOptions::default() });
        // One load at most is under way for each watcher, and the hub bounds the watchers.
        let (loads, loads_wanted) = mpsc::unbounded_channel();
        Self {
            state: Mutex::new(State { hub, outboxes: HashMap::new(), closed: false }),
            uptime,
            sooner: Notify::new(),
            loads,
            loads_wanted: Mutex::new(Some(loads_wanted)),
        }
    }

    /// Tells the hub what has become durable. Replies to whoever caused it come after this.
    pub(crate) fn publish(&self, commits: &[Arc<Commit>]) {
        self.drive(|state| state.hub.publish(commits));
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let (sender, outbox) = mpsc::unbounded_channel();
        let id = self.drive(|state| {
            let id = state.hub.subscribe(self.uptime.now());
            if !state.closed {
                state.outboxes.insert(id, sender);
            }
            id
        });
        self.sooner.notify_one();
        Subscription { watches: Arc::clone(self), id, outbox }
    }

    pub(crate) fn stats(&self) -> HubStats {
        self.state.lock().hub.stats()
    }

    /// Ends every stream, and every stream that begins from now on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.outboxes.clear();
    }

    /// Serves the hub's clock for ever.
    pub(crate) async fn keep_time(replica: Arc<Replica>) {
        let watches = &replica.watches;
        loop {
            let deadline = watches.state.lock().hub.next_deadline();
            tokio::select! {
                () = watches.uptime.sleep_until(deadline) => watches.drive(|state| state.hub.tick(watches.uptime.now())),
                () = watches.sooner.notified() => {}
            }
        }
    }

    /// Reads the history that the hub asks for, for ever. The reads bound how many stretches are read at a time.
    pub(crate) async fn serve_loads(replica: Arc<Replica>) {
        let wanted = replica.watches.loads_wanted.lock().take();
        let Some(mut wanted) = wanted else { return };
        while let Some(load) = wanted.recv().await {
            let replica = Arc::clone(&replica);
            tokio::spawn(async move {
                let answer = replica.reads.history(load.from, load.range, load.budget).await;
                replica.watches.drive(|state| state.hub.replayed(load.watcher, answer));
            });
        }
    }

    /// Does something to the hub and hands on everything that follows from it.
    fn drive<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let answer = act(&mut state);
        while let Some(output) = state.hub.poll() {
            let (subscriber, item) = match output {
                Output::Deliver(delivery) => (delivery.subscriber, Item::Deliver(delivery)),
                Output::End(ending) => (ending.subscriber, Item::End(ending)),
                Output::Progress(progress) => (progress.subscriber, Item::Progress(progress)),
                Output::Load(load) => {
                    // The receiver goes only with the runtime.
                    let _ = self.loads.send(load);
                    continue;
                }
            };
            if let Some(outbox) = state.outboxes.get(&subscriber) {
                // A stream that has just gone misses nothing.
                let _ = outbox.send(item);
            }
        }
        answer
    }
}

impl Subscription {
    /// Begins a watch. `announce` makes the answer to the client, which enters the outbox before anything the watch yields.
    pub(crate) fn watch(
        &self,
        spec: WatchSpec,
        announce: impl FnOnce(Result<WatcherId, WatchError>, Revision) -> WatchResponse,
    ) {
        let notify = spec.progress_notify;
        self.watches.drive(|state| {
            let watcher = state.hub.watch(self.id, spec);
            let answer = announce(watcher, state.hub.revision());
            self.push(state, answer);
        });
        if notify {
            self.watches.sooner.notify_one();
        }
    }

    /// Ends a watch; what it had under way is skipped. The answer enters the outbox after all of that.
    pub(crate) fn cancel(&self, watcher: WatcherId, announce: impl FnOnce(Revision) -> WatchResponse) {
        self.watches.drive(|state| {
            state.hub.cancel(watcher);
            let answer = announce(state.hub.revision());
            self.push(state, answer);
        });
    }

    /// Puts an answer that concerns no watcher into the outbox.
    pub(crate) fn say(&self, announce: impl FnOnce(Revision) -> WatchResponse) {
        self.watches.drive(|state| {
            let answer = announce(state.hub.revision());
            self.push(state, answer);
        });
    }

    /// Asks for a promise of progress on the whole stream.
    pub(crate) fn progress(&self) {
        self.watches.drive(|state| state.hub.progress(self.id));
    }

    /// Gives back what items cost that have left.
    pub(crate) fn drained(&self, cost: Credit) {
        self.watches.drive(|state| state.hub.drained(self.id, cost));
    }

    fn push(&self, state: &State, answer: WatchResponse) {
        if let Some(outbox) = state.outboxes.get(&self.id) {
            // The receiver is ours.
            let _ = outbox.send(Item::Control(answer));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.watches.drive(|state| {
            state.outboxes.remove(&self.id);
            state.hub.unsubscribe(self.id);
        });
    }
}
