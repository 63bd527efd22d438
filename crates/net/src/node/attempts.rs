//! How often strangers may try to join: a bucket of attempts that fills up with time, one for all of them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The attempts that are left.
#[derive(Debug)]
pub(crate) struct Attempts {
    left: Mutex<(u32, Instant)>,
}

impl Attempts {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: Mutex::new((ATTEMPTS_MAX, now)) }
    }

    /// Takes one attempt. Returns whether there was one.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut left = self.left.lock();
        let (count, filled) = *left;
        let came = now.saturating_duration_since(filled).as_millis() / INTERVAL.as_millis();
        let came = u32::try_from(came).unwrap_or(u32::MAX).min(ATTEMPTS_MAX);
        let filled = if came == ATTEMPTS_MAX { now } else { filled + INTERVAL * came };
        let count = count.saturating_add(came).min(ATTEMPTS_MAX);
        *left = (count.saturating_sub(1), filled);
        count > 0
    }
}

/// Attempts in a row: a rack of newcomers that start at once.
const ATTEMPTS_MAX: u32 = 16;
/// How long it takes until there is another.
const INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_run_out_and_come_back_one_by_one() {
        let start = Instant::now();
        let attempts = Attempts::new(start);
        assert_eq!((0..100).filter(|_| attempts.take(start)).count(), ATTEMPTS_MAX as usize);
        assert!(!attempts.take(start + INTERVAL - Duration::from_millis(1)));
        assert!(attempts.take(start + INTERVAL));
        assert!(!attempts.take(start + INTERVAL));
        let later = start + INTERVAL * 1_000_000;
        assert_eq!((0..100).filter(|_| attempts.take(later)).count(), ATTEMPTS_MAX as usize);
    }
}
