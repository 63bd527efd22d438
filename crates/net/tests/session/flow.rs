//! What is offered and when: after the hello, what is durable, within the window, from the floor of the log on.

use bytes::Bytes;
use tombolo_crdt::Dot;
use tombolo_net::{Event, Input, Limits, LoadFailure, Loaded, Message, Output};

use crate::support::{
    mesh::Mesh,
    script::{Script, events, hello, load},
    toy_store::{ToyStore, id, vector},
};

fn store_with(own: u64, records: usize, bytes: usize) -> ToyStore {
    let mut store = ToyStore::new(own);
    (0..records).for_each(|_| {
        store.write(bytes);
    });
    store
}

fn records(script: &Script, outputs: &[Output]) -> Vec<Vec<Bytes>> {
    let messages = script.messages(outputs).into_iter();
    messages.filter_map(|message| if let Message::Records(records) = message { Some(records) } else { None }).collect()
}

#[test]
fn nothing_is_offered_before_the_hello() {
    let mut store = store_with(1, 3, 10);
    let mut script = Script::new(&store, Limits::default());
    store.write(10);
    let mut outputs = script.advance(store.standing());
    outputs.extend(script.run(4_000));
    outputs.retain(|output| !matches!(output, Output::Deadline(_)));
    assert_eq!(outputs, []);
    let outputs = script.say(Message::Hello(hello(&ToyStore::new(2))));
    assert!(load(&outputs).is_some());
    let haves = script.messages(&outputs);
    assert_eq!(haves, [Message::Have(vector(&[(1, 4)]))], "what rose since our hello is told");
}

#[test]
fn what_a_load_knows_to_be_durable_waits_until_the_session_does() {
    let mut store = store_with(1, 2, 10);
    let mut script = Script::open(&store, &ToyStore::new(2));
    store.write(10);
    let all = [1, 2, 3].map(|seq| Dot::new(id(1), seq)).map(|dot| (dot, store.record(dot)));
    let outputs = script.loaded(Loaded { records: all.to_vec(), next: 4, ..Loaded::default() });
    assert_eq!(records(&script, &outputs), Vec::<Vec<Bytes>>::new(), "its signature is that of the last record");
    let outputs = script.advance(store.standing());
    assert_eq!(records(&script, &outputs), [all.map(|(_, record)| record)]);
    assert_eq!(load(&outputs), None, "everything has been looked at");
}

#[test]
fn a_backlog_flows_within_the_window() {
    let limits = Limits { window_bytes: 100_000, batch_bytes: 10_000, ..Limits::default() };
    let mut mesh = Mesh::new(2, limits);
    (0..1_000).for_each(|_| {
        mesh.write(0, 1_000);
    });
    mesh.connect(0, 1, 20);
    mesh.nodes[1].ingest_ms = 3;
    mesh.run_until_converged();
    let most = mesh.links[0].unacked_bytes_max(0);
    assert!((90_000..=100_000).contains(&most), "the window is used, and no more: {most}");
}

#[test]
fn a_store_that_is_slow_slows_its_peer_and_is_not_given_up() {
    let limits = Limits { window_bytes: 20_000, batch_bytes: 5_000, ..Limits::default() };
    let mut mesh = Mesh::new(2, limits);
    mesh.connect(0, 1, 5);
    mesh.nodes[1].ingest_ms = 1_500;
    (0..60).for_each(|_| {
        mesh.write(0, 1_000);
    });
    mesh.run(10_000);
    assert!(mesh.frontiers()[1].seq(id(1)) <= 4 * 7, "at most a batch every second and a half");
    mesh.run_until_converged();
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()));
}

#[test]
fn a_record_larger_than_the_window_goes_alone() {
    let limits = Limits { window_bytes: 10_000, batch_bytes: 5_000, ..Limits::default() };
    let mut mesh = Mesh::new(2, limits);
    for bytes in [100, 50_000, 50_000, 100] {
        mesh.write(0, bytes);
    }
    mesh.connect(0, 1, 5);
    mesh.run_until_converged();
    assert_eq!(mesh.links[0].records_sent(0).len(), 4);
}

#[test]
fn the_smaller_of_what_the_peer_grants_and_what_we_keep_is_the_window() {
    let store = store_with(1, 10, 100);
    let peer = ToyStore::new(2);
    for (granted, kept, expected) in [(450, 1 << 20, 3), (1 << 20, 450, 3), (0, 1 << 20, 1), (u64::MAX, 1 << 20, 10)] {
        let mut script = Script::new(&store, Limits { window_bytes: kept, ..Limits::default() });
        let outputs = script.say(Message::Hello(tombolo_net::Hello { window: granted, ..hello(&peer) }));
        let Some(Output::Load { bytes, .. }) = load(&outputs) else { panic!("nothing is loaded") };
        let outputs = script.loaded(store.load(&vector(&[]), 1, 100, bytes).unwrap());
        assert_eq!(records(&script, &outputs).concat().len(), expected, "granted {granted}, kept {kept}");
    }
}

#[test]
fn nothing_is_loaded_for_a_peer_that_has_everything() {
    let mut ours = store_with(1, 3, 10);
    let mut theirs = ToyStore::new(2);
    theirs.ingest(
        &ours.load(&vector(&[]), 1, 9, 999).unwrap().records.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(),
    );
    let mut script = Script::open(&ours, &theirs);
    let dot = theirs.write(10);
    let outputs = script.say(Message::Records(vec![theirs.record(dot)]));
    assert_eq!(load(&outputs), None);
    ours.ingest(&[theirs.record(dot)]);
    let outputs = script.advance(ours.standing());
    assert_eq!(load(&outputs), None, "the peer's own record is not looked for");
    ours.write(10);
    let Some(Output::Load { from, .. }) = load(&script.advance(ours.standing())) else { panic!() };
    assert_eq!(from, 5, "only the newest commit is looked at");
}

