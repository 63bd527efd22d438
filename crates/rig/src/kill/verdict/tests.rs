//! Forged evidence: each fault is made once, and must be found.

use bytes::Bytes;
use tombolo_proto::mvccpb::{Event, KeyValue, event::EventType};

use super::{Fault, Told, judge};
use crate::kill::{
    history::Evidence,
    ledger::{Attempt, Ledger, Notes},
};

/// A truthful story of four writes: `a`, then `a` and `b` as one, then `c` with a delete of `a`, then an unacknowledged `b`.
struct Story {
    ledger: Ledger,
    evidence: Evidence,
    told: Vec<Told>,
    before: Vec<Event>,
}

fn kv(key: &'static str, value: &'static str, create: i64, revision: i64, version: i64) -> KeyValue {
    KeyValue {
        key: Bytes::from(key),
        value: Bytes::from(value),
        create_revision: create,
        mod_revision: revision,
        version,
        lease: 0,
    }
}

fn put(kv: KeyValue, prev_kv: Option<KeyValue>) -> Event {
    Event { r#type: EventType::Put as i32, kv: Some(kv), prev_kv }
}

fn attempt(value: &'static str, puts: &[&'static str], deletes: &[&'static str], acknowledged: Option<i64>) -> Attempt {
    let keys = |keys: &[&'static str]| keys.iter().map(|key| Bytes::from(*key)).collect();
    Attempt { value: Bytes::from(value), puts: keys(puts), deletes: keys(deletes), acknowledged }
}

fn story() -> Story {
    let mut ledger = Ledger::default();
    let attempts = vec![
        attempt("one", &["a"], &[], Some(2)),
        attempt("two", &["a", "b"], &[], Some(3)),
        attempt("three", &["c"], &["a"], Some(4)),
        attempt("four", &["b"], &[], None),
        attempt("five", &["b"], &[], None),
    ];
    ledger.take(Notes { attempts, seen_revision: 4 });
    let deleted = KeyValue { key: Bytes::from("a"), mod_revision: 4, ..Default::default() };
    let with_previous = vec![
        put(kv("a", "one", 2, 2, 1), None),
        put(kv("a", "two", 2, 3, 2), Some(kv("a", "one", 2, 2, 1))),
        put(kv("b", "two", 3, 3, 1), None),
        put(kv("c", "three", 4, 4, 1), None),
        Event { r#type: EventType::Delete as i32, kv: Some(deleted), prev_kv: Some(kv("a", "two", 2, 3, 2)) },
        put(kv("b", "four", 3, 5, 2), Some(kv("b", "two", 3, 3, 1))),
    ];
    let history: Vec<Event> = with_previous.iter().map(|event| Event { prev_kv: None, ..event.clone() }).collect();
    let state = vec![kv("b", "four", 3, 5, 2), kv("c", "three", 4, 4, 1)];
    let of_b: Vec<Event> = [&with_previous[2], &with_previous[5]].map(Clone::clone).into();
    let told = vec![
        Told { key: Bytes::from("\0"), end: Bytes::from("\0"), events: with_previous, seen_revision: 5 },
        Told { key: Bytes::from("b"), end: Bytes::new(), events: of_b, seen_revision: 5 },
    ];
    let before = history[..3].to_vec();
    Story { ledger, evidence: Evidence { revision: 5, state, history }, told, before }
}

fn faults_after(forge: impl FnOnce(&mut Story)) -> Vec<Fault> {
    let mut story = story();
    forge(&mut story);
    judge(&story.ledger, &story.evidence, &story.told, &story.before)
}

fn has(faults: &[Fault], wanted: fn(&Fault) -> bool) -> bool {
    faults.iter().any(wanted)
}

#[test]
fn a_truthful_story_has_no_fault() {
    assert_eq!(faults_after(|_| ()), []);
}

#[test]
fn a_lost_write_is_found() {
    let faults = faults_after(|story| {
        story.ledger.take(Notes { attempts: vec![attempt("six", &["z"], &[], Some(6))], seen_revision: 5 });
    });
    assert_eq!(faults, [Fault::Lost { revision: 6, value: Bytes::from("six") }]);
}

#[test]
fn a_write_that_is_there_twice_is_found() {
    let faults = faults_after(|story| {
        let again = put(kv("b", "four", 3, 6, 3), None);
        story.evidence.history.push(again.clone());
        story.evidence.state[0] = kv("b", "four", 3, 6, 3);
        for told in &mut story.told {
            told.events.push(Event { prev_kv: Some(kv("b", "four", 3, 5, 2)), ..again.clone() });
        }
    });
    assert_eq!(faults, [Fault::Repeated { first: 5, second: 6, value: Bytes::from("four") }]);
}

#[test]
fn a_revision_that_goes_back_is_found() {
    let faults = faults_after(|story| story.ledger.seen_revision = 6);
    assert_eq!(faults, [Fault::WentBack { revision: 5, seen: 6 }]);
    let faults = faults_after(|story| story.evidence.history.swap(0, 5));
    assert!(has(&faults, |fault| matches!(fault, Fault::OutOfOrder { .. })), "{faults:?}");
}

#[test]
fn a_torn_transaction_is_found() {
    let faults = faults_after(|story| drop(story.evidence.history.remove(2)));
    assert!(has(&faults, |fault| matches!(fault, Fault::Torn { revision: 3, .. })), "{faults:?}");
    let faults = faults_after(|story| story.evidence.history[5].kv = Some(kv("b", "four", 3, 4, 2)));
    assert!(has(&faults, |fault| matches!(fault, Fault::Torn { revision: 4, .. })), "{faults:?}");
}

#[test]
fn a_write_at_another_revision_and_a_write_of_nobody_are_found() {
    let moved = attempt("two", &["a", "b"], &[], Some(9));
    let faults = faults_after(|story| drop(story.ledger.attempts.insert(moved.value.clone(), moved)));
    assert_eq!(faults, [Fault::Moved { acknowledged: 9, found: 3, value: Bytes::from("two") }]);
    let faults = faults_after(|story| drop(story.ledger.attempts.remove(&Bytes::from("four"))));
    assert_eq!(faults, [Fault::Unknown { revision: 5 }]);
}

#[test]
fn a_rewritten_history_and_a_wrong_state_are_found() {
    let faults = faults_after(|story| story.before.swap(1, 2));
    assert_eq!(faults, [Fault::Rewritten { at: 1 }]);
    let faults = faults_after(|story| story.evidence.state[1].version = 2);
    assert_eq!(faults, [Fault::WrongState { key: Bytes::from("c") }]);
    let faults = faults_after(|story| story.evidence.state.push(kv("z", "one", 2, 2, 1)));
    assert_eq!(faults, [Fault::WrongState { key: Bytes::from("z") }]);
    let faults =
        faults_after(|story| story.before = [story.evidence.history.clone(), story.evidence.history.clone()].concat());
    assert_eq!(faults, [Fault::Rewritten { at: 6 }]);
}

#[test]
fn a_watcher_that_misses_repeats_or_invents_is_found() {
    let is_watcher = |fault: &Fault| matches!(fault, Fault::Watcher { .. });
    let missed = faults_after(|story| drop(story.told[0].events.remove(1)));
    assert!(has(&missed, is_watcher), "{missed:?}");
    let missed_the_end = faults_after(|story| drop(story.told[1].events.pop()));
    assert!(has(&missed_the_end, is_watcher), "{missed_the_end:?}");
    let repeated = faults_after(|story| {
        let event = story.told[0].events[2].clone();
        story.told[0].events.insert(2, event);
    });
    assert!(has(&repeated, is_watcher), "{repeated:?}");
    let foreign = faults_after(|story| {
        let event = story.told[0].events[0].clone();
        story.told[1].events.insert(0, event);
    });
    assert!(has(&foreign, is_watcher), "{foreign:?}");
    let wrong = faults_after(|story| story.told[0].events[1].prev_kv = None);
    assert_eq!(wrong, [Fault::WrongPrevious { revision: 3, key: Bytes::from("a") }]);
}
