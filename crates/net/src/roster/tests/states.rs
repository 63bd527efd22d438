//! The laws of states: removal beats everything, the greatest stamp decides the rest, and a stream is complete when nobody can add to it.

use super::*;
use crate::{MemberState, Saying, StatementTerms};

/// What `maker` says of `subject`, as an entry written by `maker`'s record `seq`.
fn said(maker: u64, subject: u64, saying: Saying, seq: u64) -> RosterEntry {
    said_by(maker, maker, subject, saying, seq)
}

fn said_by(author: u64, maker: u64, subject: u64, saying: Saying, seq: u64) -> RosterEntry {
    let terms = StatementTerms { mesh: MESH, subject: id(subject), saying, made_ms: 5, maker: id(maker) };
    let statement = Statement::sign(terms, &key(maker));
    RosterEntry { seq, ..entry(statement.key(), author, statement.encode()) }
}

/// A founder and three that it admitted by its records 11, 12 and 13.
fn four() -> Vec<RosterEntry> {
    let admit =
        |replica: u64| RosterEntry { seq: 9 + replica, ..entry_of(&admitted(replica, 1, 100 * replica as u16, 50)) };
    [RosterEntry { seq: 1, ..entry_of(&founder()) }].into_iter().chain((2..=4).map(admit)).collect()
}

fn with(said: impl IntoIterator<Item = RosterEntry>) -> Roster {
    Roster::new(MESH, four().into_iter().chain(said))
}

fn state(roster: &Roster, replica: u64) -> MemberState {
    roster.member(id(replica)).unwrap().place.state
}

fn bits(replicas: impl IntoIterator<Item = ReplicaId>) -> Vec<u64> {
    replicas.into_iter().map(ReplicaId::get).collect()
}

const PARKED: Saying = Saying::Parked { was_present: false };

#[test]
fn nobody_said_anything_so_all_are_active() {
    let roster = with([]);
    assert!((1..=4).all(|member| state(&roster, member) == MemberState::Active));
    assert_eq!(bits(roster.active().map(Member::replica)), [1, 2, 3, 4]);
}

#[test]
fn of_parked_and_active_the_winner_of_the_register_holds() {
    // Entries come with winners first, as the store tells its siblings.
    for (first, second, expected) in
        [(PARKED, Saying::Active, MemberState::Parked), (Saying::Active, PARKED, MemberState::Active)]
    {
        let roster = with([said(1, 4, first, 20), said(2, 4, second, 20)]);
        assert_eq!(state(&roster, 4), expected);
    }
    let roster = with([said(1, 4, PARKED, 20)]);
    assert_eq!(bits(roster.active().map(Member::replica)), [1, 2, 3]);
    assert_eq!(bits(roster.present().map(Member::replica)), [1, 2, 3, 4], "a parked member is one");
}

#[test]
fn removal_beats_everything_in_whatever_order_it_is_found() {
    let all = [said(1, 4, Saying::Removed, 20), said(2, 4, PARKED, 21), said(3, 4, Saying::Active, 22)];
    for first in 0..3 {
        let roster = with((0..3).map(|at| all[(first + at) % 3].clone()));
        assert_eq!(state(&roster, 4), MemberState::Removed);
        assert_eq!(roster.member(id(4)).unwrap().place.said.unwrap().saying, Saying::Removed);
        assert_eq!(bits(roster.present().map(Member::replica)), [1, 2, 3]);
        assert_eq!(bits(roster.members().map(Member::replica)), [1, 2, 3, 4], "it is remembered for ever");
    }
}

#[test]
fn removal_lies_apart_from_what_can_be_superseded() {
    let keys = [said(1, 4, Saying::Removed, 20).key, said(1, 4, PARKED, 20).key, said(1, 4, Saying::Active, 20).key];
    assert!(keys[0] != keys[1] && keys[1] == keys[2]);
}

#[test]
fn a_statement_counts_only_from_a_member_in_its_own_words_and_place() {
    let removal = said(1, 4, Saying::Removed, 20);
    let elsewhere = RosterEntry { key: SystemKey::Removal(id(3)).to_string().into(), ..removal.clone() };
    let disguised = RosterEntry { key: SystemKey::State(id(4)).to_string().into(), ..removal.clone() };
    let mut forged = removal.clone();
    let mut bytes = forged.value.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    forged.value = bytes.into();
    let abroad = StatementTerms { mesh: 8, subject: id(4), saying: Saying::Removed, made_ms: 5, maker: id(1) };
    let abroad = entry(SystemKey::Removal(id(4)), 1, Statement::sign(abroad, &key(1)).encode());
    let none = RosterEntry { value: vec![1].into(), ..removal.clone() };
    for bad in [
        elsewhere,
        disguised,
        forged,
        abroad,
        none,
        said(9, 4, Saying::Removed, 20),
        said_by(2, 1, 4, Saying::Removed, 20),
    ] {
        let roster = with([bad]);
        assert!((1..=4).all(|member| state(&roster, member) == MemberState::Active));
    }
    assert_eq!(state(&with([removal]), 4), MemberState::Removed);
}

