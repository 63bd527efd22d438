//! Questions between peers: answered once whatever else is under way, bounded both ways, and given up with the session.

use bytes::Bytes;
use tombolo_crdt::DecodeError;
use tombolo_net::{ASK_BODY_BYTES_MAX, AskFailure, Fault, Input, Limits, Message, Output, Readiness};

use crate::support::{
    mesh::Mesh,
    script::{Script, closed, heartbeat},
    toy_store::ToyStore,
};

fn open() -> Script {
    Script::open(&ToyStore::new(1), &ToyStore::new(2))
}

fn few(asks_max: usize) -> Script {
    let limits = Limits { asks_max, ..Limits::default() };
    Script::open_with(&ToyStore::new(1), &ToyStore::new(2), limits)
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn ask(token: u64) -> Input {
    Input::Ask { token, body: body("how long?") }
}

/// What outputs say became of questions.
fn answered(outputs: &[Output]) -> Vec<(u64, Result<Bytes, AskFailure>)> {
    let answered = outputs.iter().filter_map(|output| match output {
        Output::Answered { token, answer } => Some((*token, answer.clone())),
        _ => None,
    });
    answered.collect()
}

/// The questions that outputs hand to the host.
fn asked(outputs: &[Output]) -> Vec<(u64, Bytes)> {
    let asked = outputs.iter().filter_map(|output| match output {
        Output::Asked { id, body } => Some((*id, body.clone())),
        _ => None,
    });
    asked.collect()
}

#[test]
fn two_peers_ask_and_answer_each_other() {
    let mut mesh = Mesh::pair();
    mesh.run(20);
    let began = mesh.now;
    for end in 0..2 {
        (1..=3).for_each(|token| mesh.input(0, end, ask(token)));
    }
    mesh.run(5);
    for end in 0..2 {
        let questions = mesh.links[0].ends[end].asked.clone();
        assert_eq!(questions, [(1, body("how long?")), (2, body("how long?")), (3, body("how long?"))]);
        // In any order.
        for (id, text) in [(3, "c"), (1, "a"), (2, "b")] {
            mesh.input(0, end, Input::Answer { id, body: body(text) });
        }
    }
    mesh.run(5);
    assert_eq!(mesh.now - began, 10, "one round trip");
    for end in &mesh.links[0].ends {
        assert_eq!(end.answered, [(3, Ok(body("c"))), (1, Ok(body("a"))), (2, Ok(body("b")))]);
        assert_eq!(end.closed, None);
    }
}

#[test]
fn a_question_does_not_wait_for_the_window() {
    let mut mesh = Mesh::pair();
    mesh.run(20);
    // The other side takes records and does not apply them.
    mesh.nodes[1].ingest_ms = 60_000;
    for _ in 0..30 {
        mesh.write(0, 200_000);
    }
    mesh.run(100);
    let in_flight = mesh.status(0, 0).peer_behind.bytes;
    assert!(in_flight + 200_000 > Limits::default().window_bytes, "the window is full: {in_flight}");
    mesh.input(0, 0, ask(7));
    mesh.run(5);
    assert_eq!(mesh.links[0].ends[1].asked.len(), 1);
    mesh.input(0, 1, Input::Answer { id: 1, body: body("now") });
    mesh.run(5);
    assert_eq!(mesh.links[0].ends[0].answered, [(7, Ok(body("now")))]);
}

#[test]
fn before_the_peers_hello_nothing_is_asked() {
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.input(ask(9));
    assert_eq!(outputs, [Output::Answered { token: 9, answer: Err(AskFailure::NotEstablished) }]);
    let outputs = script.say(Message::Ask { id: 1, body: body("?") });
    assert_eq!(closed(&script, &outputs), Fault::OutOfTurn { kind: 28 });
    let mut script = Script::new(&ToyStore::new(1), Limits::default());
    let outputs = script.say(Message::Answer { id: 1, body: body("!") });
    assert_eq!(closed(&script, &outputs), Fault::OutOfTurn { kind: 29 });
}

#[test]
fn own_questions_beyond_the_limit_are_refused_here_and_go_again_after_an_answer() {
    let mut script = few(2);
    for token in [10, 20] {
        let outputs = script.input(ask(token));
        assert!(matches!(script.messages(&outputs)[..], [Message::Ask { .. }]), "{outputs:?}");
    }
    let outputs = script.input(ask(30));
    assert_eq!(outputs, [Output::Answered { token: 30, answer: Err(AskFailure::TooMany { max: 2 }) }]);
    let outputs = script.say(Message::Answer { id: 2, body: body("b") });
    assert_eq!(answered(&outputs), [(20, Ok(body("b")))]);
    let outputs = script.input(ask(40));
    assert_eq!(script.messages(&outputs), [Message::Ask { id: 3, body: body("how long?") }]);
}

#[test]
fn a_body_has_an_end_and_may_be_empty() {
    let mut script = open();
    let longest = Bytes::from(vec![7; ASK_BODY_BYTES_MAX]);
    let outputs = script.input(Input::Ask { token: 1, body: longest.clone() });
    assert_eq!(script.messages(&outputs), [Message::Ask { id: 1, body: longest.clone() }]);
    let too_long = Bytes::from(vec![7; ASK_BODY_BYTES_MAX + 1]);
    let outputs = script.input(Input::Ask { token: 2, body: too_long.clone() });
    let (bytes, max) = (ASK_BODY_BYTES_MAX + 1, ASK_BODY_BYTES_MAX);
    assert_eq!(answered(&outputs), [(2, Err(AskFailure::TooLarge { bytes, max }))]);
    assert_eq!(asked(&script.say(Message::Ask { id: 1, body: longest.clone() })), [(1, longest)]);
    assert_eq!(asked(&script.say(Message::Ask { id: 2, body: Bytes::new() })), [(2, Bytes::new())]);
    // A host that talks too much has no answer.
    let outputs = script.input(Input::Answer { id: 1, body: too_long.clone() });
    assert_eq!(script.messages(&outputs), [Message::Answer { id: 1, body: Bytes::new() }]);

    for (message, what) in [
        (Message::Ask { id: 3, body: too_long.clone() }, "question"),
        (Message::Answer { id: 1, body: too_long }, "answer"),
    ] {
        let mut script = open();
        script.input(ask(1));
        let outputs = script.say(message);
        assert_eq!(closed(&script, &outputs), Fault::Malformed(DecodeError::TooLarge { what, bytes, max }));
    }
}

#[test]
fn a_peer_that_asks_too_much_is_closed() {
    let mut script = few(3);
    for id in [1, 5, 6] {
        script.say(Message::Ask { id, body: body("?") });
    }
    // What was answered counts no more.
    script.input(Input::Answer { id: 5, body: body("!") });
    assert_eq!(asked(&script.say(Message::Ask { id: 7, body: body("?") })).len(), 1);
    let outputs = script.say(Message::Ask { id: 8, body: body("?") });
    assert_eq!(closed(&script, &outputs), Fault::TooManyAsks { max: 3 });
    let mut script = open();
    for id in 1..=256 {
        assert_eq!(asked(&script.say(Message::Ask { id, body: body("?") })).len(), 1);
    }
    let outputs = script.say(Message::Ask { id: 257, body: body("?") });
    assert_eq!(closed(&script, &outputs), Fault::TooManyAsks { max: 256 });
}

#[test]
fn a_number_that_was_used_or_passed_is_a_fault() {
    for (second, is_answered) in [(5, false), (5, true), (4, false)] {
        let mut script = open();
        script.say(Message::Ask { id: 5, body: body("?") });
        if is_answered {
            script.input(Input::Answer { id: 5, body: body("!") });
        }
        let outputs = script.say(Message::Ask { id: second, body: body("?") });
        assert_eq!(closed(&script, &outputs), Fault::StaleAsk { id: second, last: 5 });
    }
    let outputs_of_zero = open().say_bytes(&[28, 0, 1]);
    assert!(matches!(outputs_of_zero.last(), Some(Output::Close(Fault::Malformed(_)))), "{outputs_of_zero:?}");
}

#[test]
fn an_answer_to_what_was_not_asked_or_was_answered_is_a_fault() {
    let mut script = open();
    let outputs = script.say(Message::Answer { id: 1, body: body("!") });
    assert_eq!(closed(&script, &outputs), Fault::UnaskedAnswer { id: 1 });
    let mut script = open();
    script.input(ask(1));
    script.say(Message::Answer { id: 1, body: body("!") });
    let outputs = script.say(Message::Answer { id: 1, body: body("!") });
    assert_eq!(closed(&script, &outputs), Fault::UnaskedAnswer { id: 1 });
}

#[test]
fn a_session_that_ends_gives_up_what_is_unanswered_before_its_last_word() {
    let mut script = open();
    (1..=3).for_each(|token| drop(script.input(ask(token * 10))));
    script.say(Message::Answer { id: 2, body: body("b") });
    let outputs = script.input(Input::Stop);
    assert_eq!(answered(&outputs), [(10, Err(AskFailure::Closed)), (30, Err(AskFailure::Closed))]);
    assert_eq!(closed(&script, &outputs), Fault::Stopped);
    assert_eq!(script.input(ask(40)), [], "it is over");

    let mut script = open();
    script.input(ask(1));
    let outputs = script.say(Message::Bye { code: 0, text: String::new() });
    assert_eq!(answered(&outputs), [(1, Err(AskFailure::Closed))]);
}

#[test]
fn a_host_that_answers_what_is_not_open_says_nothing() {
    let mut script = open();
    assert_eq!(script.messages(&script_answers(&mut open(), 1)), []);
    script.say(Message::Ask { id: 1, body: body("?") });
    let outputs = script_answers(&mut script, 1);
    assert_eq!(script.messages(&outputs), [Message::Answer { id: 1, body: body("!") }]);
    let outputs = script_answers(&mut script, 1);
    assert_eq!(script.messages(&outputs), []);
}

fn script_answers(script: &mut Script, id: u64) -> Vec<Output> {
    script.input(Input::Answer { id, body: body("!") })
}

#[test]
fn questions_are_signs_of_life_and_hold_nothing_up() {
    let mut script = open();
    script.input(ask(1));
    for id in 1..=8 {
        script.say(Message::Ask { id, body: body("?") });
        let outputs = script.run(1_000);
        assert!(script.messages(&outputs).iter().any(|message| matches!(message, Message::Heartbeat(_))));
    }
    script.say(heartbeat(Readiness::Ready, 0));
    let outputs = script.run(5_000);
    assert_eq!(answered(&outputs), [(1, Err(AskFailure::Closed))], "an open question does not keep a silent peer");
    assert_eq!(closed(&script, &outputs), Fault::Silent);
}
