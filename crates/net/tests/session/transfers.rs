//! Pulls and pages: answered once, bounded both ways, given up with the session, and patient with whoever is busy with them.

use bytes::Bytes;
use tombolo_crdt::Dot;
use tombolo_net::{
    AskFailure, BadPacking, Event, Fault, Input, Limits, LoadFailure, Loaded, Message, Output, PAGE_BODY_BYTES_MAX,
    PULL_BODY_BYTES_MAX, Readiness,
};

use crate::support::{
    mesh::Mesh,
    script::{Script, closed, events, heartbeat, hello},
    toy_store::{ToyStore, id, vector},
};

fn open() -> Script {
    Script::open(&ToyStore::new(1), &ToyStore::new(2))
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn pull(token: u64) -> Input {
    Input::Pull { token, body: body("what next?") }
}

fn pulled(outputs: &[Output]) -> Vec<(u64, Result<Bytes, AskFailure>)> {
    let pulled = outputs.iter().filter_map(|output| match output {
        Output::Pulled { token, page } => Some((*token, page.clone())),
        _ => None,
    });
    pulled.collect()
}

/// Bytes of which nothing can be made smaller.
fn noise(len: usize) -> Bytes {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect::<Vec<u8>>().into()
}

#[test]
fn pages_come_in_any_order_each_to_its_pull() {
    let mut mesh = Mesh::pair();
    mesh.run(20);
    (1..=3).for_each(|token| mesh.input(0, 0, pull(token * 10)));
    mesh.run(5);
    let wanted = mesh.links[0].ends[1].pull_asked.clone();
    assert_eq!(wanted, [(1, body("what next?")), (2, body("what next?")), (3, body("what next?"))]);
    for (id, text) in [(3, "c"), (1, "a"), (2, "")] {
        mesh.input(0, 1, Input::Page { id, body: body(text) });
    }
    mesh.run(5);
    assert_eq!(mesh.links[0].ends[0].pulled, [(30, Ok(body("c"))), (10, Ok(body("a"))), (20, Ok(body("")))]);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()));
}

#[test]
fn pages_are_packed_when_that_is_shorter() {
    let page = |body: Bytes| Message::Page { id: 1, body }.encode().len();
    assert!(page(Bytes::from(vec![7; 1 << 20])) < 1_000);
    let len = 1 << 20;
    assert!((len..len + 16).contains(&page(noise(len))), "what cannot be packed goes as it is");
    for body in [Bytes::from(vec![7; 1 << 20]), noise(len), noise(300), Bytes::from(vec![7; 100])] {
        let message = Message::Page { id: 7, body };
        assert_eq!(Message::decode(message.encode(), &Limits::default()), Ok(Some(message)));
    }
}

#[test]
fn no_more_is_pulled_than_may_be_and_none_before_the_hello() {
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    assert_eq!(pulled(&script.input(pull(1))), [(1, Err(AskFailure::NotEstablished))]);
    let mut script = open();
    for token in 1..=4 {
        assert_eq!(pulled(&script.input(pull(token))), []);
    }
    assert_eq!(pulled(&script.input(pull(5))), [(5, Err(AskFailure::TooMany { max: 4 }))]);
    script.say(Message::Page { id: 2, body: body("!") });
    assert_eq!(pulled(&script.input(pull(6))), [], "there is room again");
    let (bytes, max) = (PULL_BODY_BYTES_MAX + 1, PULL_BODY_BYTES_MAX);
    let outputs = script.input(Input::Pull { token: 7, body: vec![0; bytes].into() });
    assert_eq!(pulled(&outputs), [(7, Err(AskFailure::TooLarge { bytes, max }))]);
}

#[test]
fn a_peer_that_pulls_too_much_or_out_of_order_is_closed() {
    let mut script = open();
    for id in [3, 4, 5, 9] {
        script.say(Message::Pull { id, body: body("?") });
    }
    script.input(Input::Page { id: 4, body: body("!") });
    script.say(Message::Pull { id: 10, body: body("?") });
    let outputs = script.say(Message::Pull { id: 11, body: body("?") });
    assert_eq!(closed(&script, &outputs), Fault::TooManyPulls { max: 4 });
    for id in [4, 5] {
        let mut script = open();
        script.say(Message::Pull { id: 5, body: body("?") });
        let outputs = script.say(Message::Pull { id, body: body("?") });
        assert_eq!(closed(&script, &outputs), Fault::StalePull { id, last: 5 });
    }
}

