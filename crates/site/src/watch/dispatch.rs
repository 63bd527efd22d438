//! What is published goes to the synced watchers it concerns, and demotes those whose stream has no room.
//!
//! A group of commits makes one delivery for each watcher. A commit that nobody watches costs its look-ups, and nothing but
//! a comparison when there is no watcher at all.

use std::{collections::BTreeSet, sync::Arc};

use tombolo_storage::{Commit, Revision};

use super::{
    Delivery, Hub, Matched, Output, WatcherId,
    watcher::{Gathered, Phase, Watcher},
};

impl Hub {
    /// Takes commits that are visible to readers now: all of them, in order, as the committer answered them.
    ///
    /// A commit that raises the revision and has no events changed more than can be told: history begins anew at its revision. Who has not
    /// got that far asks history, and hears from it that what is missing is compacted.
    pub fn publish(&mut self, commits: &[Arc<Commit>]) {
        for commit in commits {
            // Most commits without events have the revision of the one before. They are nothing to watchers.
            if commit.revision <= self.revision {
                continue;
            }
            if commit.events.is_empty() {
                self.begin_anew(commit.revision);
                continue;
            }
            if !self.index.is_empty() {
                self.dispatch(commit);
            }
            self.revision = commit.revision;
            if self.catching_up > 0 {
                self.recent.push(commit);
            }
        }
        self.flush();
        self.answer_waiting_progress();
    }

    /// Sends everybody who is waiting for what is at or below `revision` to ask history.
    fn begin_anew(&mut self, revision: Revision) {
        self.flush();
        let next = self.revision.get() + 1;
        self.revision = revision;
        self.recent.clear();
        let is_waiting = |watcher: &Watcher| watcher.phase == Phase::Synced && watcher.next <= revision.get();
        let waiting = self.watchers.iter().filter(|(_, watcher)| is_waiting(watcher));
        let waiting: Vec<_> =
            waiting.map(|(key, watcher)| (WatcherId(key), watcher.subscriber, watcher.next.max(next))).collect();
        let mut subscribers = BTreeSet::new();
        for (id, subscriber, next) in waiting {
            self.fall_behind(id, next);
            subscribers.insert(subscriber);
        }
        subscribers.into_iter().for_each(|id| self.settle(id));
    }

    /// Gathers one commit for the watchers it concerns. The hub's revision is still the one before it.
    fn dispatch(&mut self, commit: &Arc<Commit>) {
        let revision = commit.revision.get();
        let (watchers, touched) = (&mut self.watchers, &mut self.touched);
        for (ordinal, event) in (0..).zip(&commit.events) {
            self.index.visit(event.key(), |id| {
                let Some(watcher) = watchers.get_mut(id.0) else { return };
                if watcher.takes(revision, event) {
                    if watcher.matching.is_empty() {
                        touched.push(id);
                    }
                    watcher.matching.push(ordinal);
                }
            });
        }
        for at in 0..self.touched.len() {
            self.gather(self.touched[at], commit);
        }
        self.touched.clear();
    }

    /// Adds the matching events of `commit` to what the watcher gets, if its stream has room for them.
    fn gather(&mut self, id: WatcherId, commit: &Arc<Commit>) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        let Some(subscriber) = self.subscribers.get_mut(watcher.subscriber.0) else { return };
        let matched = Matched::new(Arc::clone(commit), std::mem::take(&mut watcher.matching));
        let cost = matched.cost();
        if subscriber.spend_live(cost) {
            if watcher.gathered.commits.is_empty() {
                self.gathering.push(id);
            }
            watcher.gathered.push(matched, cost);
        } else {
            // Its wake-up is ahead: there was no room, so that something is queued and its credit returns.
            debug_assert!(subscriber.wake_up_is_ahead());
            self.demotions += 1;
            self.fall_behind(id, commit.revision.get());
        }
    }

    /// Delivers what was gathered.
    fn flush(&mut self) {
        for at in 0..self.gathering.len() {
            let id = self.gathering[at];
            let Some(watcher) = self.watchers.get_mut(id.0) else { continue };
            let gathered = std::mem::take(&mut watcher.gathered);
            // One that was demoted within the group has not got everything up to the group's end.
            let last = gathered.commits.last().map_or(self.revision, |matched| matched.commit.revision);
            let complete = if watcher.phase == Phase::Synced { self.revision } else { last };
            self.deliver(id, gathered, complete);
        }
        self.gathering.clear();
    }

    /// Puts a delivery that is paid for among the outputs. `complete` is the revision up to which the watcher has everything.
    pub(super) fn deliver(&mut self, id: WatcherId, gathered: Gathered, complete: Revision) {
        let Some(watcher) = self.watchers.get_mut(id.0) else { return };
        if gathered.commits.is_empty() {
            return;
        }
        watcher.quiet = false;
        self.outputs.push_back(Output::Deliver(Delivery {
            subscriber: watcher.subscriber,
            watcher: id,
            commits: gathered.commits,
            revision: complete,
            wants_previous: watcher.spec.previous,
            cost: gathered.cost,
        }));
    }
}
