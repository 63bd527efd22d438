//! `v3election`: elections that the server keeps for clients that cannot keep them themselves.
//!
//! They are keys and transactions of etcd's own concurrency package, so that its users and callers of this service are candidates of the
//! same elections. **An election holds within one replica only.** At another site somebody else can lead at the same time; an
//! election across sites needs a home for its keys.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tombolo_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
    ResignRequest, ResignResponse, election_server::Election,
};
use tombolo_site::{Leader, Place};
use tonic::{Request, Response, Status};

use self::observation::Observation;
use super::{
    check, convert,
    line::{self, Caller, Waiters, Waiting},
    status::{Fault, line::LineFault},
};
use crate::gate::{Gate, Leave, Pass};

mod observation;

/// etcd's `Election`.
#[derive(Clone)]
pub(super) struct ElectionService {
    pub(super) gate: Gate,
    pub(super) waiters: Arc<Waiters>,
}

#[tonic::async_trait]
impl Election for ElectionService {
    /// Answers when the caller leads, within this replica.
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        check::size(request.get_ref(), self.gate.facts().max_request_bytes).map_err(LineFault::from)?;
        let (request, leave, pass) = self.gate.enter(request).await.map_err(LineFault::from)?;
        let waiters = Arc::clone(&self.waiters);
        Ok(Response::new(Caller::attend(|caller| campaign(request, leave, pass, waiters, caller)).await?))
    }

    /// Tells those who follow the election something new, if the caller still leads at this replica.
    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        check::size(request.get_ref(), self.gate.facts().max_request_bytes).map_err(LineFault::from)?;
        named(request.get_ref().leader.as_ref())?;
        let (request, replica) = self.gate.admit(request).await.map_err(LineFault::from)?.into_parts();
        let leader = request.leader.ok_or(LineFault::NoLeaderKey)?;
        let lease = line::session(replica, leader.lease).await?;
        let bytes = leader.key.len() + request.value.len();
        let place = Place { key: leader.key, created: leader.rev };
        let proclamation = place.proclaim(lease, request.value);
        let (answer, revision) = line::txn(replica, proclamation, bytes).await?;
        if !answer.succeeded {
            return Err(LineFault::NotLeader.into());
        }
        Ok(Response::new(ProclaimResponse { header: Some(replica.header(revision)) }))
    }

    /// Who leads at this replica.
    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let (request, replica) = self.gate.admit(request).await.map_err(LineFault::from)?.into_parts();
        let (pair, revision) = line::read(replica, Leader::new(&request.name).query()).await?;
        let pair = pair.ok_or(LineFault::NoLeader)?;
        Ok(Response::new(LeaderResponse { header: Some(replica.header(revision)), kv: Some(convert::pair(pair)) }))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    /// Who leads at this replica, and what the leader proclaims, from now on.
    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        let (request, leave, pass) = self.gate.enter(request).await.map_err(LineFault::from)?;
        let observation = Observation::new(&request.name, leave, pass);
        Ok(Response::new(Box::pin(stream::unfold(Some(observation), Observation::next))))
    }

    /// Gives the leadership up, or a place in the line. As in etcd, to resign what one does not hold succeeds.
    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        named(request.get_ref().leader.as_ref())?;
        let (request, replica) = self.gate.admit(request).await.map_err(LineFault::from)?.into_parts();
        let leader = request.leader.ok_or(LineFault::NoLeaderKey)?;
        line::session(replica, leader.lease).await?;
        let place = Place { key: leader.key, created: leader.rev };
        let (_, revision) = line::txn(replica, place.give_up(), 0).await?;
        Ok(Response::new(ResignResponse { header: Some(replica.header(revision)) }))
    }
}

async fn campaign(
    request: CampaignRequest,
    leave: Leave,
    pass: Pass,
    waiters: Arc<Waiters>,
    mut caller: Caller,
) -> Result<CampaignResponse, LineFault> {
    let replica = pass.replica();
    let CampaignRequest { name, lease, value } = request;
    let lease = line::session(replica, lease).await?;
    let (entry, revision) = line::enter(replica, &name, lease, value.clone()).await?;
    let turn = entry.turn;
    if entry.earlier.is_some_and(|earlier| earlier.value != value) {
        let bytes = turn.place().key.len() + value.len();
        let (answer, _) = line::txn(replica, turn.place().proclaim(lease, value), bytes).await?;
        if !answer.succeeded {
            return Err(LineFault::NotLeader);
        }
    }
    if !entry.is_first {
        let mut waiting = Waiting { replica, waiters: &waiters, caller: &mut caller };
        waiting.turn(&turn, || pass.holds(&leave)).await?;
        // etcd elects here even a candidate whose lease ended while it waited.
        line::still_held(replica, turn.place()).await?.ok_or(Fault::LeaseNotFound)?;
    }
    let leader = LeaderKey { name, key: turn.place().key.clone(), rev: turn.place().created, lease };
    Ok(CampaignResponse { header: Some(replica.header(revision)), leader: Some(leader) })
}

/// A call that speaks of a leader says which.
fn named(leader: Option<&LeaderKey>) -> Result<(), LineFault> {
    match leader {
        None => Err(LineFault::NoLeaderKey),
        Some(leader) if leader.key.is_empty() => Err(Fault::EmptyKey.into()),
        Some(_) => Ok(()),
    }
}
