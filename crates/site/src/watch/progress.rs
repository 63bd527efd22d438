//! Promises that everything up to a revision was delivered: in answer to a request, and at intervals.
//!
//! Both are outputs like deliveries, so that they cannot overtake one, and both speak of the hub's revision, so that they
//! never go back. A revision below a watcher's start is not told on its stream: a client resumes from what it is told, and
//! would then get events it never asked for.

use std::time::Duration;

use super::{Credit, Hub, Output, Progress, SubscriberId, WatcherId, watcher::Phase};

impl Hub {
    /// A client asks how far the watches of its stream are. The answer follows once all of them are synced; requests that wait
    /// for it share it.
    pub fn progress(&mut self, subscriber: SubscriberId) {
        if let Some(state) = self.subscribers.get_mut(subscriber.0) {
            state.progress_requested = true;
            self.progress_waiting.insert(subscriber);
            self.answer_progress(subscriber);
        }
    }

    /// Tells that the moment of [`Hub::next_deadline`] has come. Early calls do nothing.
    pub fn tick(&mut self, now: Duration) {
        while let Some(&(deadline, subscriber)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.remove(&(deadline, subscriber));
            if let Some(state) = self.subscribers.get_mut(subscriber.0) {
                state.deadline = now.saturating_add(self.options.progress_interval);
                self.deadlines.insert((state.deadline, subscriber));
                self.notify(subscriber);
            }
        }
    }

    /// When [`Hub::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Answers the requests that the last publish has made answerable.
    pub(super) fn answer_waiting_progress(&mut self) {
        let waiting: Vec<SubscriberId> = self.progress_waiting.iter().copied().collect();
        for subscriber in waiting {
            self.answer_progress(subscriber);
        }
    }

    /// Answers a subscriber's request if there is one, nothing is behind, and the answer has room.
    pub(super) fn answer_progress(&mut self, id: SubscriberId) {
        let published = self.revision.get();
        let Some(subscriber) = self.subscribers.get_mut(id.0) else { return };
        let promised = subscriber.catching_up == 0 && published >= subscriber.progress_floor && published > 0;
        if subscriber.progress_requested && promised && subscriber.spend_live(Credit::PROGRESS) {
            subscriber.progress_requested = false;
            self.progress_waiting.remove(&id);
            self.tell(id, None);
        }
    }

    /// Ends an interval of a subscriber: its synced watchers that got nothing in it are told the revision.
    fn notify(&mut self, id: SubscriberId) {
        let published = self.revision.get();
        let Some(subscriber) = self.subscribers.get_mut(id.0) else { return };
        let mut told = Vec::new();
        for watcher in &subscriber.notified {
            let Some(state) = self.watchers.get_mut(watcher.0) else { continue };
            let promised = state.phase == Phase::Synced && published >= state.next - 1 && published > 0;
            if std::mem::replace(&mut state.quiet, true) && promised {
                told.push(*watcher);
            }
        }
        for watcher in told {
            // A full queue means that the client has other things to read first. The next interval will do.
            if self.subscribers.get_mut(id.0).is_some_and(|subscriber| subscriber.spend_live(Credit::PROGRESS)) {
                self.tell(id, Some(watcher));
            }
        }
    }

    fn tell(&mut self, subscriber: SubscriberId, watcher: Option<WatcherId>) {
        let progress = Progress { subscriber, watcher, revision: self.revision, cost: Credit::PROGRESS };
        self.outputs.push_back(Output::Progress(progress));
    }
}
