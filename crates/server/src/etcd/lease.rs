//! `Lease`: granting and revoking go through the committer; remaining time is counted at a lease's home alone.
//!
//! What concerns a lease of another site is done there and answered from there, and refused while that site is out of reach: an answer
//! from here would be a guess. The keys of a lease are those that are on show here, at the revision of the answer's header.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tombolo_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, lease_server::Lease,
};
use tombolo_site::admit_ttl;
use tombolo_storage::{Answer, Request as StoreRequest, RequestError};
use tonic::{Request, Response, Status, Streaming};

use self::{homes::Homes, keep_alives::KeepAlives};
use super::status::Fault;
use crate::{
    committer::Refusal,
    gate::{Gate, KeysDecided, KeysTold, Pass},
};

mod homes;
mod keep_alives;

/// etcd's `Lease`.
#[derive(Clone)]
pub(super) struct LeaseService(pub(super) Gate);

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        let (LeaseGrantRequest { ttl, id: asked }, replica) = self.0.admit(request).await?.into_parts();
        // A time that is too long is refused by the store, which says first, as etcd, that it is full if it is.
        let ttl_s = admit_ttl(ttl).unwrap_or(ttl);
        loop {
            let id = if asked == 0 { random_id()? } else { asked };
            match replica.commit(StoreRequest::LeaseGrant { id, ttl_s }, 0).await {
                Ok(answer) => {
                    let header = Some(replica.header(answer.revision));
                    return Ok(Response::new(LeaseGrantResponse { header, id, ttl: ttl_s, error: String::new() }));
                }
                // Two random ids may meet, once in a very long time.
                Err(Refusal::Request(why)) if asked == 0 && matches!(*why, RequestError::LeaseExists { .. }) => {}
                Err(why) => return Err(Fault::from(why).into()),
            }
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let (LeaseRevokeRequest { id }, _, pass) = self.0.enter(request).await?;
        let replica = pass.replica();
        let homes = Homes(Arc::clone(replica));
        if let Some(home) = homes.home_elsewhere(id) {
            homes.revoke_elsewhere(home, id).await?;
            return Ok(Response::new(LeaseRevokeResponse { header: Some(replica.header_now()) }));
        }
        let answer = revoke(&pass, id).await?;
        Ok(Response::new(LeaseRevokeResponse { header: Some(replica.header(answer.revision)) }))
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (requests, pass) = self.0.open(request).await?;
        let session = KeepAlives::new(pass, requests);
        Ok(Response::new(Box::pin(stream::unfold(Some(session), KeepAlives::next))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let (LeaseTimeToLiveRequest { id, keys: with_keys }, _, pass) = self.0.enter(request).await?;
        let replica = pass.replica();
        let homes = Homes(Arc::clone(replica));
        let gone = |header| LeaseTimeToLiveResponse { header: Some(header), id, ttl: -1, ..Default::default() };
        let Some(time) = homes.time(id).await? else { return Ok(Response::new(gone(replica.header_now()))) };
        let keys = if with_keys { homes.keys(id).await? } else { Some(Vec::new()) };
        let header = replica.header_now();
        let Some(keys) = keys else { return Ok(Response::new(gone(header))) };
        pass.permits(&KeysTold(&keys)).await?;
        let (ttl, granted_ttl) = (time.remaining_s, time.granted_s);
        Ok(Response::new(LeaseTimeToLiveResponse { header: Some(header), id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let leases = replica.leases.ids().into_iter().map(|id| LeaseStatus { id }).collect();
        Ok(Response::new(LeaseLeasesResponse { header: Some(replica.header_now()), leases }))
    }
}

/// Ends a lease of this replica with exactly the keys that its sender may remove: what somebody attaches meanwhile is judged, too, before it goes.
async fn revoke(pass: &Pass, id: i64) -> Result<Answer, Fault> {
    let replica = pass.replica();
    if !replica.policy.is_enabled() {
        return Ok(replica.commit(StoreRequest::LeaseRevoke { id }, 0).await?);
    }
    loop {
        let keys = replica.store.lease_keys(id);
        pass.permits(&KeysDecided(&keys)).await?;
        match replica.commit(StoreRequest::LeaseRevokeOf { id, keys }, 0).await {
            Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseHoldsOthers { .. }) => {}
            answer => return Ok(answer?),
        }
    }
}

/// A positive number that nobody has chosen before.
pub(super) fn random_id() -> Result<i64, Fault> {
    let bits = getrandom::u64().map_err(|why| Fault::Internal { what: format!("no randomness: {why}") })?;
    Ok(i64::try_from(bits >> 1).unwrap_or(i64::MAX).max(1))
}
