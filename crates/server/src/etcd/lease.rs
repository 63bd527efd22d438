//! `Lease`: granting and revoking go through the committer; remaining time is counted at a lease's home alone.
//!
//! What concerns a lease of another site is done there and answered from there, and refused while that site is out of reach: an answer
//! from here would be a guess. The keys of a lease are those that are on show here, at the revision of the answer's header.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tombolo_crdt::ReplicaId;
use tombolo_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, lease_server::Lease,
};
use tombolo_site::{TimeToLive, admit_ttl};
use tombolo_storage::{Outcome, Request as StoreRequest, RequestError};
use tonic::{Request, Response, Status, Streaming};

use self::keep_alives::KeepAlives;
use super::{kv::mismatched, status::Fault};
use crate::{
    committer::Refusal,
    mesh::errands::{self, Errand, ErrandError, Word},
    replica::Replica,
};

mod keep_alives;

/// etcd's `Lease`.
#[derive(Clone)]
pub(super) struct LeaseService(pub(super) Arc<Replica>);

impl LeaseService {
    /// The keys of a lease; `None` when it has just ended.
    async fn keys(&self, id: i64) -> Result<Option<Vec<bytes::Bytes>>, Fault> {
        match self.0.commit(StoreRequest::LeaseKeys { id }, 0).await {
            Ok(answer) => match answer.outcome {
                Outcome::LeaseKeys(keys) => Ok(Some(keys)),
                _ => Err(mismatched()),
            },
            Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseNotFound { .. }) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// The home of a lease, when that is another replica.
    fn home_elsewhere(&self, id: i64) -> Option<ReplicaId> {
        self.0.store.lease_home(id).filter(|home| *home != self.0.mesh.own())
    }

    /// Has the lease's home do something.
    async fn at_home(&self, home: ReplicaId, id: i64, errand: Errand) -> Result<Word, Fault> {
        errands::run(&self.0.mesh, home, errand).await.map_err(|why| self.out_of_reach(home, id, why))
    }

    fn out_of_reach(&self, home: ReplicaId, id: i64, why: ErrandError) -> Fault {
        Fault::LeaseElsewhere { id, home: self.0.mesh.call(home), why: why.to_string() }
    }

    /// Ends a lease of another site, and returns when that is so here too.
    async fn revoke_elsewhere(&self, home: ReplicaId, id: i64) -> Result<(), Fault> {
        let seen = errands::unknown_to(&self.0.mesh, home);
        match self.at_home(home, id, Errand::Revoke { id, seen }).await? {
            Word::Revoked { seq } => {
                let arrived = errands::arrived(&self.0.mesh, home, seq).await;
                arrived.map_err(|why| self.out_of_reach(home, id, why))
            }
            Word::Gone => Err(Fault::LeaseNotFound),
            _ => Err(mismatched()),
        }
    }

    /// The time of a lease, wherever it is counted; `None` when there is no such lease.
    async fn time(&self, id: i64) -> Result<Option<TimeToLive>, Fault> {
        if let Some(time) = self.0.leases.time_to_live(id) {
            return Ok(Some(time));
        }
        let Some(home) = self.home_elsewhere(id) else { return Ok(None) };
        match self.at_home(home, id, Errand::TimeToLive { id }).await? {
            Word::Left { remaining_s, granted_s } => Ok(Some(TimeToLive { remaining_s, granted_s })),
            Word::Gone => Ok(None),
            _ => Err(mismatched()),
        }
    }

    /// Has the home of a lease start its time again.
    async fn renew_elsewhere(&self, home: ReplicaId, id: i64) -> Result<LeaseKeepAliveResponse, Fault> {
        // The header comes first: it must not speak of a revision later than the renewal.
        let header = self.0.header_now();
        let ttl = match self.at_home(home, id, Errand::Renew { id }).await? {
            Word::Renewed { ttl_s } => ttl_s,
            Word::Gone => 0,
            _ => return Err(mismatched()),
        };
        Ok(LeaseKeepAliveResponse { header: Some(header), id, ttl })
    }
}

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        let LeaseGrantRequest { ttl, id: asked } = request.into_inner();
        let ttl_s = admit_ttl(ttl).map_err(|_| Fault::LeaseTtlTooLarge)?;
        loop {
            let id = if asked == 0 { random_id()? } else { asked };
            match self.0.commit(StoreRequest::LeaseGrant { id, ttl_s }, 0).await {
                Ok(answer) => {
                    let header = Some(self.0.header(answer.revision));
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
        let id = request.into_inner().id;
        if let Some(home) = self.home_elsewhere(id) {
            self.revoke_elsewhere(home, id).await?;
            return Ok(Response::new(LeaseRevokeResponse { header: Some(self.0.header_now()) }));
        }
        let answer = self.0.commit(StoreRequest::LeaseRevoke { id }, 0).await.map_err(Fault::from)?;
        Ok(Response::new(LeaseRevokeResponse { header: Some(self.0.header(answer.revision)) }))
    }

    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let session = KeepAlives::new(self.clone(), request.into_inner());
        Ok(Response::new(Box::pin(stream::unfold(Some(session), KeepAlives::next))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let LeaseTimeToLiveRequest { id, keys: with_keys } = request.into_inner();
        let gone = |header| LeaseTimeToLiveResponse { header: Some(header), id, ttl: -1, ..Default::default() };
        let Some(time) = self.time(id).await? else { return Ok(Response::new(gone(self.0.header_now()))) };
        let keys = if with_keys { self.keys(id).await? } else { Some(Vec::new()) };
        let header = self.0.header_now();
        let Some(keys) = keys else { return Ok(Response::new(gone(header))) };
        let (ttl, granted_ttl) = (time.remaining_s, time.granted_s);
        Ok(Response::new(LeaseTimeToLiveResponse { header: Some(header), id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(&self, _: Request<LeaseLeasesRequest>) -> Result<Response<LeaseLeasesResponse>, Status> {
        let leases = self.0.leases.ids().into_iter().map(|id| LeaseStatus { id }).collect();
        Ok(Response::new(LeaseLeasesResponse { header: Some(self.0.header_now()), leases }))
    }
}

/// A positive number that nobody has chosen before.
fn random_id() -> Result<i64, Fault> {
    let bits = getrandom::u64().map_err(|why| Fault::Internal { what: format!("no randomness: {why}") })?;
    Ok(i64::try_from(bits >> 1).unwrap_or(i64::MAX).max(1))
}
