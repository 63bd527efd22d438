//! What a roster keeps, and what it drops.

use super::*;
use crate::{KeyPair, SlotRange, TicketId};

const MESH: u128 = 7;

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}

fn key(bits: u64) -> KeyPair {
    KeyPair::from_seed(&[bits as u8; 32]).unwrap()
}

fn founder() -> Admission {
    Admission::founder(MESH, id(1), &key(1))
}

/// `replica`, admitted by `issuer`, with these slots.
fn admitted(replica: u64, issuer: u64, first: u16, count: u16) -> Admission {
    let terms = AdmissionTerms {
        mesh: MESH,
        replica: id(replica),
        key: key(replica).public(),
        slots: SlotRange { first, count },
        ticket: TicketId(replica),
        issuer: id(issuer),
    };
    Admission::sign(terms, &key(issuer))
}

fn entry(key: SystemKey, author: u64, value: Vec<u8>) -> RosterEntry {
    RosterEntry { key: key.to_string().into(), author: id(author), seq: 1, value: value.into() }
}

fn entry_of(admission: &Admission) -> RosterEntry {
    let terms = &admission.terms;
    entry(SystemKey::Admission(terms.replica), terms.issuer.get(), admission.encode())
}

fn roster(admissions: &[Admission]) -> Roster {
    Roster::new(MESH, admissions.iter().map(entry_of))
}

fn ids(roster: &Roster) -> Vec<u64> {
    roster.members().map(|member| member.replica().get()).collect()
}

#[test]
fn members_are_those_that_lead_to_the_founder() {
    let chain = [admitted(4, 3, 110, 5), founder(), admitted(3, 2, 100, 50), admitted(2, 1, 100, 100)];
    let roster = roster(&chain);
    assert_eq!(ids(&roster), [1, 2, 3, 4]);
    let presented: Vec<u64> = roster.chain_for(id(4)).iter().map(|a| a.terms.replica.get()).collect();
    assert_eq!(presented, [4, 3, 2, 1]);
    assert_eq!(roster.chain_for(id(9)), []);
    assert_eq!(roster.by_key(&key(3).public()).map(Member::replica), Some(id(3)));
    assert_eq!(roster.by_key(&key(9).public()), None);
}

#[test]
fn an_admission_that_leads_nowhere_is_dropped() {
    assert_eq!(ids(&roster(&[founder(), admitted(3, 2, 100, 1)])), [1]);
    // Two that admit one another.
    assert_eq!(ids(&roster(&[founder(), admitted(2, 3, 100, 1), admitted(3, 2, 100, 1)])), [1]);
    assert_eq!(ids(&roster(&[])), [0; 0]);
}

#[test]
fn a_forged_admission_is_dropped_and_all_that_it_issued() {
    let mut forged = admitted(2, 1, 100, 100);
    forged.signature = key(2).sign(b"anything");
    assert_eq!(ids(&roster(&[founder(), forged, admitted(3, 2, 100, 1)])), [1]);
    // Signed well, by a key that is not the issuer's.
    let other = Admission::sign(admitted(2, 1, 100, 100).terms, &key(3));
    assert_eq!(ids(&roster(&[founder(), other])), [1]);
    let false_founder = Admission { signature: key(9).sign(b"anything"), ..founder() };
    assert_eq!(ids(&roster(&[false_founder])), [0; 0]);
}

#[test]
fn every_field_is_signed() {
    let good = admitted(2, 1, 100, 100);
    assert_eq!(ids(&roster(&[founder(), good])), [1, 2]);
    let changes: [fn(&mut AdmissionTerms); 4] = [
        |terms| terms.key = key(9).public(),
        |terms| terms.slots.count -= 1,
        |terms| terms.slots.first += 1,
        |terms| terms.ticket.0 += 1,
    ];
    for change in changes {
        let mut terms = good.terms;
        change(&mut terms);
        assert_eq!(ids(&roster(&[founder(), Admission { terms, ..good }])), [1], "{terms:?}");
    }
}

#[test]
fn an_admission_counts_only_under_its_own_name_and_in_its_mesh() {
    let admission = admitted(2, 1, 100, 100);
    let elsewhere = entry(SystemKey::Admission(id(3)), 1, admission.encode());
    assert_eq!(ids(&Roster::new(MESH, [entry_of(&founder()), elsewhere])), [1]);
    let abroad = Admission::sign(AdmissionTerms { mesh: 8, ..admission.terms }, &key(1));
    assert_eq!(ids(&roster(&[founder(), abroad])), [1]);
}

