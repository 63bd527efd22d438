//! The schedule under virtual time, against the rules of etcd's.

use std::time::Duration;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// What a clock and a writer see: drives the schedule from deadline to deadline, writing `per_minute` revisions, and returns
/// when it compacted, and to what. `refused` says which of the attempts fail.
fn run(retention: Retention, minutes: u32, per_minute: i64, refused: &[usize]) -> Vec<(Duration, i64)> {
    let start = Duration::from_secs(77);
    let at = |now: Duration| 1 + (now - start).as_secs().cast_signed() * per_minute / 60;
    let mut schedule = AutoCompaction::new(retention, start, 1, at(start));
    let (mut compacted, mut attempts) = (Vec::new(), 0);
    while schedule.next_deadline() <= start + MINUTE * minutes {
        let now = schedule.next_deadline();
        assert_eq!(schedule.look(now - Duration::from_millis(1), i64::MAX), None, "nothing is due before the deadline");
        if let Some(revision) = schedule.look(now, at(now)) {
            attempts += 1;
            if !refused.contains(&attempts) {
                schedule.compacted(now, revision);
                compacted.push((now - start, revision));
            }
        }
        assert!(schedule.next_deadline() > now, "time goes on");
    }
    compacted
}

#[test]
fn a_day_is_kept_and_compacted_every_hour() {
    let day = Retention::Age(HOUR * 24);
    let compacted = run(day, 60 * 27, 10, &[]);
    // The first one comes after a whole day. Those after it keep a day and the six minutes since the sample before.
    let later = (25..=27).map(|hour| (HOUR * hour, 1 + i64::from(hour - 24) * 600 - 60));
    assert_eq!(compacted, std::iter::once((HOUR * 24, 1)).chain(later).collect::<Vec<_>>());
}

#[test]
fn ten_minutes_are_kept_and_compacted_every_ten_minutes() {
    let compacted = run(Retention::Age(MINUTE * 10), 40, 6, &[]);
    let later = (2..=4).map(|ten| (MINUTE * 10 * ten, 1 + i64::from(ten - 1) * 60 - 6));
    assert_eq!(compacted, std::iter::once((MINUTE * 10, 1)).chain(later).collect::<Vec<_>>());
}

#[test]
fn what_failed_is_tried_again_after_a_tenth_of_the_interval() {
    let compacted = run(Retention::Age(MINUTE * 10), 25, 6, &[1, 2]);
    // Refused at 10 and 11 minutes; what it compacts to at 12 is younger than what was refused.
    assert_eq!(compacted, [(MINUTE * 12, 1 + 6), (MINUTE * 22, 1 + 66)]);
}

#[test]
fn what_is_never_younger_than_the_retention_is_compacted_away() {
    for minutes in [1_u32, 7, 59, 60, 61, 90, 300, 1440] {
        let age = MINUTE * minutes;
        for refused in [vec![], vec![1], vec![2, 3, 4]] {
            let compacted = run(Retention::Age(age), minutes * 4 + 120, 60, &refused);
            assert!(!compacted.is_empty(), "{minutes}");
            for (at, revision) in compacted {
                // One revision a second: revision r was current r - 1 seconds after the start.
                let written = Duration::from_secs((revision - 1).cast_unsigned());
                let kept = at - written;
                assert!(kept >= age, "{minutes} minutes: only {kept:?} kept at {at:?}");
                assert!(kept <= age + pause(age) * 2, "{minutes} minutes: {kept:?} kept at {at:?}");
            }
        }
    }
}

#[test]
fn a_number_of_revisions_is_kept_and_looked_after_every_five_minutes() {
    let compacted = run(Retention::Revisions(100), 20, 10, &[]);
    // 51 and 101 revisions: at the second look, there is one too many.
    assert_eq!(compacted, [(MINUTE * 10, 1), (MINUTE * 15, 51), (MINUTE * 20, 101)]);
    let refused = run(Retention::Revisions(100), 20, 10, &[2]);
    assert_eq!(refused, [(MINUTE * 10, 1), (MINUTE * 20, 101)]);
}

#[test]
fn a_store_that_nobody_writes_is_compacted_once() {
    for retention in [Retention::Age(MINUTE), Retention::Revisions(1)] {
        let mut schedule = AutoCompaction::new(retention, Duration::ZERO, 1, 7);
        let mut answered = Vec::new();
        while schedule.next_deadline() < HOUR * 3 {
            let now = schedule.next_deadline();
            answered.extend(schedule.look(now, 7).inspect(|revision| schedule.compacted(now, *revision)));
        }
        assert_eq!(answered.len(), 1, "{retention:?}: {answered:?}");
    }
}

#[test]
fn nothing_below_the_own_share_of_revisions_is_asked_for() {
    let beginning = (5 << 38) | 1;
    let mut schedule = AutoCompaction::new(Retention::Revisions(100), Duration::ZERO, beginning, beginning);
    assert_eq!(schedule.look(MINUTE * 5, beginning + 99), None);
    assert_eq!(schedule.look(MINUTE * 10, beginning + 100), Some(beginning));
}

#[test]
fn retentions_are_read_as_etcd_reads_them() {
    let duration = |text: &str| match text {
        "30m" => Some(MINUTE * 30),
        "0s" => Some(Duration::ZERO),
        "1ms" => Some(Duration::from_millis(1)),
        _ => None,
    };
    let periodic = |text| Retention::parse(CompactionMode::Periodic, text, duration);
    let revision = |text| Retention::parse(CompactionMode::Revision, text, duration);
    assert_eq!(periodic("8"), Ok(Some(Retention::Age(HOUR * 8))), "a bare number counts hours");
    assert_eq!(periodic("30m"), Ok(Some(Retention::Age(MINUTE * 30))));
    assert_eq!(revision("1000"), Ok(Some(Retention::Revisions(1000))));
    for off in ["0", "", "0s"] {
        assert_eq!(periodic(off), Ok(None), "{off:?}");
    }
    assert_eq!(revision("0"), Ok(None));
    assert!(matches!(periodic("soon"), Err(ParseRetentionError::Age { .. })));
    assert!(matches!(periodic("-1"), Err(ParseRetentionError::Age { .. })));
    assert!(matches!(periodic("1ms"), Err(ParseRetentionError::TooShort { .. })));
    // etcd takes a duration for a number of nanoseconds here, which nobody means.
    assert!(matches!(revision("30m"), Err(ParseRetentionError::Revisions { .. })));
    assert!(matches!(revision("-5"), Err(ParseRetentionError::Revisions { .. })));
    assert!("sometimes".parse::<CompactionMode>().is_err());
    assert_eq!("".parse(), Ok(CompactionMode::Periodic));
}
