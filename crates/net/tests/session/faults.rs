//! A peer that breaks a rule of the protocol is closed with a name for it, and nothing more happens.

use bytes::Bytes;
use tombolo_crdt::{Chain, DecodeError, Dot, VersionVector, codec::put_varint};
use tombolo_net::{Event, Fault, Hello, Input, Limits, Message, Moment, Output, Readiness};

use crate::support::{
    script::{Script, closed, events, heartbeat, hello},
    toy_store::{ToyStore, id, vector},
};

fn store_with(own: u64, records: usize) -> ToyStore {
    let mut store = ToyStore::new(own);
    (0..records).for_each(|_| {
        store.write(10);
    });
    store
}

/// What a session that holds two records of its own makes of this hello.
#[track_caller]
fn refused(hello: Hello) -> Fault {
    let mut script = Script::new(&store_with(1, 2), Limits::default());
    let outputs = script.say(Message::Hello(hello));
    assert_eq!(events(&outputs), [], "nothing is established");
    closed(&script, &outputs)
}

/// What an open session makes of these bytes.
#[track_caller]
fn refused_bytes(bytes: &[u8]) -> Fault {
    let mut script = Script::open(&store_with(1, 2), &ToyStore::new(2));
    let outputs = script.say_bytes(bytes);
    closed(&script, &outputs)
}

fn good() -> Hello {
    hello(&ToyStore::new(2))
}

#[test]
fn a_stranger_is_refused() {
    assert_eq!(refused(Hello { mesh: 9, ..good() }), Fault::WrongMesh { found: 9 });
    assert_eq!(refused(Hello { replica: id(3), ..good() }), Fault::WrongReplica { found: id(3), expected: id(2) });
    assert_eq!(refused(Hello { replica: id(1), ..good() }), Fault::OurName);
}

#[test]
fn another_protocol_is_named() {
    let mut bytes = Message::Hello(good()).encode().to_vec();
    bytes[1] = 9;
    bytes.push(0);
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say_bytes(&bytes);
    assert_eq!(closed(&script, &outputs), Fault::WrongProtocol { found: 9 });
}

#[test]
fn a_peer_that_knows_more_of_us_than_we_do_is_not_talked_to() {
    let fault = Fault::AheadOfUs { dot: Dot::new(id(1), 3), known: 2 };
    assert_eq!(refused(hello(&ahead())), fault);
    let mut script = Script::open(&store_with(1, 2), &ToyStore::new(2));
    let outputs = script.say(Message::Have(vector(&[(1, 3)])));
    assert_eq!(closed(&script, &outputs), fault, "nor is one that comes to know more later");
}

/// Replica 2 with three records of replica 1.
fn ahead() -> ToyStore {
    let mut peer = ToyStore::new(2);
    let ours = store_with(1, 3);
    let records: Vec<Bytes> = (1..=3).map(|seq| ours.record(Dot::new(id(1), seq))).collect();
    peer.ingest(&records);
    peer
}

#[test]
fn a_standing_that_is_handed_in_first_keeps_a_race_from_being_a_loss() {
    let store = store_with(1, 2);
    let mut script = Script::new(&store, Limits::default());
    script.advance(store_with(1, 3).standing());
    let outputs = script.say(Message::Hello(hello(&ahead())));
    assert!(matches!(events(&outputs)[..], [Event::Established { .. }]), "{outputs:?}");
}

#[test]
fn a_fork_is_seen_at_equal_seqs() {
    let chain = |byte| Chain::from_bytes([byte; 16]);
    let forked = |seq, byte| Hello { heads: vec![(Dot::new(id(1), seq), chain(byte))], ..good() };
    assert_eq!(refused(forked(2, 7)), Fault::Forked { dot: Dot::new(id(1), 2) });
    // What cannot be compared is not different: another seq, or a chain that is not known.
    for hello in [forked(1, 7), forked(2, 0)] {
        let mut script = Script::new(&store_with(1, 2), Limits::default());
        let outputs = script.say(Message::Hello(hello));
        assert!(matches!(events(&outputs)[..], [Event::Established { .. }, ..]), "{outputs:?}");
    }
}

