//! A member whose state is taken, and is not what others have signed.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, SignedHead};
use tombolo_net::{Admission, AdmissionTerms, HeadFault, SlotRange, SystemKey, sign_head};
use tombolo_storage::{
    Founding, MeshId, OpenOptions, Provider, Slot, Store, TransferFault, WallTime, engine::memory::MemoryEngine,
};

use crate::{
    scene::{Scene, WALL_MS},
    villain::{Author, MESH, admission, dot, id, key, put, system_put},
};

/// The store of replica 2, which believes itself whatever it has made up.
fn made_up(batches: Vec<(Vec<Bytes>, Vec<SignedHead>)>) -> Store {
    let founding = Founding::Join { mesh: MeshId(MESH), replica: id(2), slot: Slot::new(9).unwrap() };
    let options = OpenOptions { founding, ..OpenOptions::new(WallTime(WALL_MS), [9; 32]) };
    let (store, mut committer) = Store::open_on(Box::new(Arc::new(MemoryEngine::new())), &options).unwrap();
    for (records, heads) in batches {
        committer.ingest_batch(WallTime(WALL_MS), records, heads).unwrap();
        committer.commit().unwrap();
    }
    store
}

fn write(author: &mut Author, operations: Vec<tombolo_crdt::Operation>) -> Vec<Bytes> {
    vec![author.write(operations)]
}

/// Replica 2 signs whatever it likes, by its own key.
fn by_two(dot: Dot, chain: Chain) -> Option<SignedHead> {
    Some(sign_head(MESH, dot, chain, dot.replica, &key(2)))
}

/// What becomes of the state of replica 2 when it has a third record of replica 3, proven like this.
fn taken(head: impl FnOnce(&Author) -> SignedHead) -> Result<(), Box<dyn std::error::Error>> {
    let mut scene = Scene::open();
    let mut three = scene.three.clone();
    let mut forged = Author::new(3);
    let mut records: Vec<Bytes> = ["1", "2"].map(|value| forged.write(vec![put("theirs", value)])).into();
    records.extend(write(&mut three, vec![put("theirs", "forged")]));
    let store = made_up(vec![(records, vec![head(&three)])]);
    let before = scene.shown();
    let outcome = scene.take_state(&Provider::new(&store), by_two);
    if outcome.is_err() {
        assert_eq!(scene.shown(), before, "nothing of it is shown");
        scene.converges_with_a_sound_member();
    } else {
        assert_eq!(scene.store.frontier().seq(id(3)), 3);
        assert_eq!(scene.store.signed_head(id(3)).unwrap().dot, dot(3, 3), "it can be proven to the next");
    }
    outcome
}

#[test]
fn a_state_that_its_authors_signed_is_joined() {
    taken(|three| three.head()).unwrap();
}

#[test]
fn a_state_with_a_record_that_its_author_did_not_sign_is_not_joined() {
    for (signer, hand) in [(3, 2), (2, 2), (1, 1)] {
        let fault = taken(|three| three.head_by(signer, hand)).unwrap_err();
        assert_eq!(*fault.downcast::<HeadFault>().unwrap(), HeadFault::Forged { dot: dot(3, 3) }, "{signer} by {hand}");
    }
}

#[test]
fn an_author_that_the_state_does_not_prove_is_unproven_and_one_that_it_proves_is_a_member() {
    let given = AdmissionTerms { slots: SlotRange { first: 16, count: 2 }, ..admission(9, 2, 2).terms };
    let rightly = vec![Admission::sign(given, &key(2))];
    let wrongly = vec![Admission::sign(given, &key(9))];
    for (chain, is_member) in [(Some(rightly), true), (Some(wrongly), false), (None, false)] {
        let mut nine = Author::new(9);
        let first = match chain {
            Some(chain) => system_put(SystemKey::Proof(id(9)), Admission::encode_chain(&chain)),
            None => put("k", "v"),
        };
        let records = write(&mut nine, vec![first]);
        let store = made_up(vec![(records, vec![nine.head()])]);
        let mut scene = Scene::open();
        let before = scene.shown();
        let outcome = scene.take_state(&Provider::new(&store), by_two);
        if is_member {
            outcome.unwrap();
            assert_eq!(scene.store.frontier().seq(id(9)), 1);
            continue;
        }
        let fault = outcome.unwrap_err().downcast::<HeadFault>().unwrap();
        assert_eq!(*fault, HeadFault::Unproven { author: id(9) });
        assert_eq!(scene.shown(), before);
        scene.converges_with_a_sound_member();
    }
}

#[test]
fn a_claim_in_a_state_to_more_of_ours_than_we_wrote_comes_with_our_own_hand_or_not_at_all() {
    let mut ours = Author::new(1);
    let records: Vec<Bytes> = (0..9).map(|_| ours.write(vec![put("ours", "?")])).collect();
    let store = made_up(vec![(records, vec![ours.head_by(1, 2)])]);
    let mut scene = Scene::open();
    let before = scene.shown();
    let fault = scene.take_state(&Provider::new(&store), by_two).unwrap_err().downcast::<TransferFault>().unwrap();
    let TransferFault::AheadOfUs { head, .. } = *fault else { panic!("{fault}") };
    assert_eq!(scene.roster().judge_head(MESH, &head), Err(HeadFault::Forged { dot: dot(1, 9) }));
    assert_eq!(scene.shown(), before);
    scene.converges_with_a_sound_member();
}
