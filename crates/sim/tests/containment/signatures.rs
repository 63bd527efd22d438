//! Records under names that are not the sender's, and signatures that are not their authors'.

use tombolo_crdt::{Chain, SignedHead};
use tombolo_net::{Fault, Message, sign_head};

use crate::{
    scene::{Scene, contained, harmless},
    villain::{Author, MESH, dot, id, key, put},
};

#[test]
fn records_of_another_author_without_any_signature_wait_and_end_the_session() {
    let fault = contained(Scene::open(), |scene| {
        let record = scene.three.write(vec![put("k", "forged")]);
        scene.say(Message::Records(vec![record]));
        scene.wait(29_000, true);
        assert_eq!(scene.closed, None, "a slow link has its time");
        scene.wait(2_000, true);
    });
    assert_eq!(fault, Fault::Unsigned { dot: dot(3, 3) });
}

#[test]
fn records_of_another_author_beside_signed_ones_are_unsigned() {
    let fault = contained(Scene::open(), |scene| {
        let own = scene.two.write(vec![put("k", "own")]);
        let forged = scene.three.write(vec![put("k", "forged")]);
        let head = scene.two.head();
        scene.send(vec![own, forged], vec![head]);
    });
    assert_eq!(fault, Fault::Unsigned { dot: dot(3, 3) });
}

#[test]
fn a_record_of_another_author_signed_by_the_sender_is_forged() {
    let fault = contained(Scene::open(), |scene| {
        let forged = scene.three.write(vec![put("k", "forged")]);
        let head = scene.three.head_by(3, 2);
        scene.send(vec![forged], vec![head]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) });
}

#[test]
fn nobody_speaks_for_a_member_in_its_place() {
    for signer in [1, 2] {
        let fault = contained(Scene::open(), |scene| {
            let forged = scene.three.write(vec![put("k", "forged")]);
            let head = scene.three.head_by(signer, signer);
            scene.send(vec![forged], vec![head]);
        });
        assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) }, "the founder does not, nor does the sender");
    }
}

#[test]
fn nobody_but_the_founder_speaks_for_those_of_no_mesh() {
    let fault = contained(Scene::open(), |scene| {
        let mut gone = Author::new(77);
        let record = gone.write(vec![put("k", "of an old mesh")]);
        scene.send(vec![record], vec![gone.head_by(2, 2)]);
    });
    assert_eq!(fault, Fault::UnprovenAuthor { dot: dot(77, 1) });
    let fault = contained(Scene::open(), |scene| {
        let mut gone = Author::new(77);
        let record = gone.write(vec![put("k", "of an old mesh")]);
        scene.send(vec![record], vec![gone.head_by(1, 2)]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(77, 1) });
}

#[test]
fn an_old_signature_proves_nothing_newer() {
    let fault = contained(Scene::open(), |scene| {
        let old = scene.three.head();
        let forged = scene.three.write(vec![put("k", "forged")]);
        scene.send(vec![forged], vec![old]);
    });
    assert_eq!(fault, Fault::StrayHead { dot: dot(3, 2) });
    let fault = contained(Scene::open(), |scene| {
        let old = scene.three.head();
        let forged = scene.three.write(vec![put("k", "forged")]);
        let head = SignedHead { signature: old.signature, ..scene.three.head() };
        scene.send(vec![forged], vec![head]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) });
}

#[test]
fn a_signature_over_another_record_of_that_name_is_forged() {
    let fault = contained(Scene::open(), |scene| {
        let mut honest = scene.three.clone();
        honest.write(vec![put("k", "true")]);
        let forged = scene.three.write(vec![put("k", "forged")]);
        scene.send(vec![forged], vec![honest.head()]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) }, "the chain in the head is not the record's");
    let fault = contained(Scene::open(), |scene| {
        let mut honest = scene.three.clone();
        honest.write(vec![put("k", "true")]);
        let forged = scene.three.write(vec![put("k", "forged")]);
        let head = SignedHead { chain: scene.three.chain, ..honest.head() };
        scene.send(vec![forged], vec![head]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) }, "the chain was put into a signature over another");
}

#[test]
fn what_was_signed_in_another_mesh_is_forged() {
    let fault = contained(Scene::open(), |scene| {
        let record = scene.three.write(vec![put("k", "elsewhere")]);
        let head = sign_head(MESH + 1, scene.three.dot(), scene.three.chain, id(3), &key(3));
        scene.send(vec![record], vec![head]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) });
}

#[test]
fn good_records_do_not_come_in_with_a_forged_one() {
    let fault = contained(Scene::open(), |scene| {
        let own = scene.two.write(vec![put("k", "own")]);
        let forged = scene.three.write(vec![put("k", "forged")]);
        let heads = vec![scene.two.head(), scene.three.head_by(3, 2)];
        scene.send(vec![own, forged], heads);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) });
}

