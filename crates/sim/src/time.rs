//! Virtual time: one time line for the whole mesh, and the clocks that each site sees it through.
//!
//! Nothing passes by itself. The simulation jumps from one happening to the next.

use std::fmt;

use tombolo_storage::WallTime;

/// Microseconds since the simulation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// A millisecond, in the unit of [`Time`].
pub const MS: u64 = 1_000;

/// A second, in the unit of [`Time`].
pub const S: u64 = 1_000_000;

impl Time {
    /// The moment so many microseconds later.
    #[must_use]
    pub fn after(self, us: u64) -> Self {
        Self(self.0 + us)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}.{:06}", self.0 / S, self.0 % S)
    }
}

/// A site's two clocks: one that only runs, and one on the wall that is wrong and gets set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// What the running clock showed when the simulation began: no two machines count from the same moment.
    pub(crate) monotonic_base_ms: u64,
    /// What the wall clock is ahead of the true time by.
    pub(crate) ahead_ms: i64,
}

/// The true time when a simulation begins: some moment after which clocks can be years slow without falling below 1970.
const BEGINNING_MS: i64 = 1_900_000_000_000;

impl Clocks {
    /// The wall clock's milliseconds since 1970, which are never negative.
    pub(crate) fn wall_ms(&self, now: Time) -> u64 {
        u64::try_from(BEGINNING_MS + (now.0 / MS) as i64 + self.ahead_ms).unwrap_or(0)
    }

    /// The same, as stores take it.
    pub(crate) fn wall(&self, now: Time) -> WallTime {
        WallTime(self.wall_ms(now))
    }

    /// The running clock's milliseconds.
    pub(crate) fn monotonic_ms(&self, now: Time) -> u64 {
        self.monotonic_base_ms + now.0 / MS
    }

    /// The first moment at which the running clock shows so many milliseconds, not before `now`.
    pub(crate) fn when_monotonic(&self, ms: u64, now: Time) -> Time {
        now.max(Time(ms.saturating_sub(self.monotonic_base_ms) * MS))
    }
}

#[cfg(test)]
mod tests {
    use super::{Clocks, MS, Time};

    #[test]
    fn a_deadline_on_the_running_clock_comes_when_that_shows_it() {
        let clocks = Clocks { monotonic_base_ms: 70, ahead_ms: -5 };
        let now = Time(3 * MS + 7);
        assert_eq!(clocks.monotonic_ms(now), 73);
        let then = clocks.when_monotonic(80, now);
        assert_eq!(clocks.monotonic_ms(then), 80);
        assert_eq!(clocks.when_monotonic(10, now), now);
    }

    #[test]
    fn a_wall_clock_that_is_set_far_back_stops_at_its_beginning() {
        let clocks = Clocks { monotonic_base_ms: 0, ahead_ms: i64::MIN / 2 };
        assert_eq!(clocks.wall_ms(Time(0)), 0);
    }
}
