//! Strangers, those who were members, and what they say of others.

use tombolo_crdt::Operation;
use tombolo_net::{
    Admission, AdmissionTerms, Fault, Saying, SlotRange, Statement, StatementTerms, SystemKey, TicketId,
};

use crate::{
    scene::{Scene, contained, entries, roster},
    villain::{Author, MESH, admission, admissions, dot, id, key, put, system_put},
};

/// What becomes of the first record of replica 9, which is no member, sent by replica 2.
#[track_caller]
fn stranger(operations: Vec<Operation>) -> Fault {
    contained(Scene::open(), |scene| {
        let mut nine = Author::new(9);
        let record = nine.write(operations);
        let head = nine.head();
        scene.send(vec![record], vec![head]);
    })
}

fn proof(chain: &[Admission]) -> Operation {
    system_put(SystemKey::Proof(id(9)), Admission::encode_chain(chain))
}

const UNPROVEN: fn() -> Fault = || Fault::UnprovenAuthor { dot: dot(9, 1) };

#[test]
fn records_of_an_unknown_incarnation_are_not_taken() {
    assert_eq!(stranger(vec![put("k", "v")]), UNPROVEN());
}

#[test]
fn policies_and_members_are_not_edited_by_strangers() {
    for key in ["policy/prefix", "auth/user/root", "member/0000000000000003/admission"] {
        let edit = Operation::SystemPut { key: key.into(), value: "mine".into(), supersedes: Vec::new() };
        assert_eq!(stranger(vec![edit]), UNPROVEN());
    }
}

#[test]
fn a_newcomer_proves_itself_in_its_first_record() {
    let mut scene = Scene::open();
    let mut nine = Author::new(9);
    let records =
        vec![nine.write(vec![proof(&[admission(9, 2, 2), admission(2, 1, 1)])]), nine.write(vec![put("k", "v")])];
    // Member 2 may admit, if it has the slots.
    let head = nine.head();
    let given = AdmissionTerms { slots: SlotRange { first: 16, count: 2 }, ..admission(9, 2, 2).terms };
    let mut nine_rightly = Author::new(9);
    let right = vec![nine_rightly.write(vec![proof(&[Admission::sign(given, &key(2))])])];
    scene.send(right, vec![nine_rightly.head()]);
    assert_eq!((scene.closed.take(), scene.store.frontier().seq(id(9))), (None, 1));
    let fault = contained(Scene::open(), |scene| scene.send(records, vec![head]));
    assert_eq!(fault, Fault::UnprovenAuthor { dot: dot(9, 1) }, "its slots were not the issuer's to give");
}

#[test]
fn a_forged_admission_proves_nobody() {
    let by_stranger = admission(9, 1, 9);
    let by_other = admission(9, 1, 2);
    let of_stranger = admission(9, 10, 10);
    let elsewhere = Admission::sign(AdmissionTerms { mesh: MESH + 1, ..admission(9, 1, 1).terms }, &key(1));
    let mut changed = admission(8, 1, 1);
    changed.terms.replica = id(9);
    for (forged, why) in [
        (vec![by_stranger], "signed by itself in the founder's name"),
        (vec![by_other], "signed by a member in the founder's name"),
        (vec![of_stranger], "signed by somebody whom nobody knows"),
        (vec![of_stranger, admission(10, 1, 10)], "below somebody who was not admitted"),
        (vec![elsewhere], "for another mesh"),
        (vec![changed], "somebody else's"),
        (vec![admission(8, 1, 1)], "of somebody else"),
        (vec![Admission::founder(MESH, id(9), &key(9))], "its own, as a second founder"),
    ] {
        assert_eq!(stranger(vec![proof(&forged)]), UNPROVEN(), "{why}");
    }
}

#[test]
fn an_admission_under_another_key_than_the_known_one_changes_nobody() {
    let usurper = AdmissionTerms { key: key(9).public(), ..admission(3, 1, 1).terms };
    let fault = contained(Scene::open(), |scene| {
        let claim = system_put(SystemKey::Admission(id(3)), Admission::sign(usurper, &key(9)).encode());
        let record = scene.three.write(vec![claim]);
        let head = scene.three.head_by(3, 9);
        scene.send(vec![record], vec![head]);
    });
    assert_eq!(fault, Fault::ForgedHead { dot: dot(3, 3) });
}

#[test]
fn records_beyond_the_end_of_a_removed_member_are_not_taken() {
    let mut scene = Scene::open();
    scene.sound = scene.two.clone();
    scene.store.freeze([id(3)]);
    let fault = contained(scene, |scene| {
        let late = scene.three.write(vec![put("k", "too late")]);
        let head = scene.three.head();
        scene.send(vec![late], vec![head]);
    });
    assert_eq!(fault, Fault::Frozen { dot: dot(3, 3), last: 2 });
}

#[test]
fn nobody_is_removed_by_a_stranger_or_in_a_members_name() {
    let removal = |maker: u64, hand: u64| {
        let terms =
            StatementTerms { mesh: MESH, subject: id(3), saying: Saying::Removed, made_ms: 1, maker: id(maker) };
        let statement = Statement::sign(terms, &key(hand));
        system_put(statement.key(), statement.encode())
    };
    let after = |author: u64, operation: Operation| {
        let all = entries(id(1), admissions()).into_iter().chain(entries(id(author), vec![operation]));
        tombolo_net::Roster::new(MESH, all)
    };
    assert!(after(2, removal(2, 2)).is_removed(id(3)), "a member may");
    for (author, maker, hand, why) in [
        (9, 9, 9, "by a stranger"),
        (2, 9, 9, "by a stranger, passed on by a member"),
        (2, 1, 2, "in the founder's name"),
        (2, 1, 1, "the founder's words, said by somebody else"),
    ] {
        assert!(!after(author, removal(maker, hand)).is_removed(id(3)), "{why}");
    }
}

#[test]
fn a_succession_is_the_predecessors_to_give() {
    let founder = admission(3, 1, 1).terms;
    let terms = |issuer: u64| AdmissionTerms {
        replica: id(30),
        key: founder.key,
        slots: founder.slots,
        ticket: TicketId(1),
        issuer: id(issuer),
        mesh: MESH,
    };
    let with = |succession: Admission| {
        roster([admissions(), vec![system_put(SystemKey::Admission(id(30)), succession.encode())]].concat())
    };
    assert_eq!(with(Admission::sign(terms(3), &key(3))).heir(id(3)), id(30));
    for (issuer, hand) in [(3, 2), (3, 9), (2, 2)] {
        let roster = with(Admission::sign(terms(issuer), &key(hand)));
        assert_eq!(roster.heir(id(3)), id(3), "issued by {issuer}, signed by {hand}");
    }
}

#[test]
fn a_flood_of_admissions_admits_nobody_whom_the_issuer_could_not() {
    let forged = (100..1_100).map(|replica| {
        let terms = AdmissionTerms { replica: id(replica), ..admission(9, 3, 3).terms };
        system_put(SystemKey::Admission(id(replica)), Admission::sign(terms, &key(2)).encode())
    });
    let roster = roster(admissions().into_iter().chain(forged).collect());
    assert_eq!(roster.members().count(), 3);
}
