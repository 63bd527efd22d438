//! One stream to a client: how much may still be queued for it, and which of its watchers wait for room.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Add, AddAssign},
    time::Duration,
};

use tombolo_storage::Event;

use super::{WatcherId, slots::SlotKey};

/// Names one subscriber of a hub. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub(crate) SlotKey);

/// Room in a stream's queue: a limit, a cost, or a sum of costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Events; what carries none counts as one.
    pub events: usize,
    /// Bytes of keys and values, and a fixed share for each event.
    pub bytes: usize,
}

impl Credit {
    pub(crate) const ZERO: Self = Self { events: 0, bytes: 0 };
    /// What a progress message costs: it takes a place in the queue.
    pub(crate) const PROGRESS: Self = Self { events: 1, bytes: EVENT_BYTES };

    /// What an event costs.
    pub(crate) fn of(event: &Event) -> Self {
        let value_bytes = match event {
            Event::Put(pair) => pair.value.len(),
            Event::Delete { .. } => 0,
        };
        Self { events: 1, bytes: EVENT_BYTES + event.key().len() + value_bytes }
    }

    fn fits(self, limit: Self) -> bool {
        self.events <= limit.events && self.bytes <= limit.bytes
    }

    fn half(self) -> Self {
        Self { events: self.events / 2, bytes: self.bytes / 2 }
    }

    fn less(self, other: Self) -> Self {
        Self { events: self.events.saturating_sub(other.events), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

impl Add for Credit {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { events: self.events.saturating_add(other.events), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl AddAssign for Credit {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The hub's state of one stream.
///
/// Whoever waits in line has a wake-up ahead: a load under way, or credit that is still out and will return.
pub(crate) struct Subscriber {
    pub(crate) watchers: BTreeSet<WatcherId>,
    /// Those of them that want to hear of progress at intervals.
    pub(crate) notified: BTreeSet<WatcherId>,
    /// When the next interval ends.
    pub(crate) deadline: Duration,
    /// How many watchers are not synced.
    pub(crate) catching_up: usize,
    /// Whether a progress request waits for its answer.
    pub(crate) progress_requested: bool,
    /// One below the greatest start: below it a progress revision would call a watcher back to what it did not ask for.
    pub(crate) progress_floor: i64,
    limit: Credit,
    /// Costs of what is queued.
    out: Credit,
    loads: usize,
    /// Watchers that wait for room, first come first served.
    line: BTreeMap<u64, WatcherId>,
    next_ticket: u64,
    /// The watcher whose next revision fits only an empty queue. Until it is served nobody else is.
    starved: Option<WatcherId>,
}

impl Subscriber {
    pub(crate) fn new(limit: Credit, deadline: Duration) -> Self {
        Self {
            watchers: BTreeSet::new(),
            notified: BTreeSet::new(),
            deadline,
            catching_up: 0,
            progress_requested: false,
            progress_floor: i64::MIN,
            limit,
            out: Credit::ZERO,
            loads: 0,
            line: BTreeMap::new(),
            next_ticket: FRONT + 1,
            starved: None,
        }
    }

    /// Takes `cost` out of the credit for something that was just published, or answers `false`: it does not fit.
    /// While others wait in line only half is given, so that the line's turn comes under any load.
    pub(crate) fn spend_live(&mut self, cost: Credit) -> bool {
        let limit = if self.line.is_empty() { self.limit } else { self.limit.half() };
        let fits = self.starved.is_none() && self.has_room_for(cost, limit);
        self.spend_if(fits, cost)
    }

    /// Takes `cost` out of the credit for a watcher that is catching up, or answers `false`: it does not fit.
    pub(crate) fn spend_replay(&mut self, watcher: WatcherId, cost: Credit) -> bool {
        let its_turn = self.starved.is_none_or(|starved| starved == watcher);
        let fits = its_turn && self.has_room_for(cost, self.limit);
        if fits {
            self.starved = None;
        }
        self.spend_if(fits, cost)
    }

    /// An empty queue takes anything: what is larger than the whole credit must go out too.
    fn has_room_for(&self, cost: Credit, limit: Credit) -> bool {
        self.out == Credit::ZERO || (self.out + cost).fits(limit)
    }

    fn spend_if(&mut self, fits: bool, cost: Credit) -> bool {
        if fits {
            self.out += cost;
        }
        fits
    }

    /// Takes back what has left the queue.
    pub(crate) fn drained(&mut self, credit: Credit) {
        self.out = self.out.less(credit);
    }

    /// Puts a watcher at the end of the line and answers its ticket.
    pub(crate) fn join_line(&mut self, watcher: WatcherId) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.line.insert(ticket, watcher);
        ticket
    }

    /// Puts a watcher whose next revision did not fit where it will be served: first, and alone, if that place is free.
    pub(crate) fn wait_for_empty_queue(&mut self, watcher: WatcherId) -> u64 {
        if self.starved.is_some_and(|starved| starved != watcher) {
            return self.join_line(watcher);
        }
        self.starved = Some(watcher);
        self.line.insert(FRONT, watcher);
        FRONT
    }

    /// Whose turn it is, if there is room to serve anyone. The answer has left the line.
    pub(crate) fn next_in_line(&mut self) -> Option<WatcherId> {
        let (&ticket, _) = self.line.first_key_value()?;
        let room = match self.starved {
            Some(_) => ticket == FRONT && self.out == Credit::ZERO,
            None => self.out.fits(self.limit.half()),
        };
        if !room || self.loads >= LOADS_MAX { None } else { self.line.remove(&ticket) }
    }

    /// Counts a load that begins, and answers how many bytes it may bring. A load of nothing would be no load.
    pub(crate) fn begin_load(&mut self) -> usize {
        self.loads += 1;
        self.limit.less(self.out).bytes.max(1)
    }

    /// Counts a load that was answered or is not waited for any more.
    pub(crate) fn end_load(&mut self) {
        self.loads = self.loads.saturating_sub(1);
    }

    /// Takes a watcher that is going away out of line.
    pub(crate) fn leave_line(&mut self, ticket: u64) {
        self.line.remove(&ticket);
    }

    /// Forgets that a watcher needed the queue for itself.
    pub(crate) fn not_starved(&mut self, watcher: WatcherId) {
        if self.starved == Some(watcher) {
            self.starved = None;
        }
    }

    /// Whether somebody will come back to those in line.
    pub(crate) fn wake_up_is_ahead(&self) -> bool {
        self.line.is_empty() || self.loads > 0 || self.out != Credit::ZERO
    }
}

/// Fixed share of an event: its queue entry and the fields beside key and value.
const EVENT_BYTES: usize = 64;

/// Loads one subscriber may have under way: enough to hide their latency behind one another, few enough that a stream of
/// ten thousand watchers that reconnects leaves room for the others.
const LOADS_MAX: usize = 4;

/// The ticket of the starved watcher, before all others.
const FRONT: u64 = 0;