#[test]
fn a_page_that_was_not_pulled_or_was_sent_is_a_fault() {
    let mut script = open();
    let outputs = script.say(Message::Page { id: 1, body: body("!") });
    assert_eq!(closed(&script, &outputs), Fault::UnaskedPage { id: 1 });
    let mut script = open();
    script.input(pull(1));
    assert_eq!(pulled(&script.say(Message::Page { id: 1, body: body("!") })), [(1, Ok(body("!")))]);
    let outputs = script.say(Message::Page { id: 1, body: body("!") });
    assert_eq!(closed(&script, &outputs), Fault::UnaskedPage { id: 1 });
}

#[test]
fn a_body_that_is_too_large_or_not_what_it_announces_is_a_fault() {
    let max = PAGE_BODY_BYTES_MAX;
    let bytes = max as u64 + 1;
    let mut script = open();
    script.input(pull(1));
    let outputs = script.say(Message::Page { id: 1, body: vec![0; max + 1].into() });
    assert_eq!(closed(&script, &outputs), Fault::BadPacking(BadPacking::TooLarge { bytes, max: max as u64 }));

    let packed = zstd::bulk::compress(&[0; 5_000], 3).unwrap();
    let page = |announced: &[u8]| [&[17, 1], announced, &packed].concat();
    for (announced, expected) in [
        (&[0xe8, 0x07][..], None),
        (&[0xf0, 0x2e], Some(BadPacking::Short { announced: 6_000, found: 5_000 })),
        (&[5], Some(BadPacking::Overflowing { announced: 5 })),
    ] {
        let mut script = open();
        script.input(pull(1));
        let outputs = script.say_bytes(&page(announced));
        match (closed(&script, &outputs), expected) {
            (Fault::BadPacking(fault), Some(expected)) => assert_eq!(fault, expected),
            // It holds more than the thousand bytes announced.
            (Fault::BadPacking(BadPacking::Corrupt { .. }), None) => {}
            (fault, _) => panic!("{fault}"),
        }
    }
    // A host that makes too large a page has none.
    let mut script = open();
    script.say(Message::Pull { id: 1, body: body("?") });
    let outputs = script.input(Input::Page { id: 1, body: vec![0; max + 1].into() });
    assert_eq!(script.messages(&outputs), [Message::Page { id: 1, body: Bytes::new() }]);
}

#[test]
fn a_session_that_ends_gives_up_its_pulls_before_its_last_word() {
    let mut script = open();
    (1..=3).for_each(|token| drop(script.input(pull(token * 10))));
    script.say(Message::Page { id: 2, body: body("b") });
    let outputs = script.input(Input::Stop);
    assert_eq!(pulled(&outputs), [(10, Err(AskFailure::Closed)), (30, Err(AskFailure::Closed))]);
    assert_eq!(closed(&script, &outputs), Fault::Stopped);
}

#[test]
fn a_page_that_nobody_waits_for_is_not_sent() {
    let mut script = open();
    let page = || Input::Page { id: 1, body: body("!") };
    let outputs = script.input(page());
    assert_eq!(script.messages(&outputs), []);
    script.say(Message::Pull { id: 1, body: body("?") });
    let outputs = script.input(page());
    assert_eq!(script.messages(&outputs).len(), 1);
    let outputs = script.input(page());
    assert_eq!(script.messages(&outputs), []);
}

#[test]
fn a_provider_that_takes_its_time_is_neither_silent_nor_hurried() {
    let mut mesh = Mesh::pair();
    mesh.run(20);
    mesh.input(0, 0, pull(1));
    mesh.run(600_000);
    assert!(mesh.links[0].ends.iter().all(|end| end.closed.is_none()), "it beats, and the page may come tomorrow");
    mesh.input(0, 1, Input::Page { id: 1, body: body("!") });
    mesh.run(10);
    assert_eq!(mesh.links[0].ends[0].pulled, [(1, Ok(body("!")))]);
}

/// A session with a record under way that is not acknowledged.
fn unacknowledged() -> Script {
    let mut store = ToyStore::new(1);
    let dot = store.write(100);
    let mut script = Script::open(&store, &ToyStore::new(2));
    script.loaded(Loaded { records: vec![(dot, store.record(dot))], next: 2, ..Loaded::default() });
    script
}

#[test]
fn who_pulls_or_sends_pages_is_not_stalled_and_who_only_beats_is() {
    let run = |talk: &dyn Fn(&mut Script, u64)| {
        let mut script = unacknowledged();
        for round in 1..=20 {
            script.say(heartbeat(Readiness::Ready, 0));
            talk(&mut script, round);
            let outputs = script.run(4_000);
            if outputs.iter().any(|output| matches!(output, Output::Close(_))) {
                return Some(closed(&script, &outputs));
            }
        }
        None
    };
    assert_eq!(run(&|_, _| ()), Some(Fault::Stalled));
    let pulls = run(&|script, id| {
        script.say(Message::Pull { id, body: body("?") });
        script.input(Input::Page { id, body: body("!") });
    });
    assert_eq!(pulls, None);
    let sends = run(&|script, id| {
        script.input(pull(id));
        script.say(Message::Page { id, body: body("!") });
    });
    assert_eq!(sends, None);
    assert_eq!(run(&|script, _| drop(script.input(Input::Arriving))), None, "its haves are behind what arrives");
}

