//! How much may be sent: a bucket of bytes that fills up with time.
//!
//! It may be overdrawn, because what is sent in one piece is not known to fit before, and what the transport adds is known only after.
//! What is owed is waited for, so that over any longer time no more goes out than the rate allows. A value: no clock, no waiting.

use std::num::NonZeroU64;

use crate::Moment;

/// Bytes that may be sent.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// Thousandths of bytes that are there, or owed; so that what a millisecond brings is a whole number.
    level: i128,
    filled: Moment,
}

/// A bucket holds as much as comes within this time: the longest burst.
const BURST_MS: u64 = 250;

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(now: Moment, rate: NonZeroU64) -> Self {
        let rate = rate.get();
        Self { rate, level: i128::from(rate) * i128::from(BURST_MS), filled: now }
    }

    /// The most that is sent in one go, if it can be helped.
    pub(crate) fn burst(&self) -> u64 {
        (self.rate / 1_000).saturating_mul(BURST_MS).max(BURST_BYTES_MIN)
    }

    /// Takes out bytes that were sent, whether they are there or not.
    pub(crate) fn take(&mut self, now: Moment, bytes: u64) {
        self.fill(now);
        self.level -= i128::from(bytes) * 1_000;
    }

    /// Puts back bytes that were taken and not sent.
    pub(crate) fn give(&mut self, now: Moment, bytes: u64) {
        self.fill(now);
        self.level += i128::from(bytes) * 1_000;
    }

    /// When something may be sent: now, or when nothing is owed any more.
    pub(crate) fn ready_at(&mut self, now: Moment) -> Moment {
        self.fill(now);
        let owed = u64::try_from(-self.level).unwrap_or(0);
        now.after(owed.div_ceil(self.rate))
    }

    fn fill(&mut self, now: Moment) {
        let came = i128::from(self.rate) * i128::from(now.since(self.filled));
        let full = i128::from(self.rate) * i128::from(BURST_MS);
        self.level = (self.level + came).min(full);
        self.filled = self.filled.max(now);
    }
}

/// Even the slowest bucket lets go so much at a time: a few packets.
const BURST_BYTES_MIN: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(Moment(0), NonZeroU64::new(rate).unwrap())
    }

    #[test]
    fn over_a_minute_no_more_goes_out_than_the_rate_allows() {
        for (rate, piece) in [(10_000, 700), (1 << 20, 64 << 10), (50_000, 2 << 20), (999, 1)] {
            let mut bucket = bucket(rate);
            let (mut now, mut sent) = (0, 0_u64);
            while now < 60_000 {
                now = bucket.ready_at(Moment(now)).0.max(now);
                bucket.take(Moment(now), piece);
                sent += piece;
                now += u64::from(piece == 1 && sent % 10 == 0);
            }
            let allowed = rate * 60 + rate / 4;
            assert!(sent <= allowed + 2 * piece, "{sent} of {allowed} in pieces of {piece}");
            assert!(piece == 1 || sent + piece >= allowed * 9 / 10, "{sent} of {allowed} in pieces of {piece}");
        }
    }

    #[test]
    fn who_was_silent_saves_up_no_more_than_a_burst() {
        let mut bucket = bucket(1_000_000);
        bucket.take(Moment(0), 250_000);
        assert_eq!(bucket.ready_at(Moment(3_600_000)), Moment(3_600_000));
        bucket.take(Moment(3_600_000), 350_000);
        assert_eq!(bucket.ready_at(Moment(3_600_000)), Moment(3_600_100));
    }

    #[test]
    fn what_was_not_sent_is_there_again() {
        let mut bucket = bucket(1_000);
        bucket.take(Moment(0), 1_250);
        assert_eq!(bucket.ready_at(Moment(0)), Moment(1_000));
        bucket.give(Moment(0), 1_000);
        assert_eq!(bucket.ready_at(Moment(0)), Moment(0));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_brings_nothing() {
        let mut bucket = bucket(1_000);
        bucket.take(Moment(500), 1_250);
        assert_eq!(bucket.ready_at(Moment(100)), Moment(1_100));
        assert_eq!(bucket.ready_at(Moment(1_500)), Moment(1_500));
    }
}