#[test]
fn a_fork_of_somebody_else_is_seen_too() {
    let third = store_with(3, 1).record(Dot::new(id(3), 1));
    let other = {
        let mut store = ToyStore::new(3);
        store.write(11);
        store.record(Dot::new(id(3), 1))
    };
    let (mut ours, mut theirs) = (ToyStore::new(1), ToyStore::new(2));
    ours.ingest(&[third]);
    theirs.ingest(&[other]);
    let mut script = Script::new(&ours, Limits::default());
    let outputs = script.say(Message::Hello(hello(&theirs)));
    assert_eq!(closed(&script, &outputs), Fault::Forked { dot: Dot::new(id(3), 1) });
}

#[test]
fn a_floor_above_the_frontier_is_refused() {
    let fault = refused(Hello { floor: vector(&[(3, 1)]), ..good() });
    assert_eq!(fault, Fault::Malformed(DecodeError::NotCanonical { what: "floor" }));
}

#[test]
fn nothing_comes_before_the_hello_and_no_hello_after_it() {
    for message in [Message::Have(vector(&[(2, 1)])), heartbeat(Readiness::Ready, 0)] {
        let mut script = Script::new(&ToyStore::new(1), Limits::default());
        let outputs = script.say(message.clone());
        assert_eq!(closed(&script, &outputs), Fault::OutOfTurn { kind: message.encode()[0] });
    }
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say_bytes(&[200]);
    assert_eq!(closed(&script, &outputs), Fault::OutOfTurn { kind: 200 });
    assert_eq!(refused_bytes(&Message::Hello(good()).encode()), Fault::OutOfTurn { kind: 1 });
}

#[test]
fn frames_that_are_no_messages_are_refused() {
    let truncated = |what| Fault::Malformed(DecodeError::Truncated { what });
    assert_eq!(refused_bytes(&[]), truncated("message kind"));
    assert_eq!(refused_bytes(&[3]), truncated("version vector"));
    assert_eq!(refused_bytes(&[4, 0, 0]), truncated("wall clock"));
    assert_eq!(refused_bytes(&[5]), truncated("bye"));
    let trailing = [&heartbeat(Readiness::Ready, 0).encode()[..], &[0]].concat();
    assert_eq!(refused_bytes(&trailing), Fault::Malformed(DecodeError::Trailing { what: "message", bytes: 1 }));
    let not_canonical = |what| Fault::Malformed(DecodeError::NotCanonical { what });
    assert_eq!(refused_bytes(&[3, 0]), not_canonical("empty vector"));
    assert_eq!(refused_bytes(&[2, 0]), not_canonical("records"));
    assert_eq!(refused_bytes(&[5, 0, 1, 7]), not_canonical("bye"), "a bell in a log");
    assert_eq!(refused_bytes(&[5, 0, 1, 0xff]), not_canonical("bye"));
    assert_eq!(refused_bytes(&[5, 0x80, 0x80, 0x04, 0]), not_canonical("bye"), "a code of 2^16");
}

#[test]
fn a_kind_that_is_not_known_is_a_fault_below_128_and_skipped_above() {
    for kind in [0, 7, 127] {
        assert_eq!(refused_bytes(&[kind, 1, 2, 3]), Fault::UnknownMessage { kind });
    }
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    for kind in [128, 255] {
        assert_eq!(script.say_bytes(&[kind, 1, 2, 3]), []);
    }
}

