//! The members of the mesh, as far as the replicated system data proves them.
//!
//! A roster is a value built anew when the data changes. It keeps what verifies and drops the rest without a word: an
//! admission counts when a chain of signatures leads from it to a founder's, each issuer giving slots that it owned; an
//! announcement counts when its subject wrote it; a statement about a member counts when its maker is one and wrote it. Whoever
//! is in a roster may hand out admissions, so that a forged one takes a member's key. The removed stay in it: who they were,
//! and what they gave away, holds for ever.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    iter::successors,
};

use bytes::Bytes;
use tombolo_crdt::ReplicaId;

use crate::{
    Admission, AdmissionTerms, Announcement, MemberState, Place, PublicKey, Statement, SystemKey,
    membership::{self, Found},
};

/// A member: who it is by signature, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// How it came in.
    pub admission: Admission,
    /// Its own words; `None` until they arrive.
    pub announcement: Option<Announcement>,
    /// Who has taken its place in its folder. Nobody writes, or is dialed, under its own name any more; whom it admitted stays admitted.
    pub successor: Option<ReplicaId>,
    /// Where it stands, by what the others have said.
    pub place: Place,
    /// The record that admits it, when its issuer wrote it; 0 otherwise.
    pub(crate) admitted_at: u64,
    /// Whether a record admits it, and not only what somebody brought along.
    pub(crate) is_on_record: bool,
}

/// Somebody who says to be a replica's successor, when there is one already: its folder was copied, or its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondSuccessor {
    /// Whom both say to succeed.
    pub predecessor: ReplicaId,
    /// Who does.
    pub first: ReplicaId,
    /// Who does not.
    pub second: ReplicaId,
}

/// All members of one mesh that are proven here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    members: BTreeMap<ReplicaId, Member>,
    second: Vec<SecondSuccessor>,
}

/// One value of the system data: its key, the replica that wrote it, its bytes.
#[derive(Clone, Debug)]
pub struct RosterEntry {
    /// The system key.
    pub key: Bytes,
    /// Who wrote this value: the replica of its element's dot.
    pub author: ReplicaId,
    /// The seq of the record that wrote it; 0 for what is believed without one.
    pub seq: u64,
    /// The value.
    pub value: Bytes,
}

impl Roster {
    /// Admissions presented at most: a peer knows one of the nearest sixty-four issuers, or has to hear of one first.
    pub const CHAIN_MAX: usize = 64;

    /// The roster that `entries` prove. Of several values under one key that hold, the first counts: give winners first.
    pub fn new(mesh: u128, entries: impl IntoIterator<Item = RosterEntry>) -> Self {
        Self::below(mesh, entries, |_| true)
    }

    /// As [`Roster::new`], under no other founders than `may_found` takes.
    fn below(
        mesh: u128,
        entries: impl IntoIterator<Item = RosterEntry>,
        may_found: impl Fn(ReplicaId) -> bool,
    ) -> Self {
        let mut admissions = Vec::new();
        let mut announcements = BTreeMap::new();
        let (mut found, mut shown) = (Vec::new(), Vec::new());
        for RosterEntry { key, author, seq, value } in entries {
            match SystemKey::parse(&key) {
                Some(SystemKey::Admission(replica)) => {
                    let admission = Admission::decode(value).ok();
                    let in_place = admission.filter(|found| found.terms.replica == replica && found.terms.mesh == mesh);
                    admissions.extend(in_place.map(|admission| Admitted {
                        admission,
                        // Of somebody else's record the seq says nothing about the issuer's.
                        admitted_at: if admission.terms.issuer == author { seq } else { 0 },
                        is_on_record: seq > 0,
                    }));
                }
                Some(SystemKey::Announcement(replica)) if replica == author => {
                    if let Ok(announcement) = Announcement::decode(value) {
                        announcements.entry(replica).or_insert(announcement);
                    }
                }
                Some(SystemKey::Proof(_)) => {
                    let chain = Admission::decode_chain(value).unwrap_or_default();
                    let in_mesh = chain.into_iter().filter(|admission| admission.terms.mesh == mesh);
                    shown.extend(in_mesh.map(|admission| Admitted { admission, admitted_at: 0, is_on_record: false }));
                }
                Some(
                    SystemKey::Invitation(..)
                    | SystemKey::Entered(_)
                    | SystemKey::EnteredFork(..)
                    | SystemKey::Announcement(_),
                )
                | None => {}
                Some(key) => {
                    let statement = Statement::decode(value).ok();
                    found.extend(statement.map(|statement| Found { key, author, seq, statement }));
                }
            }
        }
        // What its issuer wrote says more than what its subject shows.
        admissions.extend(shown);
        admissions.retain(|found| !found.admission.is_founders() || may_found(found.admission.terms.replica));
        let mut roster = proven(admissions);
        membership::place(mesh, &mut roster.members, found);
        for (replica, announcement) in announcements {
            if let Some(member) = roster.members.get_mut(&replica) {
                member.announcement = Some(announcement);
            }
        }
        roster
    }

