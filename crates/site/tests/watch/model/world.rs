//! A hub among a store that runs ahead of it, loads that are answered late and in any order, and clients that read slowly.

use std::{collections::BTreeMap, ops::AddAssign, time::Duration};

use tombolo_site::{Credit, Hub, HubOptions, Load, Output, SubscriberId, WatchSpec, WatcherId};
use tombolo_storage::{HistoryChunk, KeyRange, ReadError, Slot, is_foreign};

use super::check::{Stream, Watch};
use crate::{history::History, random::Random};

/// One run.
pub(crate) struct World {
    random: Random,
    history: History,
    hub: Hub,
    limit: Credit,
    /// Commits of history that the hub was told of.
    published: usize,
    now: Duration,
    streams: BTreeMap<SubscriberId, Stream>,
    /// Loads under way. Some were read already, by a reader that is slow to answer.
    loads: Vec<(Load, Option<Result<HistoryChunk, ReadError>>)>,
    tally: Tally,
}

/// Where a run has been.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) oversized: u64,
    pub(crate) demotions: u64,
    /// Answers to loads that came when more had been published.
    pub(crate) late: u64,
    pub(crate) compacted: u64,
    pub(crate) answers: u64,
    pub(crate) notified: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.oversized += other.oversized;
        self.demotions += other.demotions;
        self.late += other.late;
        self.compacted += other.compacted;
        self.answers += other.answers;
        self.notified += other.notified;
    }
}

