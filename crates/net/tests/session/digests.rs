//! Digests are compared at equal frontiers, now or a moment ago, and not otherwise.

use tombolo_net::{Digests, Event, Limits, Message, Readiness};

use crate::support::{
    mesh::Mesh,
    script::{Script, events, heartbeat},
    toy_store::{ToyStore, vector},
};

#[test]
fn replicas_that_hold_the_same_find_it_so() {
    let mut mesh = Mesh::pair();
    mesh.write(0, 10);
    mesh.run(50);
    mesh.write(1, 10);
    mesh.run(2_000);
    assert_eq!([mesh.status(0, 0).digests, mesh.status(0, 1).digests], [Digests::Equal; 2]);
}

#[test]
fn state_that_rots_is_found_within_two_heartbeats_and_reported_once() {
    let mut mesh = Mesh::pair();
    mesh.write(0, 10);
    mesh.run(2_000);
    mesh.nodes[1].store.rot = 1;
    mesh.write(1, 10);
    mesh.run(5_000);
    for (end, own_rot) in [(0, 0), (1, 1)] {
        let corrupt: Vec<_> =
            mesh.links[0].ends[end].events.iter().filter(|event| matches!(event, Event::Corrupt { .. })).collect();
        let [Event::Corrupt { frontier, own, peer }] = corrupt[..] else { panic!("{corrupt:?}") };
        assert_eq!(frontier, &vector(&[(1, 1), (2, 1)]));
        assert_eq!(*own, mesh.nodes[end].store.standing().digest);
        assert_eq!(own.wrapping_sub(*peer) as i64, if own_rot == 1 { 1 } else { -1 });
        assert_eq!(mesh.status(0, end).digests, Digests::Different);
    }
    mesh.nodes[1].store.rot = 0;
    mesh.write(0, 10);
    mesh.run(2_000);
    assert_eq!(mesh.status(0, 0).digests, Digests::Equal, "what was repaired is found equal again");
}

#[test]
fn different_frontiers_are_not_compared() {
    let mut ours = ToyStore::new(1);
    ours.write(10);
    let mut script = Script::open(&ours, &ToyStore::new(2));
    let outputs = script.say(heartbeat(Readiness::Ready, 77));
    assert!(!events(&outputs).iter().any(|event| matches!(event, Event::Corrupt { .. })));
    assert_eq!(script.session.status(tombolo_net::Moment(0)).digests, Digests::Unknown, "which is not equal");
}

#[test]
fn a_peer_that_is_a_moment_behind_is_compared_with_what_we_were_then() {
    let mut ours = ToyStore::new(1);
    let mut script =
        Script::open_with(&ours, &ToyStore::new(2), Limits { standings_remembered: 4, ..Limits::default() });
    ours.write(10);
    let then = ours.standing();
    script.advance(then.clone());
    for _ in 0..3 {
        ours.write(10);
        script.advance(ours.standing());
    }
    script.say(Message::Have(vector(&[(1, 1)])));
    let outputs = script.say(heartbeat(Readiness::Ready, then.digest.wrapping_add(1)));
    let corrupt = Event::Corrupt { frontier: vector(&[(1, 1)]), own: then.digest, peer: then.digest.wrapping_add(1) };
    assert!(events(&outputs).contains(&corrupt), "{outputs:?}");
    let outputs = script.say(heartbeat(Readiness::Ready, then.digest));
    assert!(!events(&outputs).contains(&corrupt));
    assert_eq!(script.session.status(tombolo_net::Moment(0)).digests, Digests::Equal);
    // One more, and that moment is forgotten.
    ours.write(10);
    script.advance(ours.standing());
    script.say(heartbeat(Readiness::Ready, 77));
    assert_eq!(
        script.session.status(tombolo_net::Moment(0)).digests,
        Digests::Equal,
        "as of when it was last compared"
    );
}

#[test]
fn a_heartbeat_says_first_what_its_digest_belongs_to() {
    let mut ours = ToyStore::new(1);
    let mut theirs = ToyStore::new(2);
    let mut script = Script::open(&ours, &theirs);
    script.run(995);
    let dot = theirs.write(10);
    ours.ingest(&[theirs.record(dot)]);
    script.advance(ours.standing());
    let outputs = script.run(5);
    let messages = script.messages(&outputs);
    let [Message::Have(raised), Message::Heartbeat(beat)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((raised, beat.digest), (&vector(&[(2, 1)]), ours.standing().digest));
}
