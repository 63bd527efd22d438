//! `tombolo.v1.Mesh`: invitations, members, and how this replica stands to its peers.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::PeerView;
use tombolo_proto::v1::{
    self, FrontierEntry, MeshAlarm, MeshAlarmKind, MeshEnterRequest, MeshEnterResponse, MeshInviteRequest,
    MeshInviteResponse, MeshLeaseHeirRequest, MeshLeaseHeirResponse, MeshMembersRequest, MeshMembersResponse,
    MeshParkRequest, MeshParkResponse, MeshRemoveRequest, MeshRemoveResponse, MeshRepairRequest, MeshRepairResponse,
    MeshStatusRequest, MeshStatusResponse, MeshUnparkRequest, MeshUnparkResponse, Peer, StateTransfer,
    StateTransferPhase, mesh_server,
};
use tombolo_storage::Health;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    etcd::status::Fault,
    gate::Gate,
    keeper::{self, Fill},
    mesh::{
        alarms::Raised,
        invitations::{self, InviteError, Invited},
        states::{self, StateError},
        transfers::{Phase, Progress, RepairError, Repaired, repair},
    },
    replica::Replica,
};

mod enter;
mod member;
mod peer;

/// The mesh as its operators see it.
#[derive(Clone)]
pub(crate) struct MeshService(pub(super) Gate);

#[tonic::async_trait]
impl mesh_server::Mesh for MeshService {
    async fn invite(&self, request: Request<MeshInviteRequest>) -> Result<Response<MeshInviteResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let ttl = Duration::from_secs(request.ttl_s);
        let Invited { ticket, slots } = invitations::invite(replica, ttl).await.map_err(Fault::from)?;
        Ok(Response::new(MeshInviteResponse {
            ticket: ticket.to_string(),
            expires_ms: ticket.expires_ms,
            issuer: ticket.issuer.get(),
            slots: Some(slots_of(slots)),
        }))
    }

    async fn members(&self, request: Request<MeshMembersRequest>) -> Result<Response<MeshMembersResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let mesh = &replica.mesh;
        Ok(Response::new(MeshMembersResponse {
            mesh: big_endian(mesh.id()),
            replica: mesh.own().get(),
            members: member::all(replica),
            log_held_bytes: mesh.log_held(&replica.store).bytes,
            log_budget_bytes: replica.store.log_budget(),
        }))
    }

    async fn park(&self, request: Request<MeshParkRequest>) -> Result<Response<MeshParkResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let named = member::named(request.member)?;
        states::park(replica, named).await.map_err(Fault::from)?;
        Ok(Response::new(MeshParkResponse { member: member::one(replica, named) }))
    }

    async fn unpark(&self, request: Request<MeshUnparkRequest>) -> Result<Response<MeshUnparkResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let named = member::named(request.member)?;
        states::unpark(replica, named).await.map_err(Fault::from)?;
        Ok(Response::new(MeshUnparkResponse { member: member::one(replica, named) }))
    }

    async fn remove(&self, request: Request<MeshRemoveRequest>) -> Result<Response<MeshRemoveResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let named = member::named(request.member)?;
        states::remove(replica, named).await.map_err(Fault::from)?;
        Ok(Response::new(MeshRemoveResponse { member: member::one(replica, named) }))
    }

    async fn lease_heir(
        &self,
        request: Request<MeshLeaseHeirRequest>,
    ) -> Result<Response<MeshLeaseHeirResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let (from, to) = (member::named(request.from)?, member::named(request.to)?);
        states::lease_heir(replica, from, to).await.map_err(Fault::from)?;
        Ok(Response::new(MeshLeaseHeirResponse { member: member::one(replica, from) }))
    }

    async fn enter(
        &self,
        request: Request<Streaming<MeshEnterRequest>>,
    ) -> Result<Response<MeshEnterResponse>, Status> {
        let (requests, pass) = self.0.open(request).await?;
        enter::take(pass.replica(), requests).await.map(Response::new)
    }

    async fn repair(&self, request: Request<MeshRepairRequest>) -> Result<Response<MeshRepairResponse>, Status> {
        let (MeshRepairRequest { from, dry_run }, replica) = self.0.admit(request).await?.into_parts();
        let from = member::named(from)?;
        let Repaired { counts, revision } = repair(replica, from, dry_run).await.map_err(Fault::from)?;
        Ok(Response::new(MeshRepairResponse {
            from: from.get(),
            removed: counts.removed,
            added: counts.added,
            replaced: counts.replaced,
            digest_corrected: counts.is_digest_wrong,
            dry_run,
            revision: revision.get(),
        }))
    }

    async fn status(&self, request: Request<MeshStatusRequest>) -> Result<Response<MeshStatusResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let mesh = &replica.mesh;
        let views = mesh.peers();
        let standing = replica.store.standing();
        Ok(Response::new(MeshStatusResponse {
            mesh: big_endian(mesh.id()),
            replica: mesh.own().get(),
            name: replica.facts.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(replica.uptime.now()),
            revision: standing.published.revision.get(),
            commit: standing.published.commit,
            records: total(&standing.frontier),
            frontier: standing
                .frontier
                .iter()
                .map(|dot| FrontierEntry { replica: dot.replica.get(), seq: dot.seq })
                .collect(),
            digest: big_endian(standing.digest),
            peers: told(replica, &standing.frontier, views),
            alarms: alarms(replica),
            transfer: mesh.transfers.progress().map(|progress| transfer(replica, &progress)),
        }))
    }
}