#[test]
fn heads_come_behind_their_records_and_are_of_nothing_else() {
    let fault = contained(Scene::open(), |scene| {
        scene.two.write(vec![put("k", "not sent yet")]);
        let head = scene.two.head();
        scene.say(Message::Heads(vec![head]));
    });
    assert_eq!(fault, Fault::StrayHead { dot: dot(2, 3) });
    let fault = contained(Scene::open(), |scene| {
        let record = scene.two.write(vec![put("k", "own")]);
        let heads = vec![scene.two.head(), scene.three.head()];
        scene.send(vec![record], heads);
    });
    assert_eq!(fault, Fault::StrayHead { dot: dot(3, 2) }, "a true one, and not of what was sent");
    let fault = contained(Scene::open(), |scene| {
        let first = scene.two.write(vec![put("k", "first")]);
        let head = scene.two.head();
        let second = scene.two.write(vec![put("k", "second")]);
        scene.send(vec![first, second], vec![head]);
    });
    assert_eq!(fault, Fault::StrayHead { dot: dot(2, 3) }, "of the last record, not of one before");
}

#[test]
fn heads_that_were_said_are_not_said_again() {
    let mut scene = Scene::open();
    let record = scene.two.write(vec![put("k", "own")]);
    let head = scene.two.head();
    scene.send(vec![record], vec![head]);
    assert_eq!(scene.store.frontier().seq(id(2)), 3);
    let fault = contained(scene, |scene| scene.say(Message::Heads(vec![head])));
    assert_eq!(fault, Fault::StrayHead { dot: dot(2, 3) });
}

#[test]
fn our_own_records_come_back_without_harm() {
    harmless(Scene::open(), |scene| {
        let own = scene.store.arrivals(&Default::default(), 0, everything()).unwrap().records;
        let own: Vec<_> = own.into_iter().filter(|found| found.dot.replica == id(1)).map(|found| found.bytes).collect();
        let head = scene.one.head();
        scene.send(own, vec![head]);
    });
}

#[test]
fn records_under_our_name_are_refused_whoever_signed_them() {
    let fault = contained(Scene::open(), |scene| {
        let forged = scene.one.write(vec![put("k", "ours?")]);
        let head = scene.one.head_by(1, 2);
        scene.send(vec![forged], vec![head]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(1, 4) });
    let fault = contained(Scene::open(), |scene| {
        let forged = scene.one.write(vec![put("k", "ours, by a stolen key")]);
        let head = scene.one.head();
        scene.send(vec![forged], vec![head]);
    });
    assert_eq!(fault, Fault::OwnDot { dot: dot(1, 4) });
}

#[test]
fn another_record_under_a_known_name_of_ours_is_a_fork() {
    let fault = contained(Scene::open(), |scene| {
        let mut twin = Author { seq: 2, chain: Chain::from_bytes([9; 16]), ..Author::new(1) };
        let other = twin.write(vec![put("k", "another third record")]);
        scene.send(vec![other], vec![twin.head()]);
    });
    assert_eq!(fault, Fault::Forked { dot: dot(1, 3) });
}

#[test]
fn an_author_that_signs_two_histories_convicts_itself() {
    for more in [0, 2] {
        let mut twin = Author::new(3);
        let fault = contained(Scene::open(), |scene| {
            let mut records = vec![twin.write(vec![put("k", "other")]), twin.write(vec![put("k", "other")])];
            records.extend((0..more).map(|_| twin.write(vec![put("k", "other")])));
            scene.send(records, vec![twin.head()]);
        });
        let Fault::Equivocated { dot: at, evidence } = fault else { panic!("{fault}") };
        assert_eq!(at, if more == 0 { dot(3, 2) } else { dot(3, 3) });
        assert_eq!(evidence.theirs, twin.head());
        assert_eq!((evidence.ours.dot, evidence.ours.signer), (dot(3, 2), id(3)));
        assert_ne!(evidence.ours.chain, evidence.theirs.chain);
    }
}

fn everything() -> tombolo_storage::ArrivalBudget {
    tombolo_storage::ArrivalBudget { commits: usize::MAX, bytes: usize::MAX }
}
