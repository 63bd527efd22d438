//! The members of the mesh, as far as the replicated system data proves them.
//!
//! A roster is a value built anew when the data changes. It keeps what verifies and drops the rest without a word: an
//! admission counts when a chain of signatures leads from it to a founder's, each issuer giving slots that it owned; an
//! announcement counts when its subject wrote it. Whoever is in a roster may hand out admissions, so that a forged one takes
//! a member's key.

use std::{
    collections::{BTreeMap, VecDeque},
    iter::successors,
};

use bytes::Bytes;
use tombolo_crdt::ReplicaId;

use crate::{Admission, AdmissionTerms, Announcement, PublicKey, SystemKey};

/// A member: who it is by signature, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// How it came in.
    pub admission: Admission,
    /// Its own words; `None` until they arrive.
    pub announcement: Option<Announcement>,
    /// Who has taken its place in its folder. Nobody writes, or is dialed, under its own name any more; whom it admitted stays admitted.
    pub successor: Option<ReplicaId>,
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
    /// The value.
    pub value: Bytes,
}

impl Roster {
    /// Admissions presented at most: a peer knows one of the nearest sixty-four issuers, or has to hear of one first.
    pub const CHAIN_MAX: usize = 64;

    /// The roster that `entries` prove. Of several values under one key that hold, the first counts: give winners first.
    pub fn new(mesh: u128, entries: impl IntoIterator<Item = RosterEntry>) -> Self {
        let mut admissions = Vec::new();
        let mut announcements = BTreeMap::new();
        for RosterEntry { key, author, value } in entries {
            match SystemKey::parse(&key) {
                Some(SystemKey::Admission(replica)) => admissions.extend(
                    Admission::decode(value)
                        .ok()
                        .filter(|admission| admission.terms.replica == replica && admission.terms.mesh == mesh),
                ),
                Some(SystemKey::Announcement(replica)) if replica == author => {
                    if let Ok(announcement) = Announcement::decode(value) {
                        announcements.entry(replica).or_insert(announcement);
                    }
                }
                _ => {}
            }
        }
        let mut roster = proven(admissions);
        for (replica, announcement) in announcements {
            if let Some(member) = roster.members.get_mut(&replica) {
                member.announcement = Some(announcement);
            }
        }
        roster
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

    /// Where it says that peers reach it.
    pub fn addresses(&self) -> &[String] {
        self.announcement.as_ref().map_or(&[], |announcement| &announcement.addresses)
    }
}

/// The admissions that lead to a founder's, found from the founders downwards: cycles never come up.
fn proven(admissions: Vec<Admission>) -> Roster {
    let mut roster = Roster::default();
    let mut by_issuer: BTreeMap<ReplicaId, Vec<Admission>> = BTreeMap::new();
    let mut reached = VecDeque::new();
    for admission in admissions {
        if !admission.is_founders() {
            by_issuer.entry(admission.terms.issuer).or_default().push(admission);
        } else if admission.check_issuer(&admission.terms).is_ok() {
            reached.push_back(admission);
        }
    }
    while let Some(admission) = reached.pop_front() {
        let terms = admission.terms;
        if roster.members.contains_key(&terms.replica) {
            continue;
        }
        let mut issued = by_issuer.remove(&terms.replica).unwrap_or_default();
        issued.retain(|issued| issued.check_issuer(&terms).is_ok());
        let successor = first_successor(&terms, &mut issued, &mut roster.second);
        roster.members.insert(terms.replica, Member { admission, announcement: None, successor });
        reached.extend(issued);
    }
    roster
}

/// The successor that counts among those whom a replica admitted. The others are taken out.
fn first_successor(
    issuer: &AdmissionTerms,
    issued: &mut Vec<Admission>,
    second: &mut Vec<SecondSuccessor>,
) -> Option<ReplicaId> {
    let candidates = issued.iter().map(|issued| issued.terms).filter(|terms| terms.succeeds(issuer));
    let first = candidates.min_by_key(AdmissionTerms::precedence)?.replica;
    issued.retain(|issued| {
        let terms = issued.terms;
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