#[test]
fn pulls_go_on_beside_records_and_heartbeats() {
    let mut mesh = Mesh::pair();
    mesh.nodes[1].ingest_ms = 50;
    mesh.run(20);
    (0..200).for_each(|_| {
        mesh.nodes[0].store.write(100_000);
    });
    mesh.advanced(0);
    let mut pages = 0;
    while !mesh.is_converged() {
        assert!(mesh.now < 60_000);
        mesh.input(0, 1, pull(pages));
        mesh.run(6);
        for (id, _) in std::mem::take(&mut mesh.links[0].ends[0].pull_asked) {
            mesh.input(0, 0, Input::Page { id, body: noise(1 << 10) });
        }
        mesh.run(6);
        pages += 1;
    }
    assert_eq!(mesh.links[0].ends[1].pulled.len() as u64, pages);
    assert!(pages > 50, "{pages}");
}

#[test]
fn who_lacks_what_a_log_has_forgotten_knows_it_from_the_hello() {
    let mut peer = ToyStore::new(2);
    (0..3).for_each(|_| {
        peer.write(10);
    });
    peer.truncate();
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say(Message::Hello(hello(&peer)));
    assert!(events(&outputs).contains(&Event::LacksState { floor: vector(&[(2, 3)]) }));
    assert!(script.session.status(tombolo_net::Moment(0)).own_needs_state);
}

#[test]
fn a_floor_that_rises_above_a_peer_is_told_once_and_after_what_it_speaks_of() {
    let mut store = ToyStore::new(1);
    (0..3).for_each(|_| {
        store.write(10);
    });
    let mut script = Script::open(&store, &ToyStore::new(2));
    store.write(10);
    script.advance(store.standing());
    let floor = vector(&[(1, 3)]);
    let outputs = script.input(Input::Loaded(Err(LoadFailure::BelowFloor { floor: floor.clone() })));
    assert_eq!(script.messages(&outputs), [Message::Have(vector(&[(1, 4)])), Message::Floor(floor)]);
    let outputs = script.run(900);
    assert_eq!(script.messages(&outputs), []);
    store.truncate();
    let outputs = script.advance(store.standing());
    assert_eq!(script.messages(&outputs), [Message::Floor(vector(&[(1, 4)]))], "it has risen");
    assert_eq!(events(&outputs), [], "that the peer needs a transfer is known");
}

#[test]
fn a_receiver_believes_a_floor_that_rises_and_no_other() {
    let mut peer = ToyStore::new(2);
    (0..3).for_each(|_| {
        peer.write(10);
    });
    let mut script = Script::open(&ToyStore::new(1), &peer);
    let floor = vector(&[(2, 2)]);
    let outputs = script.say(Message::Floor(floor.clone()));
    assert_eq!(events(&outputs), [Event::LacksState { floor }]);
    for wrong in [vector(&[(2, 2)]), vector(&[(2, 1)]), vector(&[(2, 4)]), vector(&[(3, 1)])] {
        let mut script = Script::open(&ToyStore::new(1), &peer);
        script.say(Message::Floor(vector(&[(2, 2)])));
        let outputs = script.say(Message::Floor(wrong.clone()));
        assert!(matches!(closed(&script, &outputs), Fault::Malformed(_)), "{wrong:?}");
    }
}

#[test]
fn a_receiver_that_came_above_the_floor_by_a_transfer_is_served_from_the_log_again() {
    let mut mesh = Mesh::new(2, Limits::default());
    (0..5).for_each(|_| {
        mesh.write(0, 10);
    });
    mesh.nodes[0].store.truncate();
    mesh.write(0, 10);
    let link = mesh.connect(0, 1, 5);
    mesh.run(1_000);
    assert_eq!(mesh.links[link].records_sent(0), []);
    // What the pages brought is published as one step.
    let known: Vec<Bytes> = (1..=5).map(|seq| mesh.nodes[0].store.record(Dot::new(id(1), seq))).collect();
    mesh.nodes[1].store.ingest(&known);
    mesh.advanced(1);
    mesh.run(100);
    assert!(mesh.is_converged());
    assert_eq!(mesh.links[link].records_sent(0), [Dot::new(id(1), 6)]);
    assert!(!mesh.status(link, 0).peer_needs_state && !mesh.status(link, 1).own_needs_state);
}
