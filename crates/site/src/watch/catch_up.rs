//! Watchers that are behind: they wait in line for room, get a stretch of history, and become synced at the hub's revision.
//!
//! A stretch that finds no room on arrival is dropped and read again later, from the first revision that was not delivered:
//! what is kept for a slow client is a number.

use std::sync::Arc;

use tombolo_storage::{HistoryBudget, HistoryChunk, ReadError, Revision};

use super::{
    EndCause, Ending, Hub, Load, Matched, Output, SubscriberId, WatcherId,
    subscriber::Subscriber,
    watcher::{Gathered, Phase},
};

impl Hub {
    /// Takes the answer to a [`Load`]. It may come late: an answer for a watcher that is gone is ignored.
    pub fn replayed(&mut self, watcher: WatcherId, answer: Result<HistoryChunk, ReadError>) {
        let Some(state) = self.watchers.get(watcher.0) else { return };
        if state.phase != Phase::Loading {
            return;
        }
        let (subscriber, from) = (state.subscriber, state.next);
        match answer {
            Ok(chunk) if chunk.next <= from && from <= self.revision.get() => {
                self.end(watcher, EndCause::Stalled { from, next: chunk.next });
            }
            Ok(chunk) => self.take_chunk(watcher, chunk),
            Err(ReadError::Compacted { oldest }) => self.end(watcher, EndCause::Compacted { oldest }),
            Err(error) => self.end(watcher, EndCause::Unreadable(error)),
        }
        self.settle(subscriber);
    }

    /// Turns a synced watcher into one that has everything below `next` and waits for the rest.
    pub(super) fn fall_behind(&mut self, id: WatcherId, next: i64) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return };
        watcher.next = next;
        watcher.phase = Phase::Waiting { ticket: subscriber.join_line(id) };
        subscriber.catching_up += 1;
        self.catching_up += 1;
    }

    /// Serves the watchers in a subscriber's line while there is room.
    pub(super) fn serve_line(&mut self, id: SubscriberId) {
        while let Some(subscriber) = self.subscribers.get_mut(id.0)
            && let Some(next) = subscriber.next_in_line()
        {
            self.advance(next);
        }
        debug_assert!(
            self.subscribers.get(id.0).is_none_or(Subscriber::wake_up_is_ahead),
            "a watcher would wait for ever"
        );
    }

    /// Brings a watcher that is not in line closer to the hub's revision: from memory, or by asking for a load.
    fn advance(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return };
        if watcher.vouched && self.recent.covers(watcher.next, self.revision.get()) {
            return self.bridge(id);
        }
        watcher.phase = Phase::Loading;
        self.loads += 1;
        self.outputs.push_back(Output::Load(Load {
            watcher: id,
            from: watcher.next,
            range: watcher.spec.range.clone(),
            budget: HistoryBudget { commits: LOAD_COMMITS_MAX, bytes: subscriber.begin_load() },
        }));
    }

    /// Delivers a loaded stretch, up to the hub's revision: what is above will be published.
    fn take_chunk(&mut self, id: WatcherId, chunk: HistoryChunk) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return };
        subscriber.end_load();
        watcher.vouched = true;
        let (from, published) = (watcher.next, self.revision.get());
        // The last commit counts as covered whatever the chunk says: commits are whole.
        let next = chunk.commits.last().map_or(chunk.next, |last| chunk.next.max(last.revision.get() + 1));
        let reached = next.min(published + 1).max(from);
        let wanted = chunk.commits.into_iter().filter(|commit| (from..=published).contains(&commit.revision.get()));
        let stretch: Vec<_> = wanted.filter_map(|commit| Matched::of(&Arc::new(commit), &watcher.spec)).collect();
        if self.feed(id, stretch, reached) {
            if self.recent.covers(reached, published) {
                self.bridge(id);
            } else {
                self.wait(id);
            }
        }
    }

    /// Delivers what memory holds from the watcher's next revision on. If all of it fits, the watcher is synced.
    fn bridge(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.get(id.0) else { return };
        let published = self.revision.get();
        let reached = watcher.next.max(published + 1);
        let stretch: Vec<_> =
            self.recent.since(watcher.next).filter_map(|commit| Matched::of(commit, &watcher.spec)).collect();
        if self.feed(id, stretch, reached) {
            self.promote(id);
        }
    }

    /// Delivers as much of `stretch` as fits and answers whether all did; then the watcher has everything below `reached`.
    /// Otherwise it is in line again, from the first revision that did not fit.
    fn feed(&mut self, id: WatcherId, stretch: Vec<Matched>, reached: i64) -> bool {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return false };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return false };
        let mut gathered = Gathered::default();
        watcher.next = reached;
        let mut complete = true;
        for matched in stretch {
            let cost = matched.cost();
            if !subscriber.spend_replay(id, cost) {
                watcher.next = matched.commit.revision.get();
                complete = false;
                break;
            }
            gathered.push(matched, cost);
        }
        if !complete {
            let nothing_fits = gathered.commits.is_empty();
            let ticket = if nothing_fits { subscriber.wait_for_empty_queue(id) } else { subscriber.join_line(id) };
            watcher.phase = Phase::Waiting { ticket };
        }
        if let Some(last) = gathered.commits.last() {
            let last = last.commit.revision;
            let covered = Revision::new(reached - 1).unwrap_or(last).clamp(last, self.revision.max(last));
            self.deliver(id, gathered, if complete { covered } else { last });
        }
        complete
    }

    /// Back to the end of the line: there is more to load.
    fn wait(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return };
        subscriber.not_starved(id);
        watcher.phase = Phase::Waiting { ticket: subscriber.join_line(id) };
    }

    /// The watcher has everything up to the hub's revision: from here on publish feeds it.
    fn promote(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return };
        watcher.phase = Phase::Synced;
        subscriber.not_starved(id);
        subscriber.catching_up -= 1;
        self.catch_up_ended();
    }

    /// Counts a watcher that does not catch up any more. The last one ends the recording.
    pub(super) fn catch_up_ended(&mut self) {
        self.catching_up -= 1;
        if self.catching_up == 0 {
            self.recent.clear();
        }
    }

    fn end(&mut self, watcher: WatcherId, cause: EndCause) {
        if let Some(state) = self.forget(watcher) {
            self.outputs.push_back(Output::End(Ending { subscriber: state.subscriber, watcher, cause }));
        }
    }
}

/// Commits one load may look at, so that a watcher of which little concerns does not hold a reader for long.
const LOAD_COMMITS_MAX: usize = 4096;
