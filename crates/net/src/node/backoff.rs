//! How long to wait before a peer is dialed again: longer each time, and never two nodes in step.

use std::time::Duration;

/// The waits between attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next wait: between half and all of twice the one before. `random` is any byte.
    pub(crate) fn wait(&mut self, random: u8) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait / 2 + wait * u32::from(random) / 510
    }
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..10).map(|_| backoff.wait(255).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(backoff.wait(0), LONGEST / 2);
    }
}
