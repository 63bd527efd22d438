//! `KV`: ranges are answered from what is published, everything else goes through the committer.

use std::sync::Arc;

use tombolo_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse, kv_server::Kv,
};
use tombolo_storage::{Answer, Outcome, Request as StoreRequest};
use tonic::{Request, Response, Status};

use super::{check, convert, status::Fault, txn};
use crate::replica::Replica;

/// etcd's `KV`.
#[derive(Clone)]
pub(crate) struct KvService(Arc<Replica>);

impl KvService {
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        Self(replica)
    }

    async fn commit(&self, request: StoreRequest, bytes: usize) -> Result<Answer, Fault> {
        Ok(self.0.commit(request, bytes).await?)
    }
}

/// An answer of another kind than its request would be a fault of ours, which must not take the server down.
pub(super) fn mismatched() -> Fault {
    Fault::Internal { what: "the store answered another request".to_owned() }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        check::range(&request)?;
        self.0.metrics.ranges.add(1);
        let (query, finish) = convert::range(request);
        let answer = self.0.reads.range(query).await.map_err(|why| Fault::from(&why))?;
        let header = self.0.header(answer.revision);
        Ok(Response::new(convert::range_response(header, answer, finish)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        check::put(&request)?;
        let bytes = check::size(&request, self.0.facts.max_request_bytes)?;
        self.0.metrics.puts.add(1);
        let answer = self.commit(StoreRequest::Put(convert::put(request)), bytes).await?;
        let Outcome::Put(put) = answer.outcome else { return Err(mismatched().into()) };
        Ok(Response::new(convert::put_response(self.0.header(answer.revision), put)))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        check::delete(&request)?;
        let bytes = check::size(&request, self.0.facts.max_request_bytes)?;
        self.0.metrics.deletes.add(1);
        let answer = self.commit(StoreRequest::Delete(convert::delete(request)), bytes).await?;
        let Outcome::Delete(delete) = answer.outcome else { return Err(mismatched().into()) };
        Ok(Response::new(convert::delete_response(self.0.header(answer.revision), delete)))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_inner();
        check::txn(&request, self.0.facts.max_txn_ops)?;
        check::overlaps(&request)?;
        // As in etcd, a transaction that writes nothing has no size.
        let bytes_max = if txn::is_readonly(&request) { usize::MAX } else { self.0.facts.max_request_bytes };
        let bytes = check::size(&request, bytes_max)?;
        self.0.metrics.txns.add(1);
        let (transaction, shape) = txn::transaction(request);
        let answer = self.commit(StoreRequest::Txn(transaction), bytes).await?;
        let Outcome::Txn(txn) = answer.outcome else { return Err(mismatched().into()) };
        Ok(Response::new(txn::response(self.0.header(answer.revision), txn, shape)))
    }

    /// The answer does not wait for the disk work, also when `physical` asks for that: what was compacted is out of reach at once.
    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        let revision = request.into_inner().revision;
        let answer = self.commit(StoreRequest::Compact { revision }, 0).await?;
        Ok(Response::new(CompactionResponse { header: Some(self.0.header(answer.revision)) }))
    }
}