#[test]
fn a_removed_member_is_frozen_when_all_others_have_closed() {
    let removal = said(1, 4, Saying::Removed, 20);
    let mut entries = vec![removal];
    for (closing, open) in [(1, vec![2, 3]), (2, vec![3]), (3, vec![])] {
        assert!(with(entries.clone()).frozen().is_empty());
        entries.push(said(closing, 4, Saying::Closed, 30));
        let roster = with(entries.clone());
        assert_eq!(roster.open_removals().remove(&id(4)).map(bits), Some(open));
    }
    assert_eq!(bits(with(entries).frozen()), [4]);
}

#[test]
fn a_parked_member_is_waited_for() {
    let closes = [1, 2].map(|closing| said(closing, 4, Saying::Closed, 30));
    let entries = [said(1, 4, Saying::Removed, 20), said(1, 3, PARKED, 21)].into_iter().chain(closes);
    let roster = with(entries.clone());
    assert!(roster.frozen().is_empty(), "it may hold records of the removed one that its own depend on");
    let without = with(entries.chain([said(2, 3, Saying::Removed, 31)]));
    assert_eq!(without.open_removals().into_values().map(bits).collect::<Vec<_>>(), [vec![1, 2], vec![]]);
}

#[test]
fn streams_of_removed_members_are_complete_together() {
    let closes = |subject| [1, 2].map(|closing| said(closing, subject, Saying::Closed, 30));
    let removals = [3, 4].map(|subject| said(1, subject, Saying::Removed, 20));
    let one = removals.clone().into_iter().chain(closes(4));
    assert!(with(one.clone()).frozen().is_empty(), "3 may hand on what 4 wrote for as long as 2 listens to it");
    assert_eq!(bits(with(one.chain(closes(3))).frozen()), [3, 4]);
}

#[test]
fn whoever_was_let_in_after_the_closing_need_not_close() {
    let newcomer = |seq| RosterEntry { seq, ..entry_of(&admitted(5, 2, 200, 2)) };
    let guest = |seq| RosterEntry { seq, ..entry_of(&admitted(6, 5, 201, 1)) };
    let closes = [1, 2, 3].map(|closing| said(closing, 4, Saying::Closed, 30));
    let closed: Vec<RosterEntry> = [said(1, 4, Saying::Removed, 20)].into_iter().chain(closes).collect();
    let roster = |more: Vec<RosterEntry>| with(closed.clone().into_iter().chain(more));
    assert_eq!(bits(roster(vec![newcomer(31)]).frozen()), [4], "its issuer had closed");
    assert_eq!(bits(roster(vec![newcomer(31), guest(1)]).frozen()), [4], "and so its own guests");
    assert!(
        roster(vec![newcomer(29)]).frozen().is_empty(),
        "its issuer had not closed: it may have met the removed one"
    );
    assert!(roster(vec![newcomer(0)]).frozen().is_empty(), "nobody knows when");
    let by_the_removed = RosterEntry { seq: 31, ..entry_of(&admitted(5, 4, 400, 2)) };
    assert!(roster(vec![by_the_removed]).frozen().is_empty(), "it met the removed one for certain");
}

#[test]
fn whoever_goes_on_in_a_removed_members_folder_is_removed_with_it() {
    let old = admitted(4, 1, 400, 50);
    let heir = Admission::succession(&old.terms, id(40), &key(4), 50);
    let entry = RosterEntry { seq: 7, ..entry(SystemKey::Admission(id(40)), 40, heir.encode()) };
    let roster = with([entry.clone(), said(1, 4, Saying::Removed, 20)]);
    assert_eq!([4, 40].map(|replica| state(&roster, replica)), [MemberState::Removed; 2]);
    assert_eq!(bits(roster.present().map(Member::replica)), [1, 2, 3]);
    let open = roster.open_removals();
    assert_eq!(bits(open.keys().copied()), [4, 40], "both streams end");
    assert_eq!(roster.lease_home(id(4)).get(), 40);
    let roster = with([entry, said(1, 40, Saying::Removed, 20)]);
    assert_eq!(state(&roster, 4), MemberState::Active, "who it was before said nothing wrong");
}

#[test]
fn leases_go_to_the_last_heir_and_back() {
    let heir = |subject, heir, seq| said(1, subject, Saying::LeaseHeir(id(heir)), seq);
    let home = |roster: &Roster, replica| roster.lease_home(id(replica)).get();
    let roster = with([heir(4, 3, 20), heir(3, 2, 21)]);
    assert_eq!([1, 2, 3, 4, 9].map(|replica| home(&roster, replica)), [1, 2, 2, 2, 9]);
    let roster = with([heir(4, 4, 20)]);
    assert_eq!(home(&roster, 4), 4, "its own again");
    let circle = with([heir(4, 3, 20), heir(3, 4, 21)]);
    assert!([3, 4].contains(&home(&circle, 4)), "and it ends");
}
