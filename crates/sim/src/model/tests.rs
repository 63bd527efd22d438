//! The model says what merging, joins, leases and the system's data come to, and refuses what cannot be.

use tombolo_crdt::{Chain, RecordHeader};

use super::*;

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).expect("not 0")
}

fn record(replica: u64, seq: u64, ms: u64, delta: &[(u64, u64)], operations: Vec<Operation>) -> Record {
    let context_delta = delta.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect();
    let header = RecordHeader {
        dot: Dot::new(id(replica), seq),
        hlc: Hlc::from_millis(ms),
        context_delta,
        chain: Chain::BEGINNING,
    };
    Record { header, operations }
}

fn put(value: &'static str, supersedes: Vec<Element>) -> Operation {
    Operation::Put { key: "k".into(), value: value.into(), lease: None, supersedes }
}

#[test]
fn the_greatest_stamp_is_shown_and_a_loser_takes_no_revision() {
    let mut model = Model::new(Slot::FIRST);
    let first = model.apply(&record(1, 1, 50, &[], vec![put("a", vec![])])).expect("it follows");
    assert_eq!((first.revision.get(), first.events.len()), (2, 1));
    let loser = model.apply(&record(2, 1, 40, &[], vec![put("b", vec![])])).expect("it follows");
    assert_eq!((loser.revision.get(), loser.events.len()), (2, 0));
    let uncovered = Operation::Remove { key: "k".into(), elements: vec![Dot::new(id(1), 1).element(0)] };
    let uncovered = model.apply(&record(3, 1, 10, &[(1, 1)], vec![uncovered])).expect("it follows");
    assert!(matches!(&uncovered.events[..], [Event::Put(pair)] if pair.value == "b" && pair.version == 2));
}

#[test]
fn a_stamp_below_what_it_replaces_is_refused() {
    let mut model = Model::new(Slot::FIRST);
    model.apply(&record(1, 1, 50, &[], vec![put("a", vec![])])).expect("it follows");
    let replaced = vec![Dot::new(id(1), 1).element(0)];
    let below = record(2, 1, 40, &[(1, 1)], vec![put("b", replaced)]);
    assert!(model.apply(&below).unwrap_err().contains("stamp"));
    let mut model = Model::new(Slot::FIRST);
    model.apply(&record(1, 1, 50, &[], vec![])).expect("it follows");
    assert!(model.apply(&record(1, 2, 50, &[], vec![])).unwrap_err().contains("stamp"));
}

#[test]
fn a_range_removal_takes_what_its_author_had_seen() {
    let mut model = Model::new(Slot::FIRST);
    for replica in [1, 2] {
        model.apply(&record(replica, 1, 50, &[], vec![put("a", vec![])])).expect("it follows");
    }
    let range = Operation::RangeRemove(RangeRemove { start: "a".into(), end: None });
    model.apply(&record(3, 1, 60, &[(2, 1)], vec![range])).expect("it follows");
    let left: Vec<_> = model.siblings(&"k".into()).into_iter().map(|(element, ..)| element.dot.replica).collect();
    assert_eq!(left, [id(1)]);
}

#[test]
fn the_systems_data_shows_no_event_and_keeps_what_is_concurrent() {
    let mut model = Model::new(Slot::FIRST);
    let put = |value: &'static str| Operation::SystemPut { key: "m".into(), value: value.into(), supersedes: vec![] };
    model.apply(&record(1, 1, 50, &[], vec![put("a")])).expect("it follows");
    let second = model.apply(&record(2, 1, 60, &[], vec![put("b")])).expect("it follows");
    assert_eq!((second.revision.get(), second.events.len(), second.system), (1, 0, vec!["m".into()]));
    assert_eq!(model.system(), [("m".into(), vec!["b".into(), "a".into()])].into());
    let elements = vec![Dot::new(id(1), 1).element(0), Dot::new(id(2), 1).element(0)];
    let remove = Operation::SystemRemove { key: "m".into(), elements };
    model.apply(&record(2, 2, 70, &[(1, 1)], vec![remove])).expect("it follows");
    assert_eq!(model.system(), BTreeMap::new());
    assert_eq!(model.met().system_conflicts, 1);
}

#[test]
fn a_join_tells_what_is_different_in_the_end_and_takes_one_revision() {
    let mut model = Model::new(Slot::FIRST);
    model.apply(&record(1, 1, 50, &[], vec![put("a", vec![])])).expect("it follows");
    let first = Dot::new(id(1), 1).element(0);
    let passing = Operation::Put { key: "p".into(), value: "p".into(), lease: None, supersedes: vec![] };
    let gone = Operation::Remove { key: "p".into(), elements: vec![Dot::new(id(2), 1).element(0)] };
    let came = [record(2, 1, 60, &[], vec![passing]), record(2, 2, 61, &[(1, 1)], vec![gone, put("b", vec![first])])];
    let joined = model.join(&came, None).expect("they follow");
    assert_eq!((joined.revision.get(), model.commits()), (3, 2));
    assert!(matches!(&joined.events[..], [Event::Put(pair)] if pair.value == "b" && pair.version == 2));
    assert_eq!(model.frontier().seq(id(2)), 2);
    assert_eq!(model.join(&[], None).expect("nothing is sound").revision.get(), 3, "nothing changed");
}

#[test]
fn a_join_that_was_prepared_changes_keys_at_a_revision_of_its_own() {
    let mut model = Model::new(Slot::FIRST);
    model.apply(&record(1, 1, 50, &[], vec![put("a", vec![])])).expect("it follows");
    let came = [record(2, 1, 60, &[], vec![put("b", vec![])])];
    let begins = |number| Revision::new(number);
    assert!(model.clone().join(&came, begins(3)).unwrap_err().contains("given out"));
    let joined = model.join(&came, begins(100)).expect("it follows");
    assert_eq!((joined.revision.get(), model.revision().get()), (100, 100));
    assert!(matches!(&joined.events[..], [Event::Put(pair)] if pair.value == "b" && pair.mod_revision == 99));
}

#[test]
fn gaps_and_effects_before_causes_are_refused() {
    let mut model = Model::new(Slot::FIRST);
    assert!(model.apply(&record(1, 2, 50, &[], vec![])).unwrap_err().contains("seq 1"));
    assert!(model.apply(&record(1, 1, 50, &[(2, 1)], vec![])).unwrap_err().contains("before its cause"));
}
