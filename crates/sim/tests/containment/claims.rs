//! What a peer says of itself and of us: vectors, floors, acknowledgements, digests.

use tombolo_crdt::{Chain, Dot, VersionVector, codec::put_varint};
use tombolo_net::{Event, Fault, Heartbeat, Hello, Limits, Message, Readiness, Stability, StabilityRow};

use crate::{
    scene::{Scene, contained, harmless},
    villain::{dot, id, vector},
};

/// What becomes of a hello that was changed.
#[track_caller]
fn greeted(change: impl FnOnce(&mut Hello)) -> Fault {
    contained(Scene::silent(), |scene| {
        let mut hello = scene.hello();
        change(&mut hello);
        scene.say(Message::Hello(hello));
    })
}

#[test]
fn a_hello_of_another_mesh_name_or_protocol_is_none() {
    assert_eq!(greeted(|hello| hello.mesh ^= 1), Fault::WrongMesh { found: 0x1235 });
    assert_eq!(greeted(|hello| hello.replica = id(3)), Fault::WrongReplica { found: id(3), expected: id(2) });
    assert_eq!(greeted(|hello| hello.replica = id(1)), Fault::OurName);
    let fault = contained(Scene::silent(), |scene| {
        let mut payload = Message::Hello(scene.hello()).encode().to_vec();
        payload[1] = 77;
        scene.say_bytes(payload.into());
    });
    assert_eq!(fault, Fault::WrongProtocol { found: 77 });
}

#[test]
fn a_claim_to_more_of_ours_than_we_wrote_is_a_fault_whoever_hears_it() {
    let ahead = |seq| Fault::AheadOfUs { dot: dot(1, seq), known: 3 };
    assert_eq!(greeted(|hello| hello.heads[0].0.seq = 4), ahead(4));
    let fault = contained(Scene::open(), |scene| scene.say(Message::Have(vector(&[(1, 900)]))));
    assert_eq!(fault, ahead(900));
}

#[test]
fn another_chain_at_a_seq_that_both_know_is_a_fork() {
    assert_eq!(greeted(|hello| hello.heads[2].1 = Chain::from_bytes([5; 16])), Fault::Forked { dot: dot(3, 2) });
}

#[test]
fn a_claim_to_what_nobody_wrote_gets_the_claimant_nothing() {
    let mut scene = harmless(Scene::open(), |scene| {
        scene.say(Message::Have(vector(&[(2, 50), (3, 1 << 60), (99, 7)])));
    });
    // It counts for nothing: what it has is a row that no frontier of ours covers.
    let mut stability = Stability::new();
    stability.learn(&StabilityRow { member: id(2), frontier: vector(&[(1, 3), (2, 50), (3, 1 << 60)]) });
    let members = [id(1), id(2)].into_iter().collect();
    let frontier = scene.store.frontier();
    assert!(stability.stable(&members, id(1), &frontier).is_empty());
    let written = scene.write("goes on");
    assert!(scene.store.frontier().covers(written));
}

#[test]
fn a_vector_names_at_most_as_many_replicas_as_a_mesh_may_have() {
    let many = |count: u64| (10..10 + count).map(|replica| Dot::new(id(replica), 1)).collect::<VersionVector>();
    let max = Limits::default().vector_entries_max;
    let fault = contained(Scene::open(), |scene| scene.say(Message::Have(many(max as u64 + 1))));
    assert_eq!(fault, Fault::TooManyReplicas { count: max + 1, max });
    let fault = greeted(|hello| {
        hello.heads.extend(many(max as u64).iter().map(|dot| (dot, Chain::from_bytes([1; 16]))));
    });
    assert_eq!(fault, Fault::TooManyReplicas { count: max + 3, max });
    let fault = contained(Scene::open(), |scene| {
        scene.say(Message::Have(many(max as u64 - 3)));
        scene.say(Message::Have((900_000..900_010).map(|replica| Dot::new(id(replica), 1)).collect()));
    });
    assert!(matches!(fault, Fault::TooManyReplicas { .. }), "little by little: {fault}");
}