#[test]
fn slots_that_the_issuer_does_not_own_admit_nobody() {
    let issuer = admitted(2, 1, 100, 10);
    assert_eq!(ids(&roster(&[founder(), issuer, admitted(3, 2, 109, 2)])), [1, 2]);
    assert_eq!(ids(&roster(&[founder(), issuer, admitted(3, 2, 109, 1)])), [1, 2, 3]);
}

#[test]
fn the_first_of_several_that_hold_counts() {
    let winner = admitted(2, 1, 100, 10);
    let loser = admitted(2, 1, 200, 10);
    let mut forged = winner;
    forged.signature.0[0] ^= 1;
    let roster = roster(&[founder(), forged, winner, loser]);
    assert_eq!(roster.terms(id(2)), Some(winner.terms));
}

#[test]
fn an_announcement_of_somebody_else_is_dropped() {
    let announcement = Announcement { name: "pier".into(), addresses: vec!["pier:1".into()], ..Default::default() };
    let name = SystemKey::Announcement(id(1));
    let own = entry(name, 1, announcement.encode());
    let others = entry(name, 2, Announcement { name: "thief".into(), ..Default::default() }.encode());
    let admission = entry_of(&founder());

    let roster = Roster::new(MESH, [admission.clone(), others.clone(), own]);
    assert_eq!(roster.member(id(1)).unwrap().addresses(), ["pier:1"]);
    let roster = Roster::new(MESH, [admission.clone(), others]);
    assert_eq!(roster.member(id(1)).unwrap().announcement, None);
    let damaged = entry(name, 1, vec![1]);
    assert_eq!(Roster::new(MESH, [admission, damaged]).member(id(1)).unwrap().announcement, None);
}

#[test]
fn values_that_are_nothing_change_nothing() {
    let name = SystemKey::Admission(id(2));
    let mut entries = vec![entry_of(&founder()), entry(name, 1, Vec::new()), entry(name, 1, vec![1; Admission::LEN])];
    entries.push(entry(SystemKey::Invitation(id(1), TicketId(1)), 1, vec![1]));
    assert_eq!(ids(&Roster::new(MESH, entries)), [1]);
}

#[test]
fn a_successor_has_its_predecessors_place_and_whom_that_one_admitted_stays() {
    let (old, below) = (admitted(2, 1, 100, 100), admitted(3, 2, 110, 10));
    let heir = Admission::succession(&old.terms, id(20), &key(2), 50);
    let next = Admission::succession(&heir.terms, id(10), &key(2), 60);
    let roster = roster(&[next, below, heir, old, founder()]);
    assert_eq!(ids(&roster), [1, 3, 10]);
    assert_eq!(roster.succeeded().map(|member| member.replica().get()).collect::<Vec<_>>(), [2, 20]);
    assert_eq!([2, 20, 10, 1, 77].map(|replica| roster.heir(id(replica)).get()), [10, 10, 10, 1, 77]);
    assert_eq!(roster.by_key(&key(2).public()).map(Member::replica), Some(id(10)));
    assert_eq!(roster.terms(id(10)).unwrap().slots, old.terms.slots);
    assert_eq!(roster.terms(id(2)), Some(old.terms), "signatures of before are checked with it");
    let presented: Vec<u64> = roster.chain_for(id(10)).iter().map(|a| a.terms.replica.get()).collect();
    assert_eq!(presented, [10, 20, 2, 1]);
    assert_eq!(roster.second_successors(), []);
}

#[test]
fn of_two_successors_the_one_signed_first_counts_in_whatever_order_they_come() {
    let old = admitted(2, 1, 100, 100);
    let first = Admission::succession(&old.terms, id(21), &key(2), 50);
    let second = Admission::succession(&old.terms, id(20), &key(2), 51);
    let of_second = Admission::succession(&second.terms, id(22), &key(2), 1);
    for order in [[first, second, of_second], [of_second, second, first]] {
        let admissions = [&[founder(), old][..], &order].concat();
        let roster = roster(&admissions);
        assert_eq!(ids(&roster), [1, 21]);
        let refused = SecondSuccessor { predecessor: id(2), first: id(21), second: id(20) };
        assert_eq!(roster.second_successors(), [refused]);
    }
}

#[test]
fn nobody_succeeds_a_replica_without_its_key() {
    let old = admitted(2, 1, 100, 100);
    let forged = Admission::succession(&old.terms, id(20), &key(3), 50);
    // Other slots, or another key, make it a member like any other.
    let other = admitted(3, 2, 100, 100);
    let roster = roster(&[founder(), old, forged, other]);
    assert_eq!(ids(&roster), [1, 2, 3]);
    assert_eq!(roster.succeeded().count(), 0);
}

mod states;
