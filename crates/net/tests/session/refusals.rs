//! What becomes of records that the store does not take.

use bytes::Bytes;
use tombolo_crdt::{Chain, ContextFault, DecodeError, Dot, Hlc, Operation, Record, RecordHeader, VersionVector};
use tombolo_net::{
    BadRecord, Event, Fault, IngestRefusal, IngestReport, Input, Limits, Message, Moment, Output, Readiness,
};

use crate::support::{
    mesh::Mesh,
    script::{Script, closed, events, ingests},
    toy_store::{ToyStore, id, vector},
};

fn store_with(own: u64, records: usize) -> ToyStore {
    let mut store = ToyStore::new(own);
    (0..records).for_each(|_| {
        store.write(10);
    });
    store
}

fn record(dot: (u64, u64), context: &[(u64, u64)], operations: Vec<Operation>) -> Bytes {
    let header = RecordHeader {
        dot: Dot::new(id(dot.0), dot.1),
        hlc: Hlc::default(),
        context_delta: vector(context),
        chain: Chain::BEGINNING,
    };
    Record { header, operations }.encode(&Chain::BEGINNING).0
}

/// What a session makes of these records of its peer, with a store of replica 1 that has written twice.
#[track_caller]
fn offered(records: Vec<Bytes>) -> Fault {
    let mut store = store_with(1, 2);
    let mut script = Script::open(&store, &ToyStore::new(2));
    let outputs = script.say(Message::Records(records));
    if outputs.iter().any(|output| matches!(output, Output::Close(_))) {
        return closed(&script, &outputs);
    }
    let report = store.ingest(&ingests(&outputs).concat());
    assert!(report.refused.is_some(), "the store took it");
    let outputs = script.ingested(report);
    closed(&script, &outputs)
}

fn dot(replica: u64, seq: u64) -> Dot {
    Dot::new(id(replica), seq)
}

#[test]
fn a_gap_is_the_peers_fault() {
    let peer = store_with(2, 3);
    let fault = offered(vec![peer.record(dot(2, 1)), peer.record(dot(2, 3))]);
    assert_eq!(fault, Fault::Skipped { dot: dot(2, 3), missing: dot(2, 2) });
}

#[test]
fn an_effect_before_its_cause_is_the_peers_fault() {
    let fault = offered(vec![record((2, 1), &[(3, 1)], vec![])]);
    assert_eq!(fault, Fault::Skipped { dot: dot(2, 1), missing: dot(3, 1) });
}

#[test]
fn a_record_under_our_name_is_refused() {
    assert_eq!(offered(vec![record((1, 3), &[], vec![])]), Fault::OwnDot { dot: dot(1, 3) });
}

#[test]
fn a_stream_that_does_not_chain_is_a_fork() {
    let peer = store_with(2, 2);
    let fault = offered(vec![peer.record(dot(2, 1)), record((2, 2), &[], vec![])]);
    assert_eq!(fault, Fault::Forked { dot: dot(2, 2) });
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    let nameless = offered(vec![Bytes::from_static(&[9; 40])]);
    assert_eq!(nameless, Fault::BadRecord(BadRecord::Nameless(DecodeError::UnknownVersion { found: 9 })));
    let mut bytes = store_with(2, 1).record(dot(2, 1)).to_vec();
    // The kind of its operation, before a length and fourteen bytes of body.
    let kind_at = bytes.len() - Chain::LEN - 14 - 2;
    bytes[kind_at] = 0x80;
    let fault = offered(vec![bytes.into()]);
    assert!(
        matches!(fault, Fault::BadRecord(BadRecord::Malformed { dot, .. }) if dot == Dot::new(id(2), 1)),
        "{fault:?}"
    );
}

#[test]
fn a_removal_of_what_its_author_had_not_seen_is_refused() {
    let remove = Operation::Remove { key: "k".into(), elements: vec![dot(1, 1).element(0)] };
    let fault = offered(vec![record((2, 1), &[], vec![remove])]);
    let cause = ContextFault::RemovesUnseen { element: dot(1, 1).element(0) };
    assert_eq!(fault, Fault::BadRecord(BadRecord::ContradictsContext { dot: dot(2, 1), cause }));
}

#[test]
fn a_store_that_has_failed_ends_its_sessions() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.say(Message::Records(vec![store_with(2, 1).record(dot(2, 1))]));
    let outputs = script.ingested(IngestReport { passed: 0, refused: Some(IngestRefusal::Poisoned) });
    assert_eq!(closed(&script, &outputs), Fault::LocalTrouble);
}

#[test]
fn records_wait_while_there_is_no_space_and_the_peer_waits_too() {
    let mut mesh = Mesh::pair();
    mesh.nodes[1].store.refusal = Some(IngestRefusal::NoSpace);
    (0..5).for_each(|_| {
        mesh.write(0, 10);
    });
    mesh.run(100_000);
    assert_eq!(mesh.status(0, 0).peer_readiness, Readiness::Busy);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()));
    mesh.write(1, 10);
    mesh.run(50);
    assert_eq!(mesh.frontiers()[0].seq(id(2)), 1, "the other direction goes on");
    mesh.nodes[1].store.refusal = None;
    assert!(mesh.run_until_converged() <= 1_000, "the next attempt takes them");
    mesh.run(1_100);
    assert_eq!(mesh.status(0, 0).peer_readiness, Readiness::Ready);
    assert_eq!(mesh.links[0].records_sent(0).len(), 5, "nothing was sent twice");
}

