//! One member as its operators see it: who it is, where it stands since when, and what it holds back.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::ReplicaId;
use tombolo_net::{Member as Known, MemberState as Stands, SlotRange};
use tombolo_proto::v1::{Member, MemberState};

use super::{millis, slots_of};
use crate::{etcd::status::Fault, replica::Replica};

/// The member that a request names.
pub(super) fn named(member: u64) -> Result<ReplicaId, Fault> {
    ReplicaId::new(member)
        .ok_or_else(|| Fault::NoSuchMember { what: format!("{member:016x} is no member of the mesh") })
}

/// All members, ascending; this replica is always among them.
pub(super) fn all(replica: &Replica) -> Vec<Member> {
    let roster = replica.mesh.roster();
    let open = roster.open_removals();
    let mut members: BTreeMap<ReplicaId, Member> = roster
        .members()
        .chain(roster.succeeded())
        .map(|known| (known.replica(), told(replica, known, open.get(&known.replica()))))
        .collect();
    // Who has never invited anybody is no member on record, and still there.
    members.entry(replica.mesh.own()).or_insert_with(|| alone(replica));
    members.into_values().collect()
}

/// One of them.
pub(super) fn one(replica: &Replica, member: ReplicaId) -> Option<Member> {
    all(replica).into_iter().find(|known| known.replica == member.get())
}

pub(super) const fn state(state: Stands) -> MemberState {
    match state {
        Stands::Active => MemberState::Active,
        Stands::Parked => MemberState::Parked,
        Stands::Removed => MemberState::Removed,
    }
}

fn told(replica: &Replica, known: &Known, open: Option<&BTreeSet<ReplicaId>>) -> Member {
    let mesh = &replica.mesh;
    let (terms, place) = (&known.admission.terms, &known.place);
    let said = known.announcement.clone().unwrap_or_default();
    let is_succeeded = known.successor.is_some() && !known.is_removed();
    let held = mesh.held_back(&replica.store, known);
    let issuer = mesh.roster().terms(terms.issuer);
    let predecessor = issuer.filter(|issuer| terms.succeeds(issuer)).map(|issuer| issuer.replica);
    let is_settled = mesh.roster().frozen().contains(&known.replica());
    Member {
        replica: terms.replica.get(),
        name: said.name,
        state: if is_succeeded { MemberState::Succeeded } else { state(place.state) }.into(),
        peer_addresses: said.addresses,
        client_urls: said.client_urls,
        slots: Some(slots_of(terms.slots)),
        issuer: terms.issuer.get(),
        predecessor: predecessor.map_or(0, ReplicaId::get),
        successor: known.successor.map_or(0, ReplicaId::get),
        state_at_ms: place.said.map_or(0, |said| said.made_ms),
        state_by: place.said.map_or(0, |said| said.maker.get()),
        ends_at: is_settled.then(|| replica.store.frontier().seq(known.replica())),
        open_to: open.into_iter().flatten().map(|member| member.get()).collect(),
        held_commits: held.map(|held| held.commits),
        held_bytes: held.map(|held| held.bytes),
        lease_heir: place.lease_heir.map_or(0, ReplicaId::get),
        heard_ms: mesh.silent_for(known.replica()).map(millis),
    }
}

fn alone(replica: &Replica) -> Member {
    let (mesh, facts) = (&replica.mesh, &replica.facts);
    Member {
        replica: mesh.own().get(),
        name: facts.name.clone(),
        state: MemberState::Active.into(),
        peer_addresses: facts.peer_addresses.clone(),
        client_urls: facts.client_urls.clone(),
        slots: Some(slots_of(SlotRange::ALL)),
        issuer: mesh.own().get(),
        heard_ms: Some(0),
        ..Default::default()
    }
}