const KEYS: [&str; 5] = ["a", "b", "ba", "c", "d"];
const INTERVAL: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let limit = Credit { events: 1 + random.below(12), bytes: 100 + random.below(1500) };
        let options = HubOptions { credit: limit, progress_interval: INTERVAL };
        let hub = Hub::new(Slot::FIRST.beginning(), options);
        let mut world = Self {
            random,
            history: History::new(),
            hub,
            limit,
            published: 0,
            now: Duration::ZERO,
            streams: BTreeMap::new(),
            loads: Vec::new(),
            tally: Tally::default(),
        };
        world.subscribe();
        world
    }

    /// One random thing happens.
    pub(crate) fn step(&mut self) {
        match self.random.below(30) {
            0..=7 => self.commit(),
            8..=12 => self.publish(),
            13..=15 => self.watch(),
            16 => self.cancel(),
            17..=20 => self.answer(),
            21..=25 => self.read(),
            26 => self.compact(),
            27 => self.ask(),
            28 => self.tick(),
            _ if self.random.one_in(8) => self.unsubscribe(),
            _ if self.streams.len() < 3 => self.subscribe(),
            _ => {}
        }
        self.drain();
    }

    /// Everything that is under way comes to its end, and then nothing may be missing.
    pub(crate) fn finish(mut self) -> Tally {
        while self.published < self.history.commits.len() {
            self.publish();
            self.drain();
        }
        for _ in 0..100_000 {
            let unread = self.streams.values().any(|stream| !stream.queue.is_empty());
            if self.loads.is_empty() && !unread {
                break;
            }
            self.answer();
            self.drain();
            self.read();
            self.drain();
        }
        assert_eq!(self.hub.stats().catching_up, 0, "a watcher waits for ever");
        let published = self.hub.revision().get();
        for stream in self.streams.values() {
            for (id, watch) in &stream.watchers {
                assert_eq!(watch.missing(&self.history), None, "{id:?} misses events");
                assert!(!is_foreign(watch.start, Slot::FIRST), "{id:?} waits for what cannot come");
            }
            let ahead = stream.watchers.values().any(|watch| watch.start > published + 1);
            assert!(!stream.asked || ahead, "a progress request was never answered");
        }
        self.tally.demotions = self.hub.stats().demotions;
        self.tally
    }

    fn commit(&mut self) {
        if self.random.one_in(10) {
            self.history.grant_lease();
            return;
        }
        let mut changes: Vec<(&str, Option<usize>)> = Vec::new();
        for key in KEYS {
            if self.random.one_in(3) {
                let large = self.random.one_in(20);
                let value_bytes = self.random.below(if large { 3000 } else { 40 });
                changes.push((key, (!self.random.one_in(3)).then_some(value_bytes)));
            }
        }
        if changes.is_empty() {
            changes.push(("a", Some(1)));
        }
        self.history.commit(&changes);
    }

    fn publish(&mut self) {
        let pending = self.history.commits.len() - self.published;
        if pending > 0 {
            let group = 1 + self.random.below(pending);
            self.hub.publish(&self.history.commits[self.published..self.published + group]);
            self.published += group;
        }
    }

    fn watch(&mut self) {
        let Some(subscriber) = self.some_stream() else { return };
        let (low, high) = (KEYS[self.random.below(5)].into(), KEYS[self.random.below(5)].into());
        let range = match self.random.below(4) {
            0 | 1 => KeyRange::single(low),
            2 => KeyRange::from_key(low),
            _ => KeyRange::before(low, high),
        };
        let published = self.hub.revision().get();
        let start = match self.random.below(8) {
            0 | 1 => 0,
            2 => published + 1 + self.random.below(3) as i64,
            3 if self.random.one_in(4) => (9 << 38) | 5,
            4 => self.history.compacted.max(1) + self.random.below(3) as i64,
            _ => 1 + self.random.below(published as usize) as i64,
        };
        let spec = WatchSpec {
            without_puts: self.random.one_in(5),
            without_deletes: self.random.one_in(5),
            previous: self.random.one_in(2),
            progress_notify: self.random.one_in(2),
            ..WatchSpec::new(range, start)
        };
        match self.hub.watch(subscriber, spec.clone()) {
            Ok(watcher) => {
                let from = if start == 0 { published + 1 } else { start };
                let stream = self.streams.get_mut(&subscriber).unwrap();
                assert!(stream.watchers.insert(watcher, Watch::new(spec, from)).is_none());
            }
            Err(_) => assert!(spec.range.is_empty()),
        }
    }

    fn cancel(&mut self) {
        let Some(subscriber) = self.some_stream() else { return };
        let stream = self.streams.get_mut(&subscriber).unwrap();
        if stream.watchers.is_empty() {
            return;
        }
        let nth = self.random.below(stream.watchers.len());
        let watcher: WatcherId = *stream.watchers.keys().nth(nth).unwrap();
        stream.watchers.remove(&watcher);
        stream.gone.insert(watcher);
        assert!(self.hub.cancel(watcher));
    }

    /// A load is answered, or read by someone who keeps the answer for a while.
    fn answer(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let nth = self.random.below(self.loads.len());
        // A store may be ahead of what the hub was told, never behind.
        let known = self.published + self.random.below(self.history.commits.len() - self.published + 1);
        if self.loads[nth].1.is_none() {
            self.loads[nth].1 = Some(self.history.read(&self.loads[nth].0, known));
            if self.random.one_in(2) {
                return;
            }
        }
        let (load, answer) = self.loads.swap_remove(nth);
        if let Some(answer) = answer {
            self.tally.late += u64::from(answer.as_ref().is_ok_and(|chunk| chunk.next <= self.hub.revision().get()));
            self.hub.replayed(load.watcher, answer);
        }
    }

    fn read(&mut self) {
        let Some(subscriber) = self.some_stream() else { return };
        let stream = self.streams.get_mut(&subscriber).unwrap();
        let items = self.random.below(stream.queue.len() + 1);
        let credit = stream.queue.drain(..items).fold(Credit::default(), |sum, cost| sum + cost);
        self.hub.drained(subscriber, credit);
    }

    fn compact(&mut self) {
        let revision = self.hub.revision().get();
        let below = self.random.below(8) as i64;
        self.history.compacted = self.history.compacted.max((revision - below).max(1));
    }

    fn ask(&mut self) {
        if let Some(subscriber) = self.some_stream() {
            self.streams.get_mut(&subscriber).unwrap().asked = true;
            self.hub.progress(subscriber);
        }
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(self.random.below(1500) as u64);
        self.hub.tick(self.now);
        self.drain();
        for stream in self.streams.values_mut().filter(|stream| stream.deadline <= self.now) {
            stream.deadline = self.now + INTERVAL;
            stream.watchers.values_mut().for_each(|watch| watch.busy = false);
        }
    }

    fn subscribe(&mut self) {
        let subscriber = self.hub.subscribe(self.now);
        self.streams.insert(subscriber, Stream::new(self.now + INTERVAL));
    }

    fn unsubscribe(&mut self) {
        if let Some(subscriber) = self.some_stream() {
            self.streams.remove(&subscriber);
            self.hub.unsubscribe(subscriber);
        }
    }

    fn some_stream(&mut self) -> Option<SubscriberId> {
        let nth = self.random.below(self.streams.len().max(1));
        self.streams.keys().nth(nth).copied()
    }

    fn drain(&mut self) {
        let published = self.hub.revision().get();
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Load(load) => {
                    let of = |stream: &&Stream| stream.watchers.contains_key(&load.watcher);
                    self.streams.values().find(of).expect("a watcher that is there").load(&load, &self.history);
                    self.loads.push((load, None));
                }
                Output::Deliver(delivery) => {
                    self.tally.delivered += 1;
                    let stream = self.streams.get_mut(&delivery.subscriber).expect("a stream that is there");
                    let oversized = stream.deliver(&delivery, &self.history, self.limit, published);
                    self.tally.oversized += u64::from(oversized);
                }
                Output::Progress(progress) => {
                    let answer = progress.watcher.is_none();
                    self.tally.answers += u64::from(answer);
                    self.tally.notified += u64::from(!answer);
                    let stream = self.streams.get_mut(&progress.subscriber).expect("a stream that is there");
                    stream.progress(&progress, &self.history, self.limit, published);
                }
                Output::End(ending) => {
                    self.tally.compacted += 1;
                    let stream = self.streams.get_mut(&ending.subscriber).expect("a stream that is there");
                    stream.end(&ending, &self.history);
                }
            }
        }
    }
}
