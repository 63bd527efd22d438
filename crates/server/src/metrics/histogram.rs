//! A histogram of durations with etcd's buckets: powers of two from a millisecond up, and three below, where this server lives.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const BUCKETS: usize = 17;
/// The upper bound of the first bucket, in microseconds; each further bound is twice the one before. The bounds contain a millisecond exactly.
const FIRST_BOUND_US: u64 = 125;

/// Durations by size.
#[derive(Default)]
pub(crate) struct Histogram {
    /// The last one has no upper bound.
    counts: [AtomicU64; BUCKETS + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // Bounds are inclusive, and a duration of a fraction above one is above it.
        let us = us.saturating_add(u64::from(!duration.subsec_nanos().is_multiple_of(1_000)));
        let place = us.div_ceil(FIRST_BOUND_US).next_power_of_two().trailing_zeros() as usize;
        self.counts[place.min(BUCKETS)].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Upper bounds in seconds with the counts at or below them, then the count of all and the sum in seconds.
    pub(crate) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut total = 0;
        let mut cumulative = Vec::with_capacity(BUCKETS);
        for (place, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            if place < BUCKETS {
                cumulative.push(((FIRST_BOUND_US << place) as f64 / 1e6, total));
            }
        }
        (cumulative, total, self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (us, bound) in
            [(0, 0.000125), (125, 0.000125), (126, 0.00025), (1_000, 0.001), (1_001, 0.002), (8_000_000, 8.192)]
        {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(us));
            let (buckets, total, sum) = histogram.read();
            let first = buckets.iter().find(|(_, count)| *count == 1).unwrap();
            assert_eq!(first.0, bound, "{us} µs");
            assert_eq!(total, 1);
            assert!((sum - us as f64 / 1e6).abs() < 1e-12);
        }
    }

    #[test]
    fn what_exceeds_every_bound_is_counted_all_the_same() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_secs(60));
        histogram.observe(Duration::from_nanos(125_001));
        let (buckets, total, _) = histogram.read();
        assert_eq!(total, 2);
        assert_eq!(buckets[0].1, 0, "a nanosecond above the first bound");
        assert_eq!(buckets.last().unwrap().1, 1);
    }
}