#[test]
fn a_count_beyond_the_frame_is_refused_before_anything_is_made_for_it() {
    let truncated = |what| Fault::Malformed(DecodeError::Truncated { what });
    let with_count = |prefix: &[u8]| {
        let mut bytes = prefix.to_vec();
        put_varint(&mut bytes, u64::MAX);
        bytes.extend([1; 60]);
        bytes
    };
    assert_eq!(refused_bytes(&with_count(&[2])), truncated("records"));
    assert_eq!(refused_bytes(&with_count(&[2, 1])), truncated("records"));
    assert_eq!(refused_bytes(&with_count(&[3])), truncated("version vector"));
    assert_eq!(refused_bytes(&with_count(&[&[4][..], &[0; 25]].concat())), truncated("stability rows"));
    assert_eq!(refused_bytes(&with_count(&[5, 0])), truncated("bye"));
    let hello = Message::Hello(good()).encode();
    let heads_at = hello.len() - 16 - 1 - 1;
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say_bytes(&with_count(&hello[..heads_at]));
    assert_eq!(closed(&script, &outputs), truncated("heads"));
}

fn many(first: u64, count: u64) -> VersionVector {
    (first..first + count).map(|bits| Dot::new(id(bits), 1)).collect()
}

#[test]
fn vectors_of_a_million_replicas_are_not_read() {
    let entry = |bits: u64, tail: &[u8]| [&bits.to_be_bytes()[..], tail].concat();
    let million = |prefix: &[u8], tail: &[u8]| {
        let mut bytes = prefix.to_vec();
        put_varint(&mut bytes, 1_000_000);
        (1..=1_000_000).for_each(|bits| bytes.extend(entry(bits, tail)));
        bytes
    };
    let have = million(&[3], &[1]);
    assert_eq!(refused_bytes(&have), Fault::FrameTooLarge { bytes: have.len(), max: 1 << 20 });
    let hello = Message::Hello(good()).encode();
    let hello = million(&hello[..hello.len() - 16 - 1 - 1], &[1; 17]);
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say_bytes(&hello);
    assert_eq!(closed(&script, &outputs), Fault::FrameTooLarge { bytes: hello.len(), max: 1 << 20 });
}

#[test]
fn vectors_that_fit_a_frame_name_no_more_replicas_than_they_may() {
    let max = Limits::default().vector_entries_max;
    let fault = Fault::TooManyReplicas { count: max + 1, max };
    assert_eq!(refused_bytes(&Message::Have(many(1_000, max as u64 + 1)).encode()), fault);
    let heads: Vec<_> = many(1_000, max as u64 + 1).iter().map(|dot| (dot, Chain::BEGINNING)).collect();
    assert_eq!(refused(Hello { heads: heads.clone(), ..good() }), fault);
    let (heads, floor) = (heads[1..].to_vec(), many(1_000, max as u64 + 1));
    assert_eq!(refused(Hello { heads, floor, ..good() }), fault);
}

#[test]
fn many_small_vectors_name_no_more_replicas_than_one_may() {
    let max = Limits::default().vector_entries_max;
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    for first in (1_000..).step_by(1_000) {
        let outputs = script.say(Message::Have(many(first, 1_000)));
        if outputs.iter().any(|output| matches!(output, Output::Close(_))) {
            assert_eq!(closed(&script, &outputs), Fault::TooManyReplicas { count: first as usize, max });
            return;
        }
        assert!(first as usize <= max, "{first} replicas were taken");
    }
}

#[test]
fn a_frame_is_no_larger_than_a_record_needs() {
    let limits = Limits::default();
    let mut bytes = vec![0; limits.frame_bytes_max + 1];
    for kind in [2, 200] {
        bytes[0] = kind;
        let expected = Fault::FrameTooLarge { bytes: bytes.len(), max: limits.frame_bytes_max };
        assert_eq!(refused_bytes(&bytes), expected);
    }
}

