//! The hybrid logical clock (Kulkarni et al., *Logical Physical Clocks*, 2014), as a value.
//!
//! Stamps only break ties between concurrent writes. Nothing is refused or delayed for its stamp, and whether an update
//! is *seen* never depends on one.

use std::fmt;

use crate::mutation::Mutation;

/// How far beyond the wall clock a remote stamp may draw ours, in milliseconds. One bad clock in a mesh must not carry
/// everybody's stamps away; a minute is more than clocks that are watched at all differ by.
pub const DRIFT_MAX_MS: u64 = 60_000;

const COUNTER_BITS: u32 = 16;
const MILLIS_MAX: u64 = (1 << 48) - 1;

/// A stamp: 48 bits of milliseconds since the Unix epoch, 16 bits of counter.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(u64);

impl Hlc {
    /// The stamp with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The first stamp of a millisecond. What does not fit 48 bits (the year 10889) becomes the last there is.
    pub const fn from_millis(ms: u64) -> Self {
        let ms = if ms > MILLIS_MAX { MILLIS_MAX } else { ms };
        Self(ms << COUNTER_BITS)
    }

    /// The stamp's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The least stamp above this one; the greatest stamp is its own successor, and ties are then broken by dots.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms+{}", self.millis(), self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

/// One replica's clock: the last stamp it gave or was drawn to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// A clock that goes on from the newest stamp of a log.
    pub const fn resume(last: Hlc) -> Self {
        Self { last }
    }

    /// The newest stamp that this clock gave or was drawn to.
    pub const fn last(&self) -> Hlc {
        self.last
    }

    /// A stamp for a new record: above all this clock gave before and above `floor`, the newest stamp that the record
    /// supersedes.
    pub fn tick(&mut self, wall_ms: u64, floor: Hlc) -> Hlc {
        self.last = Hlc::from_millis(wall_ms).max(self.last.next()).max(floor.next());
        self.last
    }

    /// Takes note of a remote stamp. It draws this clock forward, but at most [`DRIFT_MAX_MS`] beyond the wall clock.
    pub fn observe(&mut self, wall_ms: u64, remote: Hlc) {
        let drift_max_ms = if Mutation::UnboundedClock.is_on() { u64::MAX } else { DRIFT_MAX_MS };
        let bound = Hlc::from_millis(wall_ms.saturating_add(drift_max_ms));
        self.last = self.last.max(remote.min(bound));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_while_the_wall_clock_stands_or_falls_back() {
        let mut clock = Clock::default();
        let first = clock.tick(1000, Hlc::default());
        let second = clock.tick(1000, Hlc::default());
        let third = clock.tick(10, Hlc::default());
        assert!(first < second && second < third);
        assert_eq!(third.millis(), 1000);
    }

    #[test]
    fn a_stamp_is_above_what_it_supersedes_even_from_the_far_future() {
        let mut clock = Clock::default();
        let future = Hlc::from_millis(9_999_999_999);
        assert!(clock.tick(1000, future) > future);
    }

    #[test]
    fn a_remote_clock_draws_ours_by_a_minute_at_most() {
        let mut clock = Clock::default();
        clock.observe(1000, Hlc::from_millis(MILLIS_MAX));
        assert_eq!(clock.tick(1000, Hlc::default()).millis(), 1000 + DRIFT_MAX_MS);
    }

    #[test]
    fn the_end_of_time_does_not_wrap() {
        let mut clock = Clock::resume(Hlc::from_bits(u64::MAX));
        assert_eq!(clock.tick(u64::MAX, Hlc::default()), Hlc::from_bits(u64::MAX));
        assert_eq!(Hlc::from_millis(u64::MAX).millis(), MILLIS_MAX);
    }
}