#[test]
fn what_a_full_store_did_not_take_is_offered_to_it_again() {
    let peer = store_with(2, 3);
    let records: Vec<Bytes> = (1..=3).map(|seq| peer.record(dot(2, seq))).collect();
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.say(Message::Records(records.clone()));
    let outputs = script.ingested(IngestReport { passed: 1, refused: Some(IngestRefusal::NoSpace) });
    assert_eq!(ingests(&outputs), Vec::<Vec<Bytes>>::new());
    let outputs = script.run(1_000);
    assert_eq!(ingests(&outputs), [records], "nothing of it was applied");
}

#[test]
fn a_busy_store_is_asked_again_soon() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let record = store_with(2, 1).record(dot(2, 1));
    script.say(Message::Records(vec![record.clone()]));
    script.ingested(IngestReport { passed: 0, refused: Some(IngestRefusal::Busy) });
    assert_eq!(ingests(&script.run(50)), [[record]]);
}

#[test]
fn before_an_operation_of_tomorrow_a_replica_stops_and_goes_on_serving() {
    let mut mesh = Mesh::new(2, Limits { window_bytes: 2_000, ..Limits::default() });
    mesh.connect(0, 1, 5);
    mesh.write(0, 10);
    mesh.run(20);
    let unknown = Operation::Unknown { kind: 99, body: Bytes::new() };
    let unknown = mesh.nodes[0].store.write_operation(unknown);
    (0..50).for_each(|_| {
        mesh.write(0, 100);
    });
    mesh.run(120_000);
    assert_eq!(mesh.frontiers()[1].seq(id(1)), 1, "what was signed before it is applied, and nothing after");
    let upgrades = mesh.links[0].ends[1].events.iter().filter(|event| matches!(event, Event::Upgrade { .. }));
    assert_eq!(upgrades.collect::<Vec<_>>(), [&Event::Upgrade { dot: unknown, kind: 99 }]);
    assert_eq!(mesh.status(0, 0).peer_readiness, Readiness::Stopped);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()), "it is not given up as stalled");
    mesh.write(1, 10);
    mesh.run(50);
    assert_eq!(mesh.frontiers()[0].seq(id(2)), 1);
}

#[test]
fn a_replica_without_revisions_takes_nothing_more() {
    let mut mesh = Mesh::pair();
    mesh.nodes[1].store.refusal = Some(IngestRefusal::RevisionsExhausted);
    mesh.write(0, 10);
    mesh.run(60_000);
    let events = &mesh.links[0].ends[1].events;
    assert_eq!(events.iter().filter(|event| **event == Event::RevisionsExhausted).count(), 1);
    assert_eq!(mesh.status(0, 1).own_readiness, Readiness::Stopped);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()));
}

#[test]
fn one_batch_at_a_time_goes_to_the_store() {
    let peer = store_with(2, 10);
    let records: Vec<Bytes> = (1..=10).map(|seq| peer.record(dot(2, seq))).collect();
    let mut script =
        Script::open_with(&ToyStore::new(1), &ToyStore::new(2), Limits { batch_records: 4, ..Limits::default() });
    let outputs = script.say(Message::Records(records[..2].to_vec()));
    assert_eq!(ingests(&outputs), [records[..2].to_vec()]);
    for some in [2..3, 3..5, 5..10] {
        let outputs = script.say(Message::Records(records[some].to_vec()));
        assert_eq!(ingests(&outputs), Vec::<Vec<Bytes>>::new());
    }
    let outputs = script.ingested(IngestReport { passed: 2, refused: None });
    assert_eq!(ingests(&outputs), [records[2..5].to_vec()], "what was signed together is not parted");
    let outputs = script.ingested(IngestReport { passed: 3, refused: None });
    assert_eq!(ingests(&outputs), [records[5..].to_vec()], "even if it is more than a batch should have");
}

#[test]
fn what_somebody_else_brought_meanwhile_is_not_handed_to_the_store() {
    let mut store = ToyStore::new(1);
    let peer = store_with(2, 3);
    let records: Vec<Bytes> = (1..=3).map(|seq| peer.record(dot(2, seq))).collect();
    let mut script = Script::open_with(&store, &ToyStore::new(2), Limits { batch_records: 1, ..Limits::default() });
    let outputs = script.say(Message::Records(records[..1].to_vec()));
    assert_eq!(ingests(&outputs), [records[..1].to_vec()]);
    script.say(Message::Records(records[1..].to_vec()));
    store.ingest(&records[..2]);
    let outputs = script.advance(store.standing());
    assert_eq!(script.messages(&outputs), [Message::Have(vector(&[(2, 2)]))]);
    let outputs = script.ingested(IngestReport { passed: 1, refused: None });
    assert_eq!(ingests(&outputs), [records[2..].to_vec()]);
}

#[test]
fn a_replica_whose_waiting_records_came_another_way_is_not_busy_any_more() {
    let mut store = ToyStore::new(1);
    let record = store_with(2, 1).record(dot(2, 1));
    let mut script = Script::open(&store, &ToyStore::new(2));
    script.say(Message::Records(vec![record.clone()]));
    script.ingested(IngestReport { passed: 0, refused: Some(IngestRefusal::NoSpace) });
    store.ingest(&[record]);
    script.advance(store.standing());
    script.run(1_000);
    assert_eq!(script.session.status(Moment(script.now)).own_readiness, Readiness::Ready);
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let outputs = script.ingested(IngestReport { passed: 7, refused: Some(IngestRefusal::Poisoned) });
    assert_eq!(events(&outputs), []);
    assert_eq!(outputs, []);
    let outputs =
        script.input(Input::Loaded(Err(tombolo_net::LoadFailure::BelowFloor { floor: VersionVector::new() })));
    assert_eq!(outputs, []);
}