#[test]
fn what_was_said_is_not_taken_back() {
    let mut peer = store_with(2, 5);
    peer.ingest(&[store_with(3, 1).record(Dot::new(id(3), 1))]);
    for (dot, said) in [((2, 4), 5), ((2, 5), 5), ((3, 1), 1)] {
        let mut script = Script::open(&ToyStore::new(1), &peer);
        let outputs = script.say(Message::Have(vector(&[dot])));
        let dot = Dot::new(id(dot.0), dot.1);
        assert_eq!(closed(&script, &outputs), Fault::WentBackwards { dot, said });
    }
    // What was sent was said.
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.say(Message::Records(vec![peer.record(Dot::new(id(2), 1))]));
    let outputs = script.say(Message::Have(vector(&[(2, 1)])));
    assert_eq!(closed(&script, &outputs), Fault::WentBackwards { dot: Dot::new(id(2), 1), said: 1 });
}

#[test]
fn a_peer_that_sends_more_than_its_window_is_closed() {
    let limits = Limits { window_bytes: 1_000, ..Limits::default() };
    let peer = store_with(2, 100);
    let records: Vec<Bytes> = (1..=100).map(|seq| peer.record(Dot::new(id(2), seq))).collect();
    let fits = 1_000 / records[0].len();
    let mut script = Script::open_with(&ToyStore::new(1), &ToyStore::new(2), limits.clone());
    for record in &records[..fits] {
        let outputs = script.say(Message::Records(vec![record.clone()]));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Close(_))), "{outputs:?}");
    }
    let outputs = script.say(Message::Records(vec![records[fits].clone()]));
    let bytes = records[..=fits].iter().map(|record| record.len() as u64).sum();
    assert_eq!(closed(&script, &outputs), Fault::Flooded { bytes, max: 1_000 });
    // All at once is no other thing.
    let mut script = Script::open_with(&ToyStore::new(1), &ToyStore::new(2), limits);
    let outputs = script.say(Message::Records(records));
    assert!(matches!(closed(&script, &outputs), Fault::Flooded { .. }));
}

#[test]
fn after_a_bye_nothing_is_said() {
    let mut script = Script::open(&store_with(1, 1), &ToyStore::new(2));
    let outputs = script.say(Message::Bye { code: 19, text: "the peer does not get on".to_owned() });
    let fault = Fault::PeerClosed { code: 19, text: "the peer does not get on".to_owned() };
    assert_eq!(outputs, [Output::Close(fault.clone())]);
    assert_eq!(fault.code(), 19);
}

#[test]
fn a_closed_session_does_nothing_more() {
    let mut script = Script::open(&store_with(1, 1), &store_with(2, 3));
    let outputs = script.input(Input::Stop);
    assert_eq!(closed(&script, &outputs), Fault::Stopped);
    script.session.close(Fault::Superseded);
    assert_eq!(script.input(Input::Stop), []);
    assert_eq!(script.advance(store_with(1, 2).standing()), []);
    assert_eq!(script.say(heartbeat(Readiness::Ready, 0)), []);
    assert_eq!(script.run(60_000), []);
    let status = script.session.status(Moment(0));
    assert!(!status.is_established);
    assert_eq!(status.frontier, vector(&[(2, 3)]), "how far the peer had got is remembered");
}

#[test]
fn a_driver_can_end_a_session_for_its_own_reasons() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.session.close(Fault::Superseded);
    let outputs: Vec<Output> = std::iter::from_fn(|| script.session.poll()).collect();
    assert_eq!(closed(&script, &outputs), Fault::Superseded);
}

#[test]
fn no_text_of_a_fault_is_too_long_for_a_bye() {
    let huge: Vec<u8> = "é".repeat(300).into_bytes();
    let fault = Fault::PeerClosed { code: 1, text: String::from_utf8(huge).unwrap() };
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.session.close(Fault::BadRecord(tombolo_net::BadRecord::Nameless(DecodeError::UnknownVersion { found: 7 })));
    let outputs: Vec<Output> = std::iter::from_fn(|| script.session.poll()).collect();
    assert!(matches!(&script.messages(&outputs)[..], [Message::Bye { code: 14, .. }]));
    assert!(fault.to_string().len() > 256);
}
