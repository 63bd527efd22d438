//! Time: heartbeats, acknowledgements, patience, and the deadlines asked for.

use std::sync::Arc;

use tombolo_crdt::Dot;
use tombolo_net::{Event, Fault, Input, Limits, Loaded, Message, Moment, Output, Readiness, Standing};

use crate::support::{
    mesh::Mesh,
    script::{Script, closed, events, heartbeat, hello, load},
    toy_store::{ToyStore, id, vector},
};

fn is_heartbeat(message: &Message) -> bool {
    matches!(message, Message::Heartbeat(_))
}

fn is_have(message: &Message) -> bool {
    matches!(message, Message::Have(_))
}

#[test]
fn a_heartbeat_goes_out_every_second_and_keeps_an_idle_session_alive() {
    let mut mesh = Mesh::pair();
    mesh.run(60_500);
    for end in 0..2 {
        let beats = mesh.links[0].sent(end, is_heartbeat);
        assert_eq!(beats.len(), 60);
        assert_eq!(beats[1] - beats[0], 1_000);
        assert_eq!(mesh.links[0].ends[end].closed, None);
    }
}

#[test]
fn a_peer_that_falls_silent_is_given_up_after_five_seconds() {
    let mut mesh = Mesh::pair();
    mesh.run(1_500);
    mesh.links[0].delay_ms = 1_000_000;
    mesh.run(4_500);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()));
    mesh.run(20);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed == Some(Fault::Silent)));
}

#[test]
fn a_large_frame_on_its_way_is_not_silence() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    for _ in 0..5 {
        script.run(4_000);
        script.input(Input::Arriving);
    }
    let outputs = script.run(5_000);
    assert_eq!(closed(&script, &outputs), Fault::Silent);
    assert_eq!(script.now, 25_000);
}

#[test]
fn a_peer_without_a_hello_is_given_up_after_five_seconds() {
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    script.run(4_999);
    script.input(Input::Arriving);
    let outputs = script.run(1);
    assert_eq!(closed(&script, &outputs), Fault::NoHello);
}

/// A session whose peer has been sent one record of about `bytes` bytes.
fn with_a_record_in_flight(bytes: usize) -> Script {
    let mut store = ToyStore::new(1);
    let dot = store.write(bytes);
    let mut script = Script::open(&store, &ToyStore::new(2));
    let outputs = script.loaded(Loaded { records: vec![(dot, store.record(dot))], next: 2, ..Loaded::default() });
    assert!(matches!(script.messages(&outputs)[..], [Message::Records(_), Message::Heads(_)]));
    script
}

/// Lets the peer say that it is alive, and nothing else, until it is given up. Returns when that was.
fn stalled_at(script: &mut Script, readiness: Readiness, patience_ms: u64) -> Option<u64> {
    let until = script.now + patience_ms;
    while script.now < until {
        let outputs = script.run(500);
        if outputs.iter().any(|output| matches!(output, Output::Close(_))) {
            assert_eq!(closed(script, &outputs), Fault::Stalled);
            return Some(script.now);
        }
        script.say(heartbeat(readiness, 0));
    }
    None
}

#[test]
fn a_peer_that_does_not_get_on_is_given_up_after_half_a_minute() {
    assert_eq!(stalled_at(&mut with_a_record_in_flight(10), Readiness::Ready, 60_000), Some(30_500));
}

#[test]
fn a_large_record_may_take_its_time_on_a_slow_link() {
    let at = stalled_at(&mut with_a_record_in_flight(1 << 20), Readiness::Ready, 200_000);
    assert_eq!(at, Some(94_500), "64 seconds more, for a megabyte at 16 KiB a second");
}

#[test]
fn a_peer_that_says_why_it_does_not_get_on_is_not_given_up() {
    let mut script = with_a_record_in_flight(10);
    assert_eq!(stalled_at(&mut script, Readiness::Busy, 120_000), None);
    assert_eq!(stalled_at(&mut script, Readiness::Stopped, 120_000), None);
    let begin = script.now;
    let at = stalled_at(&mut script, Readiness::Ready, 60_000).unwrap();
    assert!((30_000..=31_000).contains(&(at - begin)), "from then on it has as long as anybody: {}", at - begin);
}

#[test]
fn a_peer_that_acknowledges_now_and_then_is_not_given_up() {
    let mut store = ToyStore::new(1);
    (0..10).for_each(|_| {
        store.write(10);
    });
    let mut script = Script::open(&store, &ToyStore::new(2));
    script.loaded(store.load(&vector(&[]), 1, 100, 9_999).unwrap());
    for seq in 1..=10 {
        assert_eq!(stalled_at(&mut script, Readiness::Ready, 25_000), None);
        script.say(Message::Have(vector(&[(1, seq)])));
    }
    assert_eq!(stalled_at(&mut script, Readiness::Ready, 100_000), None, "nothing is in flight");
}

