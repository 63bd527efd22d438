//! Stability rows: each is a moment that its member really had, and everybody hears of everybody. That every row is true is
//! watched by the mesh itself, in every test.

use tombolo_net::{Event, Heartbeat, Input, Limits, Message, Readiness, StabilityRow};

use crate::support::{
    mesh::{Mesh, WALL_MS},
    script::{Script, events},
    toy_store::{ToyStore, id, vector},
};

fn row(member: u64, dots: &[(u64, u64)]) -> StabilityRow {
    StabilityRow { member: id(member), frontier: vector(dots) }
}

#[test]
fn rows_travel_along_a_chain_to_members_that_never_meet() {
    let mut mesh = Mesh::new(3, Limits::default());
    mesh.connect(0, 1, 5);
    mesh.connect(1, 2, 5);
    mesh.write(0, 10);
    mesh.write(2, 10);
    mesh.run(5_000);
    for node in 0..3 {
        assert_eq!(mesh.stable(node), vector(&[(1, 1), (3, 1)]), "at node {node}");
    }
}

#[test]
fn what_a_member_in_the_dark_lacks_is_not_stable() {
    let mut mesh = Mesh::new(3, Limits::default());
    mesh.connect(0, 1, 5);
    let dark = mesh.connect(1, 2, 5);
    mesh.write(0, 10);
    mesh.run(5_000);
    mesh.cut(dark);
    mesh.write(0, 10);
    mesh.run(5_000);
    assert_eq!(mesh.stable(0), vector(&[(1, 1)]));
}

#[test]
fn an_idle_session_passes_no_rows() {
    let mut mesh = Mesh::pair();
    mesh.write(0, 10);
    mesh.run(5_000);
    let rows =
        |mesh: &Mesh| mesh.links[0].ends[0].events.iter().filter(|event| matches!(event, Event::Rows(_))).count();
    let before = rows(&mesh);
    mesh.run(10_000);
    assert_eq!(rows(&mesh), before);
}

#[test]
fn a_peer_is_told_no_rows_of_itself_and_believed_none_of_us() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    script.input(Input::Rows(vec![row(1, &[(1, 1)]), row(2, &[(1, 1)]), row(3, &[(1, 1)])]));
    let outputs = script.run(1_000);
    let Some(Message::Heartbeat(beat)) = script.messages(&outputs).pop() else { panic!() };
    assert_eq!(beat.rows, [row(3, &[(1, 1)])]);

    let rows = vec![row(1, &[(1, 9)]), row(2, &[(1, 9)]), row(4, &[(1, 9)])];
    let beat = Heartbeat { wall_ms: WALL_MS, readiness: Readiness::Ready, digest: 0, rows };
    script.say(Message::Have(vector(&[(2, 7)])));
    let outputs = script.say(Message::Heartbeat(beat));
    assert_eq!(events(&outputs), [Event::Rows(vec![row(2, &[(2, 7)]), row(4, &[(1, 9)])])]);
}

#[test]
fn records_under_way_make_no_row() {
    let mut peer = ToyStore::new(2);
    let dot = peer.write(10);
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let outputs = script.say(Message::Records(vec![peer.record(dot)]));
    assert_eq!(events(&outputs), []);
    let outputs = script.say(Message::Have(vector(&[(3, 1)])));
    assert_eq!(events(&outputs), [], "it waits for the heartbeat, before which everything has been said");
}

#[test]
fn many_rows_are_spread_over_heartbeats() {
    let mut script = Script::open(&ToyStore::new(1), &ToyStore::new(2));
    let rows: Vec<_> = (3..1_003).map(|member| row(member, &[(1, 1)])).collect();
    script.input(Input::Rows(rows));
    let outputs = script.run(1_000);
    let Some(Message::Heartbeat(beat)) = script.messages(&outputs).pop() else { panic!() };
    assert!((100..200).contains(&beat.rows.len()), "{}", beat.rows.len());
}
