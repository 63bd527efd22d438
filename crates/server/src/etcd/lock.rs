//! `v3lock`: locks that the server keeps for clients that cannot keep them themselves.
//!
//! They are keys and transactions of etcd's own concurrency package, so that its users and callers of this service exclude
//! one another. **A lock holds within one replica only.** At another site the same name can be locked by somebody else at the same
//! time; a lock across sites needs a home for its keys.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock};
use tombolo_storage::{Delete, KeyRange, Request as StoreRequest};
use tonic::{Request, Response, Status};

use super::{
    check,
    line::{self, Caller, Waiters, Waiting},
    status::{Fault, line::LineFault},
};
use crate::gate::{Gate, Leave, Pass};

/// etcd's `Lock`.
#[derive(Clone)]
pub(super) struct LockService {
    pub(super) gate: Gate,
    pub(super) waiters: Arc<Waiters>,
}

#[tonic::async_trait]
impl Lock for LockService {
    /// Answers when the caller holds the lock, within this replica.
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        check::size(request.get_ref(), self.gate.facts().max_request_bytes).map_err(LineFault::from)?;
        let (request, leave, pass) = self.gate.enter(request).await.map_err(LineFault::from)?;
        let waiters = Arc::clone(&self.waiters);
        Ok(Response::new(Caller::attend(|caller| lock(request, leave, pass, waiters, caller)).await?))
    }

    /// Gives the lock up, or a place in its line. As in etcd, any key is removed that the caller may remove.
    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        if request.get_ref().key.is_empty() {
            return Err(LineFault::from(Fault::EmptyKey).into());
        }
        let (request, replica) = self.gate.admit(request).await.map_err(LineFault::from)?.into_parts();
        replica.metrics.deletes.add(1);
        let removal = Delete { range: KeyRange::single(request.key), previous: false };
        let answer = replica.commit(StoreRequest::Delete(removal), 0).await;
        let answer = answer.map_err(|why| LineFault::from(Fault::from(why)))?;
        Ok(Response::new(UnlockResponse { header: Some(replica.header(answer.revision)) }))
    }
}

async fn lock(
    request: LockRequest,
    leave: Leave,
    pass: Pass,
    waiters: Arc<Waiters>,
    mut caller: Caller,
) -> Result<LockResponse, LineFault> {
    let replica = pass.replica();
    let lease = line::session(replica, request.lease).await?;
    let (entry, mut revision) = line::enter(replica, &request.name, lease, Bytes::new()).await?;
    let turn = entry.turn;
    if !entry.is_first {
        let mut waiting = Waiting { replica, waiters: &waiters, caller: &mut caller };
        waiting.turn(&turn, || pass.holds(&leave)).await?;
        // The lease may have ended meanwhile, and the place with it.
        revision = line::still_held(replica, turn.place()).await?.ok_or(LineFault::SessionExpired)?;
    }
    Ok(LockResponse { header: Some(replica.header(revision)), key: turn.place().key.clone() })
}