fn standing(commit: u64, dots: &[(u64, u64)]) -> Arc<Standing> {
    Arc::new(Standing { commit, frontier: vector(dots), ..Standing::default() })
}

#[test]
fn what_comes_from_elsewhere_is_told_within_ten_milliseconds_and_at_once() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let mut told = Vec::new();
    for seq in 1..=20 {
        let outputs = script.advance(standing(seq, &[(3, seq)]));
        told.extend(script.messages(&outputs));
        let outputs = script.run(1);
        told.extend(script.messages(&outputs));
    }
    assert_eq!(told, [Message::Have(vector(&[(3, 10)])), Message::Have(vector(&[(3, 20)]))]);
}

#[test]
fn what_the_peer_sent_is_acknowledged_when_it_is_durable_and_without_delay() {
    let mut peer = ToyStore::new(2);
    let dot = peer.write(10);
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let outputs = script.say(Message::Records(vec![peer.record(dot)]));
    assert_eq!(script.messages(&outputs), []);
    let mut store = ToyStore::new(1);
    let report = store.ingest(&[peer.record(dot)]);
    let outputs = script.ingested(report);
    assert_eq!(script.messages(&outputs), [], "taken is not told before it is in a standing");
    let outputs = script.advance(store.standing());
    assert_eq!(script.messages(&outputs), [Message::Have(vector(&[(2, 1)]))]);
}

#[test]
fn what_was_sent_is_not_told_again() {
    let mut mesh = Mesh::pair();
    mesh.run(20);
    for _ in 0..100 {
        mesh.write(0, 10);
        mesh.run(20);
    }
    assert_eq!(mesh.links[0].sent(0, is_have), [], "the records say it all");
    assert_eq!(mesh.links[0].sent(1, is_have).len(), 100);
}

#[test]
fn a_standing_that_was_overtaken_is_ignored() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.advance(standing(5, &[(3, 5)]));
    script.advance(standing(4, &[(3, 4)]));
    let outputs = script.run(10);
    assert_eq!(script.messages(&outputs), [Message::Have(vector(&[(3, 5)]))]);
}

#[test]
fn an_idle_advance_asks_for_nothing() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let outputs = script.advance(standing(1, &[]));
    assert_eq!(load(&outputs), None);
    assert_eq!(script.messages(&outputs), []);
}

#[test]
fn deadlines_are_asked_for_when_they_change() {
    let mut peer = ToyStore::new(2);
    let mut script = Script::open(&ToyStore::new(1), &peer);
    for _ in 0..1_000 {
        let dot = peer.write(10);
        script.say(Message::Records(vec![peer.record(dot)]));
        script.run(1);
    }
    assert!(script.deadlines < 5, "{} deadlines for a thousand frames in a second", script.deadlines);
}

#[test]
fn a_deadline_that_comes_too_early_is_asked_for_again() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.now = 100;
    assert_eq!(script.input(Input::Deadline), [Output::Deadline(Moment(1_000))]);
}

#[test]
fn a_clock_that_is_off_is_reported_once() {
    let mut mesh = Mesh::new(2, Limits::default());
    mesh.nodes[1].wall_offset_ms = 60_000;
    mesh.connect(0, 1, 0);
    mesh.run(5_000);
    for (end, expected) in [(0, 60_000), (1, -60_000)] {
        let skews = mesh.links[0].ends[end].events.iter().filter(|event| matches!(event, Event::Skew(_)));
        assert_eq!(skews.collect::<Vec<_>>(), [&Event::Skew(expected)]);
        assert_eq!(mesh.status(0, end).skew_ms, expected);
    }
}

#[test]
fn an_absurd_clock_is_a_skew_and_nothing_worse() {
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say(Message::Hello(tombolo_net::Hello { wall_ms: u64::MAX, ..hello(&ToyStore::new(2)) }));
    assert!(events(&outputs).contains(&Event::Skew(i64::MAX)));
}

#[test]
fn how_far_a_peer_is_behind_shows_in_records_bytes_and_time() {
    let mut mesh = Mesh::pair();
    mesh.nodes[1].ingest_ms = 20_000;
    mesh.run(100);
    mesh.write(0, 1_000);
    mesh.run(3_000);
    mesh.write(0, 1_000);
    mesh.run(1_000);
    let behind = mesh.status(0, 0).peer_behind;
    assert_eq!((behind.records, behind.ms), (2, 4_000));
    assert!((2_000..2_200).contains(&behind.bytes), "{behind:?}");
    let behind = mesh.status(0, 1).own_behind;
    assert_eq!(behind.records, 2);
    assert!((3_980..4_000).contains(&behind.ms), "since it was told: {behind:?}");
    assert_eq!(mesh.status(0, 0).frontier.seq(id(1)), 0);
    assert!(!mesh.status(0, 0).frontier.covers(Dot::new(id(1), 1)));
}
