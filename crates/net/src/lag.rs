//! How long ago a replica had something that another still lacks.
//!
//! Frontiers do not say when they were reached, so that some are remembered with their moment: a bounded number, thinned out
//! as they grow old. A lag is exact to the distance of the remembered ones, which is a small part of the lag itself.

use std::collections::VecDeque;

use tombolo_crdt::{Dot, VersionVector};

use crate::Moment;

/// Measures how far one replica is behind another in time.
#[derive(Clone, Debug)]
pub struct LagMeter {
    samples: VecDeque<(Moment, VersionVector)>,
    /// Samples are at least this far apart.
    interval_ms: u64,
    /// When a frontier was noted last, remembered or not.
    noted: Moment,
}

/// Samples remembered: with the interval doubled whenever they run out, a lag is known to within a thirty-second of it.
const SAMPLES_MAX: usize = 64;
/// The least distance of two samples, so that noting each of a thousand commits a second costs nothing.
const INTERVAL_MS_MIN: u64 = 10;

impl Default for LagMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl LagMeter {
    /// Nothing has been noted.
    pub const fn new() -> Self {
        Self { samples: VecDeque::new(), interval_ms: INTERVAL_MS_MIN, noted: Moment(0) }
    }

    /// Takes note that the leading replica has reached `frontier`. O(1) but for the few that are remembered.
    pub fn note(&mut self, now: Moment, frontier: &VersionVector) {
        self.noted = now;
        if self.samples.back().is_some_and(|(last, _)| now.since(*last) < self.interval_ms) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.thin_out();
        }
        self.samples.push_back((now, frontier.clone()));
    }

    /// Forgets what the follower has reached.
    pub fn acked(&mut self, follower: &VersionVector) {
        let reached = self.reached(follower);
        self.samples.drain(..reached);
        if self.samples.is_empty() {
            self.interval_ms = INTERVAL_MS_MIN;
        }
    }

    /// For how many milliseconds the leader, now at `leader`, has had something that the follower lacks. 0 when it lacks
    /// nothing.
    pub fn behind_ms(&self, now: Moment, leader: &VersionVector, follower: &VersionVector) -> u64 {
        if follower.includes(leader) {
            return 0;
        }
        let first_lacking = self.samples.get(self.reached(follower));
        now.since(first_lacking.map_or(self.noted, |(moment, _)| *moment))
    }

    /// Something that the leader, now at `leader`, has had for longest of all that the follower lacks, and for how many
    /// milliseconds.
    pub(crate) fn lacking(&self, now: Moment, leader: &VersionVector, follower: &VersionVector) -> Option<(Dot, u64)> {
        let (since, frontier) = match self.samples.get(self.reached(follower)) {
            Some((moment, frontier)) => (*moment, frontier),
            None => (self.noted, leader),
        };
        let first = frontier.iter().find(|dot| !follower.covers(*dot))?;
        // The first of its author's that is missing is the one that must come first.
        Some((Dot::new(first.replica, follower.seq(first.replica) + 1), now.since(since)))
    }

    /// How many samples the follower has reached. They grow, so that it has reached the first ones.
    fn reached(&self, follower: &VersionVector) -> usize {
        self.samples.partition_point(|(_, frontier)| follower.includes(frontier))
    }

    /// Drops every second sample, and remembers half as many from now on.
    fn thin_out(&mut self) {
        let mut at = 0_usize;
        self.samples.retain(|_| {
            at += 1;
            at % 2 == 1
        });
        self.interval_ms = self.interval_ms.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_crdt::ReplicaId;

    fn at(seq: u64) -> VersionVector {
        [Dot::new(ReplicaId::new(1).unwrap(), seq)].into_iter().collect()
    }

    #[test]
    fn a_lag_is_the_age_of_the_first_record_that_is_missing() {
        let mut meter = LagMeter::new();
        meter.note(Moment(1_000), &at(1));
        meter.note(Moment(2_000), &at(2));
        meter.note(Moment(3_000), &at(3));
        assert_eq!(meter.behind_ms(Moment(4_000), &at(3), &at(0)), 3_000);
        assert_eq!(meter.behind_ms(Moment(4_000), &at(3), &at(1)), 2_000);
        meter.acked(&at(2));
        assert_eq!(meter.behind_ms(Moment(4_000), &at(3), &at(2)), 1_000);
        assert_eq!(meter.behind_ms(Moment(4_000), &at(3), &at(3)), 0);
    }

    #[test]
    fn a_record_between_two_samples_is_not_overlooked() {
        let mut meter = LagMeter::new();
        meter.note(Moment(1_000), &at(1));
        meter.note(Moment(1_003), &at(2));
        meter.acked(&at(1));
        assert_eq!(meter.behind_ms(Moment(1_503), &at(2), &at(1)), 500);
    }

    #[test]
    fn an_hour_of_lag_takes_a_bounded_number_of_samples_and_stays_exact_enough() {
        let mut meter = LagMeter::new();
        for ms in 0..3_600_000 {
            meter.note(Moment(ms), &at(ms + 1));
        }
        assert!(meter.samples.len() <= SAMPLES_MAX);
        let measured = meter.behind_ms(Moment(3_600_000), &at(3_600_000), &at(600_000));
        assert!(measured.abs_diff(3_000_000) <= 3_000_000 / 16, "{measured}");
        meter.acked(&at(3_600_000));
        assert_eq!(meter.interval_ms, INTERVAL_MS_MIN, "who has caught up is measured finely again");
    }
}
