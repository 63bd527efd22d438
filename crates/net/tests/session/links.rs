//! Links that announce: who wants no records gets none, hears what there is, and gets it as soon as it asks.

use tombolo_net::{Branch, Input, Limits, Link, Message};

use crate::support::{
    mesh::Mesh,
    script::{Script, hello, load},
    toy_store::{ToyStore, id, vector},
};

/// What is said of a link by somebody who is in no tree.
fn link(wants_records: bool) -> Link {
    Link { wants_records, is_below_you: false, has_room: false, is_crowded: true, branch: Branch::default() }
}

/// A pair of which the second wants no records of the first.
fn lazy_pair() -> Mesh {
    let mut mesh = Mesh::pair();
    mesh.input(0, 0, Input::Link(link(true)));
    mesh.input(0, 1, Input::Link(link(false)));
    mesh.run(50);
    mesh
}

#[test]
fn who_wants_no_records_hears_of_them_and_gets_them_when_it_does() {
    let mut mesh = lazy_pair();
    let dots: Vec<_> = (0..20).map(|_| mesh.write(0, 100)).collect();
    mesh.write(1, 100);
    mesh.run(3_000);
    assert_eq!(mesh.links[0].records_sent(0), [], "a link that only announces carries no records");
    assert_eq!(mesh.frontiers(), [&vector(&[(1, 20), (2, 1)]), &vector(&[(2, 1)])], "the other way it is as ever");
    let status = mesh.status(0, 1);
    assert_eq!((status.own_behind.records, status.peer_behind.records), (20, 0), "it is told what there is");
    assert!(status.own_behind.ms > 2_000, "and knows for how long it has lacked it: {} ms", status.own_behind.ms);
    mesh.input(0, 1, Input::Link(link(true)));
    assert!(mesh.run_until_converged() < 100);
    assert_eq!(mesh.links[0].records_sent(0), dots, "each once");
}

#[test]
fn a_log_that_cannot_be_read_is_left_alone_while_nobody_wants_its_records() {
    let mut mesh = Mesh::pair();
    mesh.run(50);
    mesh.nodes[0].is_unreadable = true;
    mesh.write(0, 100);
    mesh.run(10);
    mesh.input(0, 1, Input::Link(link(false)));
    mesh.run(5_000);
    mesh.nodes[0].is_unreadable = false;
    mesh.input(0, 1, Input::Link(link(true)));
    assert!(mesh.run_until_converged() < 100);
}

#[test]
fn what_was_loaded_and_not_sent_is_not_lost_and_not_sent_late() {
    // The window holds back most of what is loaded.
    let limits = Limits { batch_bytes: 1_000, window_bytes: 1_000, ..Limits::default() };
    let mut mesh = Mesh::new(2, limits);
    mesh.nodes[1].ingest_ms = 300;
    (0..40).for_each(|_| {
        mesh.write(0, 100);
    });
    mesh.connect(0, 1, 5);
    mesh.run(100);
    mesh.input(0, 1, Input::Link(link(false)));
    mesh.run(20);
    let sent = mesh.links[0].records_sent(0).len();
    assert!((1..40).contains(&sent), "{sent}");
    mesh.run(2_000);
    assert_eq!(mesh.links[0].records_sent(0).len(), sent);
    mesh.nodes[1].ingest_ms = 1;
    mesh.input(0, 1, Input::Link(link(true)));
    mesh.run_until_converged();
    assert_eq!(mesh.links[0].records_sent(0).len(), 40);
}

#[test]
fn what_came_by_another_link_meanwhile_is_not_sent_when_records_are_wanted_again() {
    let mut mesh = Mesh::new(3, Limits::default());
    for (left, right) in [(0, 1), (1, 2), (0, 2)] {
        mesh.connect(left, right, 5);
    }
    mesh.run(50);
    mesh.input(2, 1, Input::Link(link(false)));
    mesh.input(2, 0, Input::Link(link(false)));
    mesh.run(50);
    (0..50).for_each(|_| {
        mesh.write(0, 100);
        mesh.run(5);
    });
    mesh.run_until_converged();
    // No matter that what it has was about to be told a while later.
    mesh.input(2, 1, Input::Link(link(true)));
    mesh.run(2_000);
    assert_eq!(mesh.links[2].records_sent(0), []);
    let dot = mesh.write(0, 100);
    mesh.run(2_000);
    assert_eq!(mesh.links[2].records_sent(0), [dot]);
}

#[test]
fn who_wants_no_records_is_told_by_and_by() {
    let mut mesh = lazy_pair();
    for _ in 0..100 {
        mesh.write(1, 10);
        mesh.run(10);
    }
    let sent_by_second = mesh.links[0].sent(1, |message| matches!(message, Message::Have(_))).len();
    assert!(sent_by_second <= 2, "a record sent is told: {sent_by_second}");
    for _ in 0..100 {
        mesh.write(0, 10);
        mesh.run(10);
    }
    let told = mesh.links[0].sent(0, |message| matches!(message, Message::Have(_)));
    assert!(told.len() > 50, "the first wants records and tells at once: {}", told.len());
    mesh.input(0, 0, Input::Link(link(false)));
    let from = mesh.now;
    for _ in 0..100 {
        mesh.write(0, 10);
        mesh.run(10);
    }
    let told = mesh.links[0].sent(0, |message| matches!(message, Message::Have(_)));
    let late = told.iter().filter(|moment| **moment > from + 20).count();
    assert!((4..=8).contains(&late), "several together, five times a second and with the heartbeat: {late}");
}

#[test]
fn who_speaks_of_links_sends_nothing_before_the_other_has() {
    let mut store = ToyStore::new(1);
    store.write(10);
    let mut script = Script::new(&store, Limits::default());
    script.input(Input::Link(link(true)));
    assert_eq!(load(&script.say(Message::Hello(hello(&ToyStore::new(2))))), None);
    let outputs = script.run(3_000);
    assert_eq!(load(&outputs), None);
    let asked = script.say(Message::Link(link(true)));
    assert!(load(&asked).is_some(), "{asked:?}");
}

#[test]
fn a_way_has_no_more_nodes_than_it_may() {
    let above = |count| (1..=count).map(id).collect();
    for (count, is_one) in [(0, true), (Branch::NODES_MAX as u64, true), (Branch::NODES_MAX as u64 + 1, false)] {
        let branch = Branch { rank: 3, epoch: 9, cost: 300, above: above(count) };
        let message = Message::Link(Link { branch, ..link(true) });
        let read = Message::decode(message.encode(), &Limits::default());
        assert_eq!(read.is_ok(), is_one, "{count}");
    }
}