    /// This roster and whom `entries` prove to be admitted by somebody in it; nobody founds a mesh in them. All that was proven is checked
    /// again: for rare occasions.
    pub fn joined_by(&self, mesh: u128, entries: impl IntoIterator<Item = RosterEntry>) -> Self {
        let known = self.members.values().map(|member| RosterEntry {
            key: SystemKey::Admission(member.replica()).to_string().into(),
            author: member.admission.terms.issuer,
            seq: 0,
            value: member.admission.encode().into(),
        });
        Self::below(mesh, known.chain(entries), |founder| self.member(founder).is_some())
    }

    /// A member by its id, succeeded or not.
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.members.get(&replica)
    }

    /// A member by its key; of several with one key, the one with the smallest id.
    pub fn by_key(&self, key: &PublicKey) -> Option<&Member> {
        self.members().find(|member| member.admission.terms.key == *key)
    }

    /// All members, ascending by id, without those that somebody has succeeded.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.successor.is_none())
    }

    /// Those that somebody has succeeded, ascending by id.
    pub fn succeeded(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.successor.is_some())
    }

    /// Those who say to succeed somebody who has a successor already. They are no members.
    pub fn second_successors(&self) -> &[SecondSuccessor] {
        &self.second
    }

    /// Whether somebody has succeeded this replica, or was first to succeed whom it says to succeed.
    pub fn has_lost_its_place(&self, replica: ReplicaId) -> bool {
        self.heir(replica) != replica || self.second.iter().any(|found| found.second == replica)
    }

    /// Who goes on in a replica's place: its successor's successor and so on; itself when it has none.
    pub fn heir(&self, replica: ReplicaId) -> ReplicaId {
        // Everyone is admitted by somebody who was there before: there are no circles.
        let next = |replica: &ReplicaId| self.member(*replica)?.successor;
        successors(Some(replica), next).last().unwrap_or(replica)
    }

    /// Whether a replica was a member and is none any more.
    pub fn is_removed(&self, replica: ReplicaId) -> bool {
        self.member(replica).is_some_and(Member::is_removed)
    }

    /// The members that are not removed, ascending by id.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| !member.is_removed())
    }

    /// The active members: those that the log is kept for.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| member.place.state == MemberState::Active)
    }

    /// The removed members, each with those others that have not yet said that they take nothing more from it.
    ///
    /// When all of these are empty, nobody holds or will hold a record of a removed one that is not applied here: whoever took one
    /// from it did so before saying that, and what is said follows what was seen. Their streams are complete as they are.
    pub fn open_removals(&self) -> BTreeMap<ReplicaId, BTreeSet<ReplicaId>> {
        membership::open_to(&self.members)
    }

    /// The removed members whose streams are complete here. It takes all removals together: one removed member may hand on the
    /// records of another for as long as somebody listens to it.
    pub fn frozen(&self) -> BTreeSet<ReplicaId> {
        let open = self.open_removals();
        if open.values().all(BTreeSet::is_empty) { open.into_keys().collect() } else { BTreeSet::new() }
    }

    /// Who counts the leases of a replica: itself, its successor, or the last of those whom operators named. Where they lead in a
    /// circle, whoever closes it.
    pub fn lease_home(&self, replica: ReplicaId) -> ReplicaId {
        let (mut home, mut seen) = (replica, BTreeSet::from([replica]));
        let next = |home| self.member(home).and_then(|member| member.place.lease_heir.or(member.successor));
        while let Some(heir) = next(home) {
            if !seen.insert(heir) {
                break;
            }
            home = heir;
        }
        home
    }

    /// For whom somebody else counts the leases: who granted them, who counts them.
    pub fn moved_leases(&self) -> BTreeMap<ReplicaId, ReplicaId> {
        let homes = self.members.keys().map(|member| (*member, self.lease_home(*member)));
        homes.filter(|(member, home)| member != home).collect()
    }

    /// Whether a replica's admission has come with the records, and with it everything that its issuer knew by then.
    pub fn is_settled(&self, replica: ReplicaId) -> bool {
        self.member(replica).is_some_and(|member| member.is_on_record)
    }

    /// Under which terms a replica was admitted.
    pub fn terms(&self, replica: ReplicaId) -> Option<AdmissionTerms> {
        self.member(replica).map(|member| member.admission.terms)
    }

    /// The admissions from `replica`'s own up to the founder's, or the first [`Roster::CHAIN_MAX`] of them: what it presents
    /// to those who have not heard of it. Empty when it is no member.
    pub fn chain_for(&self, replica: ReplicaId) -> Vec<Admission> {
        let above = |member: &&Member| match member.admission {
            admission if admission.is_founders() => None,
            admission => self.member(admission.terms.issuer),
        };
        successors(self.member(replica), above).take(Self::CHAIN_MAX).map(|member| member.admission).collect()
    }
}

