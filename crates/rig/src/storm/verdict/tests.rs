//! Forged evidence: a run of two sites that holds, and each way in which it could not.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_proto::mvccpb::{Event, KeyValue, event::EventType};

use super::{Fault, Site, StreamFault, judge};
use crate::{
    kill::{history::Evidence, verdict::Told},
    storm::ledger::{Attempt, Ledger, Notes},
};

/// Where the second site's revisions begin.
const SLOT: i64 = 1 << 38;

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// `(value, key)` of each put, grouped by revision.
type Story<'a> = &'a [&'a [(&'a str, &'a str)]];

/// The evidence of a site whose history is this, counted as a server counts.
fn site(first: i64, story: Story<'_>) -> Site {
    let mut state: BTreeMap<Bytes, KeyValue> = BTreeMap::new();
    let (mut history, mut told) = (Vec::new(), Vec::new());
    for (revision, puts) in (first..).zip(story) {
        for (value, key) in *puts {
            let old = state.get(&bytes(key)).cloned();
            let pair = KeyValue {
                key: bytes(key),
                value: bytes(value),
                create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
                mod_revision: revision,
                version: old.as_ref().map_or(1, |old| old.version + 1),
                ..Default::default()
            };
            state.insert(pair.key.clone(), pair.clone());
            let event = Event { r#type: EventType::Put as i32, kv: Some(pair), prev_kv: None };
            told.push(Event { prev_kv: old, ..event.clone() });
            history.push(event);
        }
    }
    let revision = first + story.len() as i64 - 1;
    let told = Told { key: bytes("\0"), end: bytes("\0"), events: told, seen_revision: revision };
    let evidence = Evidence { revision, state: state.into_values().collect(), history };
    Site { evidence, told: vec![told], before: Vec::new(), records: 10 }
}

fn attempt(
    site: usize,
    value: &str,
    shared: &[&str],
    after: Option<&str>,
    saw: Option<&str>,
    revision: i64,
) -> Attempt {
    Attempt {
        site,
        value: bytes(value),
        own: bytes(&format!("own/{site}")),
        shared: shared.iter().map(|key| bytes(key)).collect(),
        after: after.map(bytes),
        saw: saw.map(bytes),
        acknowledged: Some(revision),
    }
}

/// Two writes of the first site and one of the second, which had read the first; the last two are rivals for a key.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(2);
    let first =
        vec![attempt(0, "a1", &["shared/1"], None, None, 2), attempt(0, "a2", &["shared/1"], Some("a1"), None, 3)];
    ledger.take(Notes { attempts: first, seen_revision: 3 }, 0);
    let second = vec![attempt(1, "b1", &["shared/1"], None, Some("a1"), SLOT + 2)];
    ledger.take(Notes { attempts: second, seen_revision: SLOT + 2 }, 1);
    ledger
}

const A1: &[(&str, &str)] = &[("a1", "own/0"), ("a1", "shared/1")];
const A2: &[(&str, &str)] = &[("a2", "own/0"), ("a2", "shared/1")];
const B1: &[(&str, &str)] = &[("b1", "own/1"), ("b1", "shared/1")];
/// What the first site shows of `b1` after `a2` has won.
const B1_BEATEN: &[(&str, &str)] = &[("b1", "own/1")];

fn sites() -> Vec<Site> {
    vec![site(2, &[A1, A2, B1_BEATEN]), site(SLOT + 1, &[A1, B1, A2])]
}

fn faults(ledger: &Ledger, sites: &[Site]) -> Vec<Fault> {
    judge(ledger, sites).0
}

#[test]
fn a_run_that_holds_has_no_faults_and_its_beaten_put_is_counted() {
    assert_eq!(judge(&ledger(), &sites()), (Vec::new(), 1));
}

#[test]
fn an_acknowledged_write_that_a_site_does_not_show_is_lost() {
    let mut sites = sites();
    sites[0] = site(2, &[A1, A2]);
    let found = faults(&ledger(), &sites);
    assert!(found.contains(&Fault::Lost { site: 0, value: bytes("b1") }), "{found:?}");
    assert!(found.contains(&Fault::Differs { site: 1, key: bytes("own/1") }), "{found:?}");
}

#[test]
fn a_write_without_an_answer_is_everywhere_or_nowhere() {
    let mut ledger = ledger();
    ledger.attempts.get_mut(&bytes("b1")).unwrap().acknowledged = None;
    assert_eq!(faults(&ledger, &sites()), []);
    let mut sites = sites();
    sites[0] = site(2, &[A1, A2]);
    let found = faults(&ledger, &sites);
    assert!(found.contains(&Fault::Partial { site: 0, value: bytes("b1") }), "{found:?}");
}

#[test]
fn a_jump_of_the_revision_is_found() {
    let mut sites = sites();
    let last = sites[0].evidence.history.last_mut().unwrap().kv.as_mut().unwrap();
    last.mod_revision += 1;
    let found = faults(&ledger(), &sites);
    assert!(found.contains(&Fault::Gap { site: 0, after: 3, revision: 5 }), "{found:?}");
}

#[test]
fn an_effect_before_what_its_writer_had_read_is_found() {
    let sites = [site(2, &[A1, A2, B1_BEATEN]), site(SLOT + 1, &[B1, A1, A2])];
    let found = faults(&ledger(), &sites);
    let expected = Fault::EffectFirst { site: 1, effect: bytes("b1"), cause: bytes("a1") };
    assert!(found.contains(&expected), "{found:?}");
}

#[test]
fn an_effect_before_an_earlier_write_of_its_writer_is_found() {
    let sites = [site(2, &[A1, A2, B1_BEATEN]), site(SLOT + 1, &[A2, A1, B1])];
    let found = faults(&ledger(), &sites);
    let expected = Fault::EffectFirst { site: 1, effect: bytes("a2"), cause: bytes("a1") };
    assert!(found.contains(&expected), "{found:?}");
}

#[test]
fn a_write_that_is_applied_twice_is_found() {
    let sites = [site(2, &[A1, A2, B1_BEATEN, A2]), site(SLOT + 1, &[A1, B1, A2])];
    let found = faults(&ledger(), &sites);
    assert!(found.contains(&Fault::Repeated { site: 0, value: bytes("a2") }), "{found:?}");
}

#[test]
fn a_torn_write_is_found_at_its_own_site_and_elsewhere() {
    let half: &[(&str, &str)] = &[("a2", "own/0")];
    let own = faults(&ledger(), &[site(2, &[A1, half, B1_BEATEN]), site(SLOT + 1, &[A1, B1, A2])]);
    assert!(own.contains(&Fault::Torn { site: 0, revision: 3, value: bytes("a2") }), "{own:?}");
    let other_half: &[(&str, &str)] = &[("a2", "shared/1")];
    let other = faults(&ledger(), &[site(2, &[A1, A2, B1_BEATEN]), site(SLOT + 1, &[A1, B1, half, other_half])]);
    assert!(other.contains(&Fault::Torn { site: 1, revision: SLOT + 4, value: bytes("a2") }), "{other:?}");
    let both: &[(&str, &str)] = &[("b1", "own/1"), ("a2", "own/0"), ("a2", "shared/1")];
    let two = faults(&ledger(), &[site(2, &[A1, A2, B1_BEATEN]), site(SLOT + 1, &[A1, both])]);
    assert!(two.iter().any(|fault| matches!(fault, Fault::Torn { site: 1, .. })), "{two:?}");
}

#[test]
fn a_write_at_another_revision_than_the_acknowledged_one_is_found() {
    let sites = [site(2, &[A1, B1, A2]), site(SLOT + 1, &[A1, B1, A2])];
    let found = faults(&ledger(), &sites);
    assert!(found.contains(&Fault::Moved { site: 0, acknowledged: 3, found: 4 }), "{found:?}");
}

#[test]
fn a_value_that_nobody_wrote_there_is_found() {
    let sites = [site(2, &[A1, A2, B1_BEATEN]), site(SLOT + 1, &[A1, B1, A2, &[("a1", "own/1")]])];
    let found = faults(&ledger(), &sites);
    assert!(found.contains(&Fault::Unknown { site: 1, key: bytes("own/1"), value: bytes("a1") }), "{found:?}");
}

#[test]
fn a_dot_used_twice_shows_in_the_number_of_records() {
    let mut sites = sites();
    sites[0].records = 1;
    assert_eq!(faults(&ledger(), &sites), [Fault::DotsMissing { site: 0, records: 1, acknowledged: 2 }]);
}

#[test]
fn a_watcher_that_was_told_less_and_a_rewritten_history_are_found() {
    let mut sites = sites();
    sites[1].told[0].events.remove(2);
    sites[0].before = site(2, &[A1, B1]).evidence.history;
    let found = faults(&ledger(), &sites);
    let stream = |number, wanted: fn(&StreamFault) -> bool| {
        found.iter().any(|fault| matches!(fault, Fault::Stream { site, fault } if *site == number && wanted(fault)))
    };
    assert!(stream(1, |fault| matches!(fault, StreamFault::Watcher { .. })), "{found:?}");
    assert!(stream(0, |fault| matches!(fault, StreamFault::Rewritten { .. })), "{found:?}");
}
