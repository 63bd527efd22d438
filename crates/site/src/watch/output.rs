//! What a hub asks of its driver.

use std::sync::Arc;

use smallvec::SmallVec;
use thiserror::Error;
use tombolo_storage::{Commit, Event, HistoryBudget, KeyRange, ReadError, Revision};

use super::{Credit, SubscriberId, WatchSpec, WatcherId};

/// One thing to do. What concerns a subscriber goes into its queue in the order it comes: progress rests on that.
#[derive(Debug)]
pub enum Output {
    /// Send events.
    Deliver(Delivery),
    /// Read history, and answer with [`Hub::replayed`](super::Hub::replayed).
    Load(Load),
    /// Announce that a watcher is gone.
    End(Ending),
    /// Send a revision up to which everything has been delivered.
    Progress(Progress),
}

/// Events for one watcher.
#[derive(Debug)]
pub struct Delivery {
    /// The stream to send on.
    pub subscriber: SubscriberId,
    /// The watcher they are for.
    pub watcher: WatcherId,
    /// At least one commit, ascending; each with all its matching events.
    pub commits: SmallVec<[Matched; 1]>,
    /// Every matching event up to this revision is in this delivery or an earlier one.
    pub revision: Revision,
    /// Whether the watch asked for the pairs that the events replaced. Look them up when sending, not when queueing: they
    /// are not part of the cost.
    pub wants_previous: bool,
    /// To be given back by [`Hub::drained`](super::Hub::drained) when this has left the queue.
    pub cost: Credit,
}

impl Delivery {
    /// All events, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.commits.iter().flat_map(|matched| matched.events().map(|(_, event)| event))
    }
}

/// A commit and which of its events are meant. The commit is shared by all its watchers.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The commit.
    pub commit: Arc<Commit>,
    chosen: Chosen,
}

/// Which events of a commit. Four ordinals take no more room than the pointer to a list of them.
#[derive(Clone, Debug)]
enum Chosen {
    All,
    Some(SmallVec<[u32; 4]>),
}

impl Matched {
    /// The given events of a commit, by ascending ordinals.
    pub(crate) fn new(commit: Arc<Commit>, ordinals: SmallVec<[u32; 4]>) -> Self {
        let chosen = if ordinals.len() == commit.events.len() { Chosen::All } else { Chosen::Some(ordinals) };
        Self { commit, chosen }
    }

    /// The events of `commit` that `spec` asks for; `None` when there are none.
    pub(crate) fn of(commit: &Arc<Commit>, spec: &WatchSpec) -> Option<Self> {
        let wanted = |event: &Event| spec.range.contains(event.key()) && spec.lets_through(event);
        let ordinals: SmallVec<[u32; 4]> =
            (0..).zip(&commit.events).filter(|(_, event)| wanted(event)).map(|(ordinal, _)| ordinal).collect();
        (!ordinals.is_empty()).then(|| Self::new(Arc::clone(commit), ordinals))
    }

    /// The events with their ordinals in the commit, in order.
    pub fn events(&self) -> impl Iterator<Item = (usize, &Event)> {
        let ordinal_at = |at: usize| match &self.chosen {
            Chosen::All => at,
            Chosen::Some(ordinals) => ordinals[at] as usize,
        };
        (0..self.len()).map(ordinal_at).map(|ordinal| (ordinal, &self.commit.events[ordinal]))
    }

    /// How many events are meant, at least one.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        match &self.chosen {
            Chosen::All => self.commit.events.len(),
            Chosen::Some(ordinals) => ordinals.len(),
        }
    }

    pub(crate) fn cost(&self) -> Credit {
        self.events().map(|(_, event)| Credit::of(event)).fold(Credit::ZERO, |sum, cost| sum + cost)
    }
}

/// A stretch of history to read.
#[derive(Clone, Debug)]
pub struct Load {
    /// Who it is for.
    pub watcher: WatcherId,
    /// The first revision to look at.
    pub from: i64,
    /// The keys.
    pub range: KeyRange,
    /// How much to read.
    pub budget: HistoryBudget,
}

/// A watcher that is gone without having been cancelled.
#[derive(Debug)]
pub struct Ending {
    /// The stream it was on.
    pub subscriber: SubscriberId,
    /// The watcher.
    pub watcher: WatcherId,
    /// Why.
    pub cause: EndCause,
}

/// Why a watcher could not go on. Going on would mean to skip events.
#[derive(Debug, Error)]
pub enum EndCause {
    /// History from its next revision on is not complete any more.
    #[error("the watch's revision has been compacted; {oldest} is the oldest")]
    Compacted {
        /// The oldest revision a watch can start from.
        oldest: i64,
    },
    /// History could not be read.
    #[error("failed to read the watch's history")]
    Unreadable(#[source] ReadError),
    /// A load from a revision that has happened covered nothing, not even that revision.
    #[error("a load of history from revision {from} came back at {next}")]
    Stalled {
        /// Where the load began.
        from: i64,
        /// The first revision that it says it has not covered.
        next: i64,
    },
}

/// The promise that every event up to a revision was delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stream to send on.
    pub subscriber: SubscriberId,
    /// The watcher it speaks for; `None`: all of the stream, in answer to a request.
    pub watcher: Option<WatcherId>,
    /// The revision, never 0.
    pub revision: Revision,
    /// To be given back by [`Hub::drained`](super::Hub::drained) when this has left the queue.
    pub cost: Credit,
}
