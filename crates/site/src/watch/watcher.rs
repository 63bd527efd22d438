//! One watch: what it asks for and how far it has come.

use smallvec::SmallVec;
use tombolo_storage::{Event, KeyRange};

use super::{Credit, Matched, SubscriberId, slots::SlotKey};

/// Names one watcher of a hub. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub(crate) SlotKey);

/// What a client asks to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    /// The keys.
    pub range: KeyRange,
    /// The first revision of interest, as the client wrote it. 0 means from now on; one that has not happened yet is waited for.
    pub start: i64,
    /// Leave out puts.
    pub without_puts: bool,
    /// Leave out deletes.
    pub without_deletes: bool,
    /// Mark deliveries as wanting the pairs that the events replaced.
    pub previous: bool,
    /// Tell the revision at intervals in which nothing was delivered.
    pub progress_notify: bool,
}

impl WatchSpec {
    /// A watch of every event of `range` from `start` on.
    pub fn new(range: KeyRange, start: i64) -> Self {
        Self { range, start, without_puts: false, without_deletes: false, previous: false, progress_notify: false }
    }

    /// Whether the filters let `event` through. The range is not asked.
    pub(crate) fn lets_through(&self, event: &Event) -> bool {
        match event {
            Event::Put(_) => !self.without_puts,
            Event::Delete { .. } => !self.without_deletes,
        }
    }
}

/// How a watcher is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// By publish: it has everything up to the hub's revision.
    Synced,
    /// By history, and it stands in its subscriber's line for room, at this place.
    Waiting { ticket: u64 },
    /// By history, and a load is under way.
    Loading,
}

/// The hub's state of one watch.
pub(crate) struct Watcher {
    pub(crate) subscriber: SubscriberId,
    pub(crate) spec: WatchSpec,
    pub(crate) phase: Phase,
    /// Everything below is delivered or was never wanted. A synced watcher leaves it behind: it has everything up to the
    /// hub's revision besides.
    pub(crate) next: i64,
    /// Whether history has answered for `next`. Only the store knows what is compacted, so that a watcher's first stretch
    /// never comes from memory.
    pub(crate) vouched: bool,
    /// Whether nothing was delivered since the last interval.
    pub(crate) quiet: bool,
    /// Ordinals of the events that match, of the commit under dispatch.
    pub(crate) matching: SmallVec<[u32; 4]>,
    /// What the call under way delivers.
    pub(crate) gathered: Gathered,
}

impl Watcher {
    /// Whether `event` of a commit being published is delivered now.
    pub(crate) fn takes(&self, revision: i64, event: &Event) -> bool {
        self.phase == Phase::Synced && revision >= self.next && self.spec.lets_through(event)
    }
}

/// A delivery being put together.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) commits: SmallVec<[Matched; 1]>,
    pub(crate) cost: Credit,
}

impl Gathered {
    pub(crate) fn push(&mut self, matched: Matched, cost: Credit) {
        self.commits.push(matched);
        self.cost += cost;
    }
}