#[test]
fn a_replica_is_never_sent_its_own_records() {
    let mut theirs = ToyStore::new(2);
    let mut ours = store_with(1, 1, 10);
    let before = hello(&theirs);
    let dot = theirs.write(10);
    ours.ingest(&[theirs.record(dot)]);
    let mut script = Script::new(&ours, Limits::default());
    let outputs = script.say(Message::Hello(before));
    assert!(load(&outputs).is_some());
    let outputs = script.loaded(ours.load(&vector(&[]), 1, 100, usize::MAX).unwrap());
    assert_eq!(records(&script, &outputs), [[ours.record(Dot::new(id(1), 1))]], "it wrote {dot} after its hello");
}

#[test]
fn a_load_that_gets_nowhere_is_tried_again_after_a_while() {
    let store = store_with(1, 3, 10);
    let mut script = Script::open(&store, &ToyStore::new(2));
    let outputs = script.loaded(Loaded { records: vec![], next: 1, ..Loaded::default() });
    assert_eq!(load(&outputs), None);
    let outputs = script.run(1_100);
    assert!(load(&outputs).is_some());
    let failure = || Input::Loaded(Err(LoadFailure::Unreadable { cause: "a row is rotten".to_owned() }));
    let outputs = script.input(failure());
    assert_eq!(events(&outputs), [Event::Unreadable { cause: "a row is rotten".to_owned() }]);
    assert_eq!(load(&outputs), None);
    assert!(load(&script.run(1_100)).is_some());
    assert_eq!(events(&script.input(failure())), [], "it is reported once");
    assert!(load(&script.run(1_100)).is_some());
    assert_eq!(load(&script.input(failure())), None, "an answer that nobody asked for changes nothing");
}

#[test]
fn a_peer_below_the_floor_is_not_served_and_may_still_push() {
    let mut mesh = Mesh::new(3, Limits::default());
    (0..5).for_each(|_| {
        mesh.write(0, 10);
    });
    let other = mesh.connect(0, 2, 5);
    mesh.run(100);
    mesh.nodes[0].store.truncate();
    mesh.write(0, 10);
    mesh.write(1, 10);
    let link = mesh.connect(0, 1, 5);
    mesh.run(2_000);
    assert_eq!(mesh.links[link].records_sent(0), []);
    let needs_state = Event::NeedsState { floor: vector(&[(1, 5)]) };
    let told = mesh.links[link].ends[0].events.iter().filter(|event| **event == needs_state).count();
    assert_eq!(told, 1);
    assert!(mesh.status(link, 0).peer_needs_state && mesh.status(link, 1).own_needs_state);
    assert_eq!(mesh.frontiers()[0].seq(id(2)), 1, "it may push to us");
    // Somebody else still has the log; once the peer has come above our floor we go on from there.
    mesh.cut(other);
    mesh.connect(2, 1, 5);
    mesh.run_until_converged();
    mesh.run(50);
    assert!(!mesh.status(link, 0).peer_needs_state && !mesh.status(link, 1).own_needs_state);
}

#[test]
fn a_peer_below_the_floor_costs_no_load() {
    let mut store = store_with(1, 3, 10);
    store.truncate();
    let mut script = Script::new(&store, Limits::default());
    let outputs = script.say(Message::Hello(hello(&ToyStore::new(2))));
    assert!(events(&outputs).contains(&Event::NeedsState { floor: vector(&[(1, 3)]) }));
    assert_eq!(load(&outputs), None);
    store.write(10);
    assert_eq!(load(&script.advance(store.standing())), None);
}

#[test]
fn a_floor_that_rose_while_the_load_was_out_is_believed() {
    let store = store_with(1, 3, 10);
    let mut script = Script::open(&store, &ToyStore::new(2));
    let floor = vector(&[(1, 2)]);
    let outputs = script.input(Input::Loaded(Err(LoadFailure::BelowFloor { floor: floor.clone() })));
    assert_eq!(events(&outputs), [Event::NeedsState { floor }]);
    assert_eq!(load(&outputs), None);
    let outputs = script.say(Message::Have(vector(&[(1, 2)])));
    assert!(load(&outputs).is_some(), "the peer has come above the floor");
}

#[test]
fn what_is_under_way_counts_when_the_floor_rises() {
    let mut store = store_with(1, 3, 10);
    let mut script = Script::open(&store, &ToyStore::new(2));
    script.loaded(store.load(&vector(&[]), 1, 100, usize::MAX).unwrap());
    store.truncate();
    store.write(10);
    let outputs = script.advance(store.standing());
    assert_eq!(events(&outputs), [], "the peer needs no transfer of state");
    assert!(load(&outputs).is_some());
}

#[test]
fn frames_hold_a_batch_of_records() {
    let store = store_with(1, 10, 100);
    let mut script = Script::open_with(&store, &ToyStore::new(2), Limits { batch_bytes: 400, ..Limits::default() });
    let outputs = script.loaded(store.load(&vector(&[]), 1, 100, usize::MAX).unwrap());
    let frames = records(&script, &outputs);
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 2, 2]);
}
