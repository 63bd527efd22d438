//! The lease table under virtual time.

use tombolo_storage::Slot;

use super::*;

const fn at_ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn left(remaining_s: i64, granted_s: i64) -> Option<TimeToLive> {
    Some(TimeToLive { remaining_s, granted_s })
}

#[test]
fn remaining_time_is_whole_seconds_rounded_down() {
    let mut table = LeaseTable::new();
    table.granted(7, 10, at_ms(5000));
    assert_eq!(table.time_to_live(7, at_ms(5000)), left(10, 10));
    assert_eq!(table.time_to_live(7, at_ms(5001)), left(9, 10));
    assert_eq!(table.time_to_live(7, at_ms(14_001)), left(0, 10));
    assert_eq!(table.time_to_live(7, at_ms(99_000)), left(0, 10));
    assert_eq!(table.time_to_live(8, at_ms(5000)), None);
}

#[test]
fn a_keep_alive_gives_the_full_time_again() {
    let mut table = LeaseTable::new();
    table.granted(7, 10, at_ms(0));
    assert_eq!(table.renew(7, at_ms(9_999)), Some(10));
    assert_eq!(table.due(at_ms(19_998)), []);
    assert_eq!(table.next_deadline(), Some(at_ms(19_999)));
    assert_eq!(table.due(at_ms(19_999)), [7]);
    assert_eq!(table.renew(8, at_ms(0)), None);
}

#[test]
fn a_lease_that_ran_out_is_not_revived() {
    let mut table = LeaseTable::new();
    table.granted(7, 2, at_ms(0));
    assert_eq!(table.renew(7, at_ms(2000)), None, "it ran out, though nobody has asked what is due");
    assert_eq!(table.due(at_ms(2000)), [7]);
    assert_eq!(table.renew(7, at_ms(2000)), None);
    table.revoke_failed(7, at_ms(2100));
    assert_eq!(table.renew(7, at_ms(2100)), None);
    assert_eq!(table.time_to_live(7, at_ms(2100)), left(0, 2));
    table.ended(7);
    assert_eq!(table.renew(7, at_ms(2200)), None);
    assert_eq!(table.time_to_live(7, at_ms(2200)), None);
    assert_eq!(table.next_deadline(), None);
}

#[test]
fn a_due_lease_is_handed_out_once_until_its_revocation_fails() {
    let mut table = LeaseTable::new();
    table.granted(7, 2, at_ms(0));
    assert_eq!(table.due(at_ms(2000)), [7]);
    assert_eq!(table.due(at_ms(9000)), []);
    assert_eq!(table.next_deadline(), None);
    table.revoke_failed(7, at_ms(9000));
    table.revoke_failed(7, at_ms(9500));
    assert_eq!(table.due(at_ms(11_999)), [], "a pause first");
    assert_eq!(table.due(at_ms(12_000)), [7]);
}

#[test]
fn a_failed_revocation_does_not_touch_the_lease_that_took_the_id() {
    let mut table = LeaseTable::new();
    table.granted(7, 2, at_ms(0));
    assert_eq!(table.due(at_ms(2000)), [7]);
    table.ended(7);
    table.granted(7, 60, at_ms(2000));
    table.revoke_failed(7, at_ms(2000));
    assert_eq!(table.next_deadline(), Some(at_ms(62_000)));
    assert_eq!(table.renew(7, at_ms(3000)), Some(60));
}

#[test]
fn leases_are_due_in_order_and_in_bounded_portions() {
    let mut table = LeaseTable::new();
    for id in 0..1200 {
        table.granted(id, 3, at_ms(1));
    }
    table.granted(-5, 2, at_ms(0));
    let now = at_ms(60_000);
    let first = table.due(now);
    assert_eq!(first.len(), DUE_MAX);
    assert_eq!(first[..3], [-5, 0, 1]);
    assert_eq!(table.next_deadline(), Some(at_ms(3001)), "more is due at once");
    assert_eq!(table.due(now).len() + table.due(now).len(), 1201 - DUE_MAX);
    assert_eq!(table.due(now), []);
    assert_eq!(table.ids().len(), 1201, "the table deletes nothing by itself");
}

#[test]
fn leases_are_listed_by_when_they_run_out() {
    let mut table = LeaseTable::new();
    for (id, ttl_s) in [(1, 30), (2, 10), (3, 20)] {
        table.granted(id, ttl_s, at_ms(0));
    }
    assert_eq!(table.ids(), [2, 3, 1]);
    table.renew(2, at_ms(9000));
    table.renew(3, at_ms(15_000));
    assert_eq!(table.ids(), [2, 1, 3]);
}

#[test]
fn commits_bring_and_end_leases() {
    let commit = |leases| {
        Arc::new(Commit {
            number: 1,
            revision: Slot::FIRST.beginning(),
            events: Vec::new(),
            leases,
            system: Vec::new(),
        })
    };
    let mut table = LeaseTable::new();
    let granted = [LeaseChange::Granted { id: 1, ttl_s: 5 }, LeaseChange::Granted { id: 2, ttl_s: 6 }];
    table.apply(&[commit(granted.to_vec()), commit(vec![LeaseChange::Ended { id: 1 }])], at_ms(100));
    assert_eq!(table.ids(), [2]);
    assert_eq!(table.next_deadline(), Some(at_ms(6100)));
}

#[test]
fn the_longest_lease_does_not_overflow_the_clock() {
    let mut table = LeaseTable::new();
    table.granted(1, i64::MAX, Duration::MAX);
    table.granted(2, i64::MIN, at_ms(0));
    assert_eq!(table.time_to_live(1, at_ms(0)).map(|left| left.granted_s), Some(i64::MAX));
    assert_eq!(table.due(at_ms(0)), [2]);
}

#[test]
fn leases_that_moved_here_have_their_full_time_and_those_that_stayed_what_they_had() {
    let mut table = LeaseTable::new();
    table.granted(7, 10, at_ms(0));
    table.granted(8, 10, at_ms(0));
    table.settle(&[(7, 10), (9, 20)], at_ms(4_000));
    assert_eq!(table.time_to_live(7, at_ms(4_000)), left(6, 10));
    assert_eq!(table.time_to_live(8, at_ms(4_000)), None);
    assert_eq!(table.time_to_live(9, at_ms(4_000)), left(20, 20));
    assert_eq!(table.due(at_ms(60_000)), [7, 9]);
    table.settle(&[], at_ms(60_000));
    assert!(table.is_empty());
}
