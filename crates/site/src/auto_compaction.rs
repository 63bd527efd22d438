//! When history is compacted without being asked: by age, or by number of revisions.
//!
//! [`AutoCompaction`] follows etcd's two modes to the interval. By age, it samples the current revision ten times in each
//! interval and compacts to the sample that is as old as the retention; by number, it looks every five minutes. It compacts
//! nothing itself: it answers a revision, and is told what became of it. What it has sampled is gone after a restart, and the
//! first compaction is a whole retention away again, as in etcd.

use std::{collections::VecDeque, time::Duration};

pub use retention::{CompactionMode, ParseRetentionError, Retention};

mod retention;

/// The schedule of one site. Moments are those of one monotonic clock.
#[derive(Clone, Debug)]
pub struct AutoCompaction {
    retention: Retention,
    /// The revision just below the first one of this replica's share: nothing is compacted to it or below.
    floor: i64,
    /// The next look at the clock.
    next: Duration,
    /// By age: the revisions of the last looks, the oldest as old as the retention once there are enough.
    samples: VecDeque<i64>,
    /// By age: no compaction before this moment.
    not_before: Duration,
    /// The revision that was answered last and compacted.
    done: i64,
}

impl AutoCompaction {
    /// Begins at `now`, with the current revision of a replica whose first revision is `beginning`.
    pub fn new(retention: Retention, now: Duration, beginning: i64, current: i64) -> Self {
        let mut schedule = Self {
            retention,
            floor: beginning - 1,
            next: now,
            samples: VecDeque::new(),
            not_before: now,
            done: i64::MIN,
        };
        match retention {
            Retention::Age(age) => {
                schedule.not_before = now.saturating_add(age);
                schedule.samples.push_back(current);
                schedule.next = now.saturating_add(pause(age));
            }
            Retention::Revisions(_) => schedule.next = now.saturating_add(REVISION_INTERVAL),
        }
        schedule
    }

    /// When [`look`](Self::look) has something to do.
    pub fn next_deadline(&self) -> Duration {
        self.next
    }

    /// Takes note of the current revision when it is time to, and answers the revision to compact to, if one is due now.
    /// What becomes of it is told by [`compacted`](Self::compacted); one that failed is due again after a pause.
    pub fn look(&mut self, now: Duration, current: i64) -> Option<i64> {
        if now < self.next {
            return None;
        }
        let due = match self.retention {
            Retention::Age(age) => self.look_by_age(age, now, current),
            Retention::Revisions(kept) => {
                self.next = now.saturating_add(REVISION_INTERVAL);
                Some(current.saturating_sub(kept))
            }
        };
        due.filter(|&revision| revision > self.floor && revision != self.done)
    }

    fn look_by_age(&mut self, age: Duration, now: Duration, current: i64) -> Option<i64> {
        let oldest = (now >= self.not_before).then(|| self.samples.front().copied()).flatten();
        if oldest == Some(self.done) {
            // Nothing was written meanwhile: there is nothing to do, which is as good as done.
            self.not_before = now.saturating_add(interval(age));
        }
        self.samples.push_back(current);
        if self.samples.len() > samples_max(age) {
            self.samples.pop_front();
        }
        self.next = now.saturating_add(pause(age));
        oldest
    }

    /// A revision that was due is compacted, now or before: the next one is due an interval from now.
    pub fn compacted(&mut self, now: Duration, revision: i64) {
        self.done = revision;
        if let Retention::Age(age) = self.retention {
            self.not_before = now.saturating_add(interval(age));
        }
    }
}

/// How often it compacts by age: as often as the age is long, but at least every hour.
fn interval(age: Duration) -> Duration {
    age.min(HOUR)
}

/// How often it samples by age.
fn pause(age: Duration) -> Duration {
    interval(age) / SAMPLES_PER_INTERVAL
}

/// Samples kept: the oldest of them is as old as the age.
fn samples_max(age: Duration) -> usize {
    let pauses = age.as_nanos() / pause(age).as_nanos().max(1);
    usize::try_from(pauses).unwrap_or(usize::MAX).saturating_add(1)
}

/// How often it looks by number.
const REVISION_INTERVAL: Duration = Duration::from_mins(5);
const HOUR: Duration = Duration::from_hours(1);
const SAMPLES_PER_INTERVAL: u32 = 10;

#[cfg(test)]
mod tests;