pub(crate) fn alarms(replica: &Replica) -> Vec<MeshAlarm> {
    let now = replica.uptime.now();
    let of_peers = replica.mesh.alarms().into_iter().map(|Raised { kind, peer, text, since }| MeshAlarm {
        kind: kind.into(),
        peer: peer.get(),
        text,
        since_ms: millis(now.saturating_sub(since)),
    });
    let poisoned = "the store takes no writes until the server is restarted: see the log";
    let health = match replica.store.health() {
        Health::Poisoned => Some((MeshAlarmKind::Poisoned, poisoned.to_owned())),
        Health::Ok | Health::NoSpace => {
            let shortage = replica.store.shortage();
            shortage.map(|cause| (MeshAlarmKind::NoSpace, keeper::shortage(cause).to_owned()))
        }
    };
    let fill = Fill::of(&replica.store.sizes()).filter(|fill| fill.is_high());
    let rotten: Vec<String> = replica.keeper.rot.lock().iter().map(keeper::mend::text).collect();
    let signatures = keeper::mend::signatures_text(&replica.store.rotten_signatures());
    let rotten = rotten.into_iter().chain(signatures).map(|text| (MeshAlarmKind::Corrupt, text));
    let own = health.into_iter().chain(rotten).chain(fill.map(|fill| (MeshAlarmKind::Quota, fill.text())));
    let own = own.map(|(kind, text)| MeshAlarm { kind: kind.into(), text, ..Default::default() });
    own.chain(of_peers).collect()
}

/// Every other member as it is seen now.
pub(crate) fn peers(replica: &Replica) -> Vec<Peer> {
    told(replica, &replica.store.frontier(), replica.mesh.peers())
}

/// Every member, the removed ones included.
pub(crate) fn members(replica: &Replica) -> Vec<v1::Member> {
    member::all(replica)
}

/// Every other member that is not removed, with what the node sees of it. `own` is where this replica stands.
fn told(replica: &Replica, own: &VersionVector, views: Vec<PeerView>) -> Vec<Peer> {
    let mesh = &replica.mesh;
    let mut views: BTreeMap<ReplicaId, PeerView> = views.into_iter().map(|view| (view.replica, view)).collect();
    let roster = mesh.roster();
    let mut peers = BTreeMap::new();
    views.retain(|replica, _| !roster.is_removed(*replica));
    for known in roster.present().filter(|known| known.replica() != mesh.own()) {
        let view = views.remove(&known.replica());
        let mut told = peer::told(mesh, own, known.replica(), Some(known), view.as_ref());
        told.set_membership(member::state(known.place.state));
        told.held_bytes = mesh.held_back(&replica.store, known).map(|held| held.bytes);
        peers.insert(known.replica(), told);
    }
    // A contact that the system data do not tell of yet.
    peers.extend(views.into_iter().map(|(replica, view)| (replica, peer::told(mesh, own, replica, None, Some(&view)))));
    peers.into_values().collect()
}

fn transfer(replica: &Replica, progress: &Progress) -> StateTransfer {
    let Progress { provider, phase, since, counts } = progress;
    let phase = match phase {
        Phase::Opening => StateTransferPhase::Opening,
        Phase::Taking => StateTransferPhase::Taking,
        Phase::Joining => StateTransferPhase::Joining,
    };
    StateTransfer {
        provider: provider.get(),
        phase: phase.into(),
        since_ms: millis(replica.uptime.now().saturating_sub(*since)),
        elements: counts.elements,
        elements_total: counts.elements_total,
        bytes: counts.bytes,
        bytes_total: counts.bytes_total,
    }
}

fn slots_of(slots: tombolo_net::SlotRange) -> v1::SlotRange {
    v1::SlotRange { first: slots.first.into(), count: slots.count.into() }
}

fn big_endian(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Records under a vector: sequence numbers are dense.
fn total(frontier: &VersionVector) -> u64 {
    frontier.iter().fold(0, |sum: u64, dot| sum.saturating_add(dot.seq))
}

impl From<StateError> for Fault {
    fn from(why: StateError) -> Self {
        match why {
            StateError::NotFound { .. } => Self::NoSuchMember { what: why.to_string() },
            StateError::Removed { .. }
            | StateError::Only { .. }
            | StateError::CountsItself { .. }
            | StateError::NotActive { .. } => Self::CannotChangeMember { what: why.to_string() },
            StateError::Commit(refusal) => refusal.into(),
        }
    }
}

impl From<InviteError> for Fault {
    fn from(why: InviteError) -> Self {
        match why {
            InviteError::TooLong => Self::BadInvitation { what: why.to_string() },
            InviteError::NotListening { .. } | InviteError::NoAddress | InviteError::NoSlots => {
                Self::CannotInvite { what: why.to_string() }
            }
            InviteError::Key(why) => Self::Internal { what: why.to_string() },
            InviteError::Commit(refusal) => refusal.into(),
        }
    }
}

impl From<RepairError> for Fault {
    fn from(why: RepairError) -> Self {
        match why {
            RepairError::NotFound { .. } => Self::NoSuchMember { what: why.to_string() },
            _ => Self::CannotRepair { what: why.to_string() },
        }
    }
}
