//! Invitations: made here, kept in the replicated system data, and redeemed here, once.
//!
//! Making and redeeming hand out slots, and each looks first at what was handed out before: they take turns. Both are one record of the log, so
//! that a crash leaves all of it or nothing, and both are durable before anybody is told.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::ReplicaId;
use tombolo_net::{
    Admission, AdmissionTerms, Invitation, JoinRefusal, JoinRequest, KeyError, Secret, SlotRange, SystemKey, Ticket,
    TicketId,
};
use tombolo_storage::{Request, SystemWrite};
use tracing::{debug, info, warn};

use crate::{clock, committer::Refusal, replica::Replica};

/// The time to live of a ticket when none is asked for.
pub(crate) const TTL_DEFAULT: Duration = Duration::from_secs(3_600);
/// The longest time to live of a ticket.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A ticket that was made.
#[derive(Clone, Debug)]
pub(crate) struct Invited {
    pub(crate) ticket: Ticket,
    pub(crate) slots: SlotRange,
}

/// Why no ticket was made.
#[derive(Debug, Error)]
pub(crate) enum InviteError {
    /// The time to live is too long.
    #[error("a ticket lives for at most {}s", TTL_MAX.as_secs())]
    TooLong,
    /// Peers could not come in.
    #[error("peers cannot connect: {why}")]
    NotListening { why: String },
    /// Peers could not be told where to go.
    #[error("peers cannot be told where to connect: start with --initial-advertise-peer-urls")]
    NoAddress,
    /// Nothing is left to hand down.
    #[error("NOSLOTS: this replica has no free slots to hand down")]
    NoSlots,
    /// The system gave no randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The invitation was not made durable.
    #[error(transparent)]
    Commit(#[from] Refusal),
}

/// Makes a ticket.
pub(crate) async fn invite(replica: &Replica, ttl: Duration) -> Result<Invited, InviteError> {
    let mesh = &replica.mesh;
    let ttl = if ttl.is_zero() { TTL_DEFAULT } else { ttl };
    if ttl > TTL_MAX {
        return Err(InviteError::TooLong);
    }
    let addresses = mesh.addresses().map_err(|why| InviteError::NotListening { why })?;
    if addresses.is_empty() {
        return Err(InviteError::NoAddress);
    }
    if addresses.iter().all(|address| is_local(address)) {
        warn!(?addresses, "only servers on this machine can use the ticket: see --initial-advertise-peer-urls");
    }
    let _turn = mesh.handing_out.lock().await;
    let wall_ms = clock::wall().0;
    let mut writes = mesh.founding_writes();
    let (outstanding, expired) = outstanding(replica, wall_ms);
    writes.extend(expired.into_iter().map(|key| SystemWrite::Remove { key }));
    // Whoever founded this mesh with the contents of another one counts above what was counted there, and hands down nothing from below.
    let below = SlotRange { first: 0, count: replica.store.identity().slot.number() + 1 };
    let handed = mesh.handed_down().into_iter().chain(outstanding).chain([below]);
    let slots = mesh.own_slots().share(handed).ok_or(InviteError::NoSlots)?;
    let id = TicketId(getrandom::u64().map_err(|_| KeyError::NoRandomness)?);
    let secret = Secret::generate()?;
    let expires_ms = wall_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let invitation = Invitation { secret_hash: secret.hash(id), slots, expires_ms };
    writes.push(put(SystemKey::Invitation(mesh.own(), id), invitation.encode()));
    write(replica, writes).await?;
    info!(ticket = %id, first_slot = slots.first, slots = slots.count, "made a ticket");
    let (issuer, issuer_key) = (mesh.own(), mesh.key.public());
    let ticket = Ticket { mesh: mesh.id(), issuer, issuer_key, id, secret, expires_ms, addresses };
    Ok(Invited { ticket, slots })
}

/// Redeems a ticket of ours: admits whoever brings it, or says why not.
pub(crate) async fn redeem(replica: &Replica, request: JoinRequest) -> Result<Admission, JoinRefusal> {
    let (ticket, newcomer) = (request.ticket, request.replica);
    let outcome = decide(replica, request).await;
    match &outcome {
        Ok(admission) => {
            let slots = admission.terms.slots;
            info!(%ticket, %newcomer, first_slot = slots.first, slots = slots.count, "admitted a replica");
        }
        // Whoever reaches the port can get as far as this; it is reported as somebody who was turned away.
        Err(why @ (JoinRefusal::UnknownTicket | JoinRefusal::WrongSecret)) => {
            debug!(%ticket, %newcomer, %why, "a replica was not admitted");
        }
        Err(why) => warn!(%ticket, %newcomer, %why, "a replica was not admitted"),
    }
    outcome
}

async fn decide(replica: &Replica, request: JoinRequest) -> Result<Admission, JoinRefusal> {
    let mesh = &replica.mesh;
    let _turn = mesh.handing_out.lock().await;
    if let Some(given) = mesh.admitted_with(request.ticket) {
        let is_same = given.terms.replica == request.replica && given.terms.key == request.key;
        return if is_same { Ok(given) } else { Err(JoinRefusal::Reused) };
    }
    let key = SystemKey::Invitation(mesh.own(), request.ticket);
    let invitation = replica.store.system(key.to_string().as_bytes()).into_iter().find_map(|entry| {
        let winner = entry.siblings.into_iter().next()?;
        Invitation::decode(winner.value).ok()
    });
    let invitation = invitation.ok_or(JoinRefusal::UnknownTicket)?;
    // The secret first: who does not have it learns nothing but that.
    if !invitation.is_opened_by(request.ticket, &request.secret) {
        return Err(JoinRefusal::WrongSecret);
    }
    if invitation.has_expired(clock::wall().0) {
        return Err(JoinRefusal::Expired);
    }
    if mesh.knows(request.replica, &request.key) {
        return Err(JoinRefusal::AlreadyMember);
    }
    let terms = AdmissionTerms {
        mesh: mesh.id(),
        replica: request.replica,
        key: request.key,
        slots: invitation.slots,
        ticket: request.ticket,
        issuer: mesh.own(),
    };
    let admission = Admission::sign(terms, &mesh.key);
    let writes = vec![
        put(SystemKey::Admission(request.replica), admission.encode()),
        SystemWrite::Remove { key: key.to_string().into() },
    ];
    match write(replica, writes).await {
        Ok(()) => Ok(admission),
        Err(why) => {
            warn!(%why, "an admission was not made durable");
            Err(JoinRefusal::Unavailable)
        }
    }
}

/// The slots that our invitations promise, and the keys of those that have expired: their slots are free again.
fn outstanding(replica: &Replica, wall_ms: u64) -> (Vec<SlotRange>, Vec<Bytes>) {
    let (mut promised, mut expired) = (Vec::new(), Vec::new());
    // Whether those of a name of before were redeemed may be what was lost with it: their slots are promised for ever.
    for name in replica.mesh.names.iter().filter(|name| **name != replica.mesh.own()) {
        let of_before = replica.store.system(SystemKey::invitations_of(*name).as_bytes());
        let siblings = of_before.into_iter().flat_map(|entry| entry.siblings);
        promised.extend(siblings.filter_map(|sibling| Some(Invitation::decode(sibling.value).ok()?.slots)));
    }
    let prefix = SystemKey::invitations_of(replica.mesh.own());
    for entry in replica.store.system(prefix.as_bytes()) {
        let invitations = entry.siblings.into_iter().filter_map(|sibling| Invitation::decode(sibling.value).ok());
        let live: Vec<_> = invitations.filter(|invitation| !invitation.has_expired(wall_ms)).collect();
        if live.is_empty() {
            expired.push(entry.key);
        }
        promised.extend(live.into_iter().map(|invitation| invitation.slots));
    }
    (promised, expired)
}

pub(super) fn put(key: SystemKey, value: Vec<u8>) -> SystemWrite {
    SystemWrite::Put { key: key.to_string().into(), value: value.into() }
}

/// Writes system data, and returns when that is durable and known everywhere in this server.
pub(super) async fn write(replica: &Replica, writes: Vec<SystemWrite>) -> Result<(), Refusal> {
    replica.commit(Request::System(writes), 0).await.map(drop)
}

fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Ranges that a replica has handed down to those that it admitted, under any of its names.
pub(super) fn handed_down<'a>(
    names: &[ReplicaId],
    admissions: impl Iterator<Item = &'a AdmissionTerms> + Clone,
    has_ended: impl Fn(ReplicaId) -> bool,
) -> Vec<SlotRange> {
    let others = admissions.filter(|terms| !names.contains(&terms.replica));
    let held = |terms: &AdmissionTerms| match has_ended(terms.replica) {
        true => SlotRange { first: terms.slots.first, count: 1 },
        false => terms.slots,
    };
    let given: Vec<_> = others.clone().filter(|terms| names.contains(&terms.issuer)).collect();
    let within =
        others.filter(|terms| given.iter().any(|given| has_ended(given.replica) && given.slots.includes(terms.slots)));
    given.iter().copied().chain(within).map(held).collect()
}
