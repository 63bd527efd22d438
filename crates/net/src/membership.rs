//! Where the members of a mesh stand: what their statements about each other come to.
//!
//! A value made anew when the data changes, the same wherever the same data are. Removal beats everything and is for ever;
//! between *parked* and *active* the statement with the greatest stamp holds. It knows no connection and no store: refusing
//! the removed, freezing their streams and dropping the log is done by those who ask.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::ReplicaId;

use crate::{Member, Saying, Statement, StatementTerms, SystemKey};

/// What a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// A member like any other: the log is kept for it.
    #[default]
    Active,
    /// It may come back, and nothing is kept for it.
    Parked,
    /// It is no member any more.
    Removed,
}

/// Where one member stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub state: MemberState,
    /// The statement that made it so; `None` for one of whom nothing was ever said.
    pub said: Option<StatementTerms>,
    /// Who counts its leases instead of itself.
    pub lease_heir: Option<ReplicaId>,
    /// Who takes nothing from it any more, and by which record of theirs they said so.
    closed: BTreeMap<ReplicaId, u64>,
}

/// A statement as it lies in the data: under a key, in a record of some author.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: SystemKey,
    pub(crate) author: ReplicaId,
    pub(crate) seq: u64,
    pub(crate) statement: Statement,
}

impl Place {
    /// Takes in what was found of this member; winners first. `maker` is who said it.
    fn take(&mut self, seq: u64, terms: StatementTerms) {
        match terms.saying {
            Saying::Removed if self.state != MemberState::Removed => {
                (self.state, self.said) = (MemberState::Removed, Some(terms));
            }
            Saying::Active | Saying::Parked { .. } if self.said.is_none() => {
                let is_active = terms.saying == Saying::Active;
                self.state = if is_active { MemberState::Active } else { MemberState::Parked };
                self.said = Some(terms);
            }
            Saying::Closed => {
                let first = self.closed.entry(terms.maker).or_insert(seq);
                *first = seq.min(*first);
            }
            Saying::LeaseHeir(heir) => {
                self.lease_heir.get_or_insert(heir);
            }
            Saying::Active | Saying::Parked { .. } | Saying::Removed => {}
        }
    }
}

/// Gives every member the place that `found` comes to. What does not verify is dropped without a word.
pub(crate) fn place(mesh: u128, members: &mut BTreeMap<ReplicaId, Member>, found: Vec<Found>) {
    for Found { key, author, seq, statement } in found {
        let terms = statement.terms;
        let is_in_place = terms.mesh == mesh && terms.maker == author && statement.key() == key;
        let key_of_maker = members.get(&author).map(Member::key);
        let counts = is_in_place && key_of_maker.is_some_and(|key| statement.is_signed_by(&key));
        if let Some(member) = members.get_mut(&terms.subject).filter(|_| counts) {
            member.place.take(seq, terms);
        }
    }
    for member in members.values_mut().filter(|member| member.place.lease_heir == Some(member.replica())) {
        // Its own again.
        member.place.lease_heir = None;
    }
    remove_successors(members);
}

/// Whoever goes on in a removed member's folder is removed with it.
fn remove_successors(members: &mut BTreeMap<ReplicaId, Member>) {
    let removed: Vec<_> = members.values().filter(|member| member.is_removed()).map(Member::replica).collect();
    for removed in removed {
        let (said, mut name) = (members.get(&removed).and_then(|member| member.place.said), removed);
        // Everyone is admitted by somebody who was there before: there are no circles.
        while let Some(successor) = members.get(&name).and_then(|member| member.successor) {
            if let Some(member) = members.get_mut(&successor).filter(|member| !member.is_removed()) {
                (member.place.state, member.place.said) = (MemberState::Removed, said);
            }
            name = successor;
        }
    }
}

/// For each removed member, who may still take records from it itself, as far as the data tell: all others that have not said
/// they do not.
///
/// Whoever was let in by a member that had closed by then is not among them: it has known of the removal before anything else.
pub(crate) fn open_to(members: &BTreeMap<ReplicaId, Member>) -> BTreeMap<ReplicaId, BTreeSet<ReplicaId>> {
    let removed = members.values().filter(|member| member.is_removed());
    let open = removed.map(|removed| {
        let others = members.values().filter(|other| !other.is_removed() && other.successor.is_none());
        let open = others.filter(|other| !has_closed(members, removed, other));
        (removed.replica(), open.map(Member::replica).collect())
    });
    open.collect()
}

fn has_closed(members: &BTreeMap<ReplicaId, Member>, removed: &Member, member: &Member) -> bool {
    let mut member = member;
    if removed.place.closed.contains_key(&member.replica()) {
        return true;
    }
    // Admissions lead upwards to a founder's, so that this ends.
    while !member.admission.is_founders() {
        let (admitted, issuer) = (member.admitted_at, member.admission.terms.issuer);
        if let Some(closed) = removed.place.closed.get(&issuer) {
            return *closed < admitted;
        }
        match members.get(&issuer).filter(|_| admitted > 0 && issuer != removed.replica()) {
            Some(issuer) => member = issuer,
            None => return false,
        }
    }
    false
}
