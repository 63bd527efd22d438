//! One direction between two sites: its conditions, what they do to each packet, and what it has carried.
//!
//! What happens to a packet depends on the seed, the packet's number on this link and the conditions of the moment, and
//! on nothing that other links do.

use std::{
    iter::Sum,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::random::Random;

/// One direction between two sites.
#[derive(Debug)]
pub struct Link {
    state: Mutex<State>,
}

/// What a link does to what it carries. The default is a link that does nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Conditions {
    /// Nothing passes.
    pub cut: bool,
    /// How long each packet is under way.
    pub delay: Duration,
    /// Up to this much more, differing from packet to packet. Jitter alone keeps the order.
    pub jitter: Duration,
    /// Packets lost, of a thousand.
    pub loss: u16,
    /// Packets that arrive twice, of a thousand.
    pub duplication: u16,
    /// Packets that are overtaken by later ones, of a thousand.
    pub reordering: u16,
    /// What passes in a second. Beyond a second's worth of waiting packets the newest are lost.
    pub bytes_per_s: Option<u64>,
}

/// What a link has done so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Packets passed on, copies included.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Packets that were not passed on.
    pub lost: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Lost,
    /// Passed on `copies` times, at once or when it is due.
    Passed {
        due: Option<Instant>,
        copies: usize,
    },
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    traffic: Traffic,
    random: Random,
    /// When the packet before this one is due: order is kept unless reordering says otherwise.
    last_due: Option<Instant>,
    /// When the bandwidth is free again.
    free: Option<Instant>,
}

/// How long an overtaken packet is held back: several times what neighbours on loopback are apart.
const HELD_BACK: Duration = Duration::from_millis(5);
/// The longest queue in front of a narrow link.
const QUEUE_MAX: Duration = Duration::from_secs(1);

impl Link {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            conditions: Conditions::default(),
            traffic: Traffic::default(),
            random: Random::new(seed),
            last_due: None,
            free: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// The conditions of the moment.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.state().conditions
    }

    /// Changes the conditions, for every packet that comes from now on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.state().conditions);
    }

    /// What it has done so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.state().traffic
    }

    /// Decides about a packet that comes in now.
    pub(super) fn fate(&self, now: Instant, bytes: usize) -> Fate {
        let mut state = self.state();
        let fate = state.fate(now, bytes);
        if fate == Fate::Lost {
            state.traffic.lost += 1;
        }
        fate
    }

    /// Notes that a packet is passed on now, unless the link was cut under it.
    pub(super) fn passes(&self, bytes: usize) -> bool {
        let mut state = self.state();
        if state.conditions.cut {
            state.traffic.lost += 1;
            return false;
        }
        state.traffic.packets += 1;
        state.traffic.bytes += bytes as u64;
        true
    }

    /// Notes that a packet found no room to wait.
    pub(super) fn lose(&self) {
        self.state().traffic.lost += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a link")
    }
}

