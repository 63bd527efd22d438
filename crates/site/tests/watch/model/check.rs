//! What one client must see: the model's side of each stream and watcher, and the judgement of each output.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tombolo_site::{Credit, Delivery, EndCause, Ending, Load, Progress, WatchSpec, WatcherId};
use tombolo_storage::{Event, is_foreign};

use crate::history::{History, value_bytes};

/// One stream as the model sees it.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) watchers: BTreeMap<WatcherId, Watch>,
    /// Watchers that were cancelled or ended: nothing may come for them.
    pub(crate) gone: BTreeSet<WatcherId>,
    /// What was delivered and not read.
    pub(crate) queue: VecDeque<Credit>,
    /// Whether a progress request waits for its answer.
    pub(crate) asked: bool,
    /// When the interval ends in which idle watchers are told the revision.
    pub(crate) deadline: Duration,
    progress: i64,
}

/// One watcher as the model sees it.
pub(crate) struct Watch {
    pub(crate) spec: WatchSpec,
    /// The first revision it wants.
    pub(crate) start: i64,
    /// Events delivered so far.
    delivered: usize,
    /// Header of the last delivery.
    header: i64,
    /// Whether something was delivered since the last interval.
    pub(crate) busy: bool,
}

impl Watch {
    pub(crate) fn new(spec: WatchSpec, start: i64) -> Self {
        Self { spec, start, delivered: 0, header: 0, busy: false }
    }

    /// Everything it must get, in order, as far as history goes.
    fn expected<'a>(&'a self, history: &'a History) -> impl Iterator<Item = &'a Event> {
        let events = history.commits.iter().flat_map(|commit| &commit.events);
        events.filter(|event| {
            let wanted = match event {
                Event::Put(_) => !self.spec.without_puts,
                Event::Delete { .. } => !self.spec.without_deletes,
            };
            event.revision() >= self.start && self.spec.range.contains(event.key()) && wanted
        })
    }

    /// The revision of the first event it has not got.
    pub(crate) fn missing(&self, history: &History) -> Option<i64> {
        self.expected(history).nth(self.delivered).map(Event::revision)
    }
}

impl Stream {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// Judges a delivery. `limit` is the stream's credit, `published` what the hub was told. Answers whether it exceeds the credit.
    pub(crate) fn deliver(&mut self, delivery: &Delivery, history: &History, limit: Credit, published: i64) -> bool {
        assert!(!self.gone.contains(&delivery.watcher), "a delivery for a watcher that is gone");
        let watch = self.watchers.get_mut(&delivery.watcher).expect("a delivery for a watcher of this stream");
        let events: Vec<&Event> = delivery.events().collect();
        assert!(!events.is_empty());
        let expected: Vec<&Event> = watch.expected(history).skip(watch.delivered).take(events.len()).collect();
        assert_eq!(events, expected, "not the next events of {:?}", delivery.watcher);
        watch.delivered += events.len();
        watch.busy = true;

        let header = delivery.revision.get();
        assert!(
            watch.missing(history).is_none_or(|next| next > header),
            "part of a revision, or more promised than delivered"
        );
        assert!(header >= events[events.len() - 1].revision() && header <= published && header >= watch.header);
        watch.header = header;
        assert_eq!(delivery.wants_previous, watch.spec.previous);

        let bytes: usize = events.iter().map(|event| event.key().len() + value_bytes(event)).sum();
        assert!(delivery.cost.events == events.len() && delivery.cost.bytes >= bytes);
        self.queue(delivery.cost, limit)
    }

    /// Judges a promise.
    pub(crate) fn progress(&mut self, progress: &Progress, history: &History, limit: Credit, published: i64) {
        let revision = progress.revision.get();
        assert!(revision > 0 && revision == published && revision >= self.progress);
        self.progress = revision;
        match progress.watcher {
            None => {
                assert!(std::mem::take(&mut self.asked), "an answer nobody waits for");
                self.watchers.values().for_each(|watch| keeps_promise(watch, revision, history));
            }
            Some(id) => {
                let watch = &self.watchers[&id];
                assert!(watch.spec.progress_notify && !watch.busy, "a notification that was not due");
                keeps_promise(watch, revision, history);
            }
        }
        self.queue(progress.cost, limit);
    }

    /// Judges an ending: only compaction ends a watch here, and only one that is behind it.
    pub(crate) fn end(&mut self, ending: &Ending, history: &History) {
        let watch = self.watchers.remove(&ending.watcher).expect("an ending for a watcher of this stream, once");
        self.gone.insert(ending.watcher);
        let EndCause::Compacted { oldest } = ending.cause else { panic!("{:?}", ending.cause) };
        assert!(oldest <= history.compacted.max(1));
        assert!(is_foreign(watch.start, history.revision.slot()) || watch.header < oldest, "it was not behind");
    }

    /// Judges what is loaded: it begins behind what was delivered, and skips nothing.
    pub(crate) fn load(&self, load: &Load, history: &History) {
        let watch = &self.watchers[&load.watcher];
        assert_eq!(load.range, watch.spec.range);
        assert!(load.from > watch.header && load.from >= watch.start);
        assert!(watch.missing(history).is_none_or(|next| next >= load.from), "the load skips events");
    }

    fn queue(&mut self, cost: Credit, limit: Credit) -> bool {
        let out = self.queue.iter().copied().fold(Credit::default(), |sum, cost| sum + cost);
        let total = out + cost;
        let fits = total.events <= limit.events && total.bytes <= limit.bytes;
        assert!(fits || self.queue.is_empty(), "the credit is exceeded behind something else: {total:?}");
        self.queue.push_back(cost);
        !fits
    }
}

fn keeps_promise(watch: &Watch, revision: i64, history: &History) {
    assert!(watch.missing(history).is_none_or(|next| next > revision), "progress overtook an event");
    assert!(watch.start <= revision + 1, "progress below a start");
}