#[test]
fn a_vector_of_a_million_replicas_is_not_read() {
    let fault = contained(Scene::open(), |scene| {
        let mut have = vec![3];
        put_varint(&mut have, 1_000_000);
        for replica in 1..=1_000_000_u64 {
            have.extend_from_slice(&replica.to_be_bytes());
            have.push(1);
        }
        scene.say_bytes(have.into());
    });
    assert!(matches!(fault, Fault::FrameTooLarge { .. }), "{fault}");
    let fault = contained(Scene::open(), |scene| {
        let mut lie = vec![3];
        put_varint(&mut lie, 1_000_000_000);
        scene.say_bytes(lie.into());
    });
    assert!(matches!(fault, Fault::Malformed(_)), "a count alone: {fault}");
}

#[test]
fn vectors_have_one_form() {
    let fault = contained(Scene::open(), |scene| {
        let mut payload = Message::Have(vector(&[(7, 1), (8, 1)])).encode().to_vec();
        payload[2..20].rotate_left(9);
        scene.say_bytes(payload.into());
    });
    assert!(matches!(fault, Fault::Malformed(_)), "descending: {fault}");
    let fault = contained(Scene::open(), |scene| scene.say_bytes(vec![3, 0].into()));
    assert!(matches!(fault, Fault::Malformed(_)), "empty: {fault}");
}

#[test]
fn an_acknowledgement_is_not_taken_back_nor_repeated() {
    for again in [1, 2] {
        let fault = contained(Scene::open(), |scene| scene.say(Message::Have(vector(&[(3, again)]))));
        assert_eq!(fault, Fault::WentBackwards { dot: dot(3, again), said: 2 });
    }
}

#[test]
fn a_floor_is_not_above_what_its_sender_has() {
    let fault = greeted(|hello| hello.floor = vector(&[(3, 900)]));
    assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
    for floor in [vector(&[(3, 900)]), vector(&[(99, 1)])] {
        let fault = contained(Scene::open(), |scene| scene.say(Message::Floor(floor)));
        assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
    }
}

#[test]
fn a_floor_does_not_sink_nor_is_it_said_again() {
    let fault = contained(Scene::open(), |scene| {
        scene.say(Message::Floor(vector(&[(3, 2)])));
        scene.say(Message::Floor(vector(&[(3, 1)])));
    });
    assert!(matches!(fault, Fault::Malformed(_)), "{fault}");
}

#[test]
fn a_floor_that_is_true_makes_us_ask_for_nothing_that_we_have() {
    let scene = harmless(Scene::open(), |scene| scene.say(Message::Floor(vector(&[(2, 2), (3, 2)]))));
    assert!(!scene.events.iter().any(|event| matches!(event, Event::LacksState { .. })));
}

#[test]
fn a_digest_that_never_matches_is_an_alarm_and_not_an_endless_repair() {
    let scene = harmless(Scene::open(), |scene| {
        for digest in 0..1_000 {
            scene.say(Message::Heartbeat(Heartbeat {
                wall_ms: crate::scene::WALL_MS,
                readiness: Readiness::Ready,
                digest,
                rows: Vec::new(),
            }));
        }
    });
    let alarms = scene.events.iter().filter(|event| matches!(event, Event::Corrupt { .. })).count();
    assert!((1..=2).contains(&alarms), "{alarms} alarms");
    assert!(!scene.said.iter().any(|message| matches!(message, Message::Pull { .. })), "nothing is fetched from it");
}

#[test]
fn rows_of_others_are_hearsay_and_rows_of_us_are_nothing() {
    let scene = harmless(Scene::open(), |scene| {
        let rows = [1, 3].map(|member| StabilityRow { member: id(member), frontier: vector(&[(1, 3), (2, 2)]) });
        scene.say(Message::Heartbeat(Heartbeat {
            wall_ms: crate::scene::WALL_MS,
            readiness: Readiness::Ready,
            digest: scene.store.digest(),
            rows: rows.to_vec(),
        }));
    });
    let learned = scene.events.iter().filter_map(|event| match event {
        Event::Rows(rows) => Some(rows),
        _ => None,
    });
    assert!(learned.flatten().all(|row| row.member != id(1)), "nobody tells us what we have applied");
}
