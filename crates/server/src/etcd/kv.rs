//! `KV`: ranges are answered from what is published, everything else goes through the committer.

use tombolo_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse, kv_server::Kv,
};
use tombolo_storage::{Answer, Outcome, Request as StoreRequest};
use tonic::{Request, Response, Status};

use super::{check, convert, status::Fault, txn};
use crate::{gate::Gate, replica::Replica};

/// etcd's `KV`.
#[derive(Clone)]
pub(crate) struct KvService(pub(super) Gate);

async fn commit(replica: &Replica, request: StoreRequest, bytes: usize) -> Result<Answer, Fault> {
    Ok(replica.commit(request, bytes).await?)
}

/// An answer of another kind than its request would be a fault of ours, which must not take the server down.
pub(super) fn mismatched() -> Fault {
    Fault::Internal { what: "the store answered another request".to_owned() }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        check::range(request.get_ref())?;
        let (request, replica) = self.0.admit(request).await?.into_parts();
        replica.metrics.ranges.add(1);
        let (query, finish) = convert::range(request);
        let answer = replica.reads.range(query).await.map_err(|why| Fault::from(&why))?;
        let header = replica.header(answer.revision);
        Ok(Response::new(convert::range_response(header, answer, finish)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        check::put(request.get_ref())?;
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let bytes = check::size(&request, replica.facts.max_request_bytes)?;
        replica.metrics.puts.add(1);
        let answer = commit(replica, StoreRequest::Put(convert::put(request)), bytes).await?;
        let Outcome::Put(put) = answer.outcome else { return Err(mismatched().into()) };
        Ok(Response::new(convert::put_response(replica.header(answer.revision), put)))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        check::delete(request.get_ref())?;
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let bytes = check::size(&request, replica.facts.max_request_bytes)?;
        replica.metrics.deletes.add(1);
        let answer = commit(replica, StoreRequest::Delete(convert::delete(request)), bytes).await?;
        let Outcome::Delete(delete) = answer.outcome else { return Err(mismatched().into()) };
        Ok(Response::new(convert::delete_response(replica.header(answer.revision), delete)))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        check::txn(request.get_ref(), self.0.facts().max_txn_ops)?;
        check::overlaps(request.get_ref())?;
        let (request, replica) = self.0.admit(request).await?.into_parts();
        // As in etcd, a transaction that writes nothing has no size.
        let bytes_max = if txn::is_readonly(&request) { usize::MAX } else { replica.facts.max_request_bytes };
        let bytes = check::size(&request, bytes_max)?;
        replica.metrics.txns.add(1);
        let (transaction, shape) = txn::transaction(request);
        let answer = commit(replica, StoreRequest::Txn(transaction), bytes).await?;
        let Outcome::Txn(txn) = answer.outcome else { return Err(mismatched().into()) };
        Ok(Response::new(txn::response(replica.header(answer.revision), txn, shape)))
    }

    /// The answer does not wait for the disk work, also when `physical` asks for that: what was compacted is out of reach at once.
    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        let (CompactionRequest { revision, .. }, replica) = self.0.admit(request).await?.into_parts();
        let answer = commit(replica, StoreRequest::Compact { revision }, 0).await?;
        Ok(Response::new(CompactionResponse { header: Some(replica.header(answer.revision)) }))
    }
}