impl State {
    fn fate(&mut self, now: Instant, bytes: usize) -> Fate {
        // As many draws for each packet whatever the conditions are, so that a change of one keeps the others' choices.
        let [lost, doubled, overtaken] = [(); 3].map(|()| self.random.below(1_000) as u16);
        let jitter = self.random.below(1_000) as u32;
        let conditions = self.conditions;
        if conditions.cut || lost < conditions.loss {
            return Fate::Lost;
        }
        let mut due = now;
        if let Some(rate) = conditions.bytes_per_s {
            let begin = self.free.map_or(now, |free| free.max(now));
            let end = begin + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            if end > now + QUEUE_MAX {
                return Fate::Lost;
            }
            self.free = Some(end);
            due = end;
        }
        due += conditions.delay + conditions.jitter * jitter / 1_000;
        if overtaken < conditions.reordering {
            due += HELD_BACK;
        } else {
            due = self.last_due.map_or(due, |last| last.max(due));
            self.last_due = Some(due);
        }
        let copies = if doubled < conditions.duplication { 2 } else { 1 };
        Fate::Passed { due: (due > now).then_some(due), copies }
    }
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(traffic: I) -> Self {
        traffic.fold(Self::default(), |sum, link| Self {
            packets: sum.packets + link.packets,
            bytes: sum.bytes + link.bytes,
            lost: sum.lost + link.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Conditions, Fate, HELD_BACK, Link};

    const MS: Duration = Duration::from_millis(1);

    fn fates(seed: u64, conditions: Conditions, now: Instant) -> Vec<Fate> {
        let link = Link::new(seed);
        link.change(|current| *current = conditions);
        (0..1_000).map(|_| link.fate(now, 1_000)).collect()
    }

    fn lost(fates: &[Fate]) -> usize {
        fates.iter().filter(|fate| **fate == Fate::Lost).count()
    }

    #[test]
    fn equal_seeds_spoil_equal_packets_and_others_do_not() {
        let now = Instant::now();
        let spoilt = Conditions { loss: 100, duplication: 100, reordering: 100, jitter: 20 * MS, ..Default::default() };
        assert_eq!(fates(7, spoilt, now), fates(7, spoilt, now));
        assert_ne!(fates(7, spoilt, now), fates(8, spoilt, now));
    }

    #[test]
    fn a_good_link_passes_everything_once_and_at_once() {
        let good = fates(1, Conditions::default(), Instant::now());
        assert!(good.iter().all(|fate| *fate == Fate::Passed { due: None, copies: 1 }));
    }

    #[test]
    fn loss_and_duplication_come_as_often_as_was_asked() {
        let now = Instant::now();
        let losses = lost(&fates(1, Conditions { loss: 200, ..Default::default() }, now));
        assert!((150..250).contains(&losses), "{losses} of a thousand");
        let doubles = fates(1, Conditions { duplication: 200, ..Default::default() }, now);
        let doubles = doubles.iter().filter(|fate| matches!(fate, Fate::Passed { copies: 2, .. })).count();
        assert!((150..250).contains(&doubles), "{doubles} of a thousand");
        assert_eq!(lost(&fates(1, Conditions { cut: true, ..Default::default() }, now)), 1_000);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let now = Instant::now();
        let dues = |conditions| -> Vec<Instant> {
            let due = |fate: &Fate| if let Fate::Passed { due, .. } = fate { due.unwrap_or(now) } else { now };
            fates(1, conditions, now).iter().map(due).collect()
        };
        let jittery = dues(Conditions { delay: 10 * MS, jitter: 10 * MS, ..Default::default() });
        assert!(jittery.is_sorted() && jittery[0] >= now + 10 * MS && jittery[999] < now + 20 * MS);
        let reordered = dues(Conditions { reordering: 100, ..Default::default() });
        let held = reordered.iter().filter(|due| **due == now + HELD_BACK).count();
        assert!((60..150).contains(&held), "{held} of a thousand");
        assert!(!reordered.is_sorted());
    }

    #[test]
    fn a_narrow_link_lets_packets_wait_their_turn_and_loses_what_would_wait_too_long() {
        let link = Link::new(1);
        link.change(|conditions| conditions.bytes_per_s = Some(10_000));
        let now = Instant::now();
        for turn in 1..=10 {
            let due = now + Duration::from_secs_f64(0.1) * turn;
            let Fate::Passed { due: Some(got), .. } = link.fate(now, 1_000) else {
                panic!("packet {turn} did not wait")
            };
            assert!(got.abs_diff(due) < MS, "packet {turn}");
        }
        assert_eq!(link.fate(now, 1_000), Fate::Lost);
        assert_eq!(link.traffic().lost, 1);
    }

    trait AbsDiff {
        fn abs_diff(self, other: Self) -> Duration;
    }

    impl AbsDiff for Instant {
        fn abs_diff(self, other: Self) -> Duration {
            self.max(other) - self.min(other)
        }
    }
}