impl Member {
    /// Its id.
    pub const fn replica(&self) -> ReplicaId {
        self.admission.terms.replica
    }

    /// Its key.
    pub const fn key(&self) -> PublicKey {
        self.admission.terms.key
    }

    /// Whether it is a member no more.
    pub fn is_removed(&self) -> bool {
        self.place.state == MemberState::Removed
    }

    /// Where it says that peers reach it.
    pub fn addresses(&self) -> &[String] {
        self.announcement.as_ref().map_or(&[], |announcement| &announcement.addresses)
    }
}

/// An admission, and how it came.
#[derive(Clone, Copy)]
struct Admitted {
    admission: Admission,
    admitted_at: u64,
    is_on_record: bool,
}

/// The admissions that lead to a founder's, found from the founders downwards: cycles never come up.
fn proven(admissions: Vec<Admitted>) -> Roster {
    let mut roster = Roster::default();
    let mut by_issuer: BTreeMap<ReplicaId, Vec<Admitted>> = BTreeMap::new();
    let mut reached = VecDeque::new();
    for admitted in admissions {
        let admission = &admitted.admission;
        if !admission.is_founders() {
            by_issuer.entry(admission.terms.issuer).or_default().push(admitted);
        } else if admission.check_issuer(&admission.terms).is_ok() {
            reached.push_back(admitted);
        }
    }
    while let Some(Admitted { admission, admitted_at, is_on_record }) = reached.pop_front() {
        let terms = admission.terms;
        if roster.members.contains_key(&terms.replica) {
            continue;
        }
        let mut issued = by_issuer.remove(&terms.replica).unwrap_or_default();
        issued.retain(|issued| issued.admission.check_issuer(&terms).is_ok());
        let successor = first_successor(&terms, &mut issued, &mut roster.second);
        let place = Place::default();
        let member = Member { admission, announcement: None, successor, place, admitted_at, is_on_record };
        roster.members.insert(terms.replica, member);
        reached.extend(issued);
    }
    roster
}

/// The successor that counts among those whom a replica admitted. The others are taken out.
fn first_successor(
    issuer: &AdmissionTerms,
    issued: &mut Vec<Admitted>,
    second: &mut Vec<SecondSuccessor>,
) -> Option<ReplicaId> {
    let candidates = issued.iter().map(|issued| issued.admission.terms).filter(|terms| terms.succeeds(issuer));
    let first = candidates.min_by_key(AdmissionTerms::precedence)?.replica;
    issued.retain(|issued| {
        let terms = issued.admission.terms;
        let counts = !terms.succeeds(issuer) || terms.replica == first;
        if !counts {
            second.push(SecondSuccessor { predecessor: issuer.replica, first, second: terms.replica });
        }
        counts
    });
    Some(first)
}

#[cfg(test)]
mod tests;
