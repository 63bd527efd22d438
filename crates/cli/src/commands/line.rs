//! What `lock` and `elect` have in common: a lease that is kept alive, and a place in the line of all who want the same.
//!
//! They keep the keys that etcd's own concurrency package keeps, so that its users, other command lines and the server's own lock and
//! election services are in line together. Who is first has the turn; the others wait for the one directly ahead.

use bytes::Bytes;
use tombolo_client::prefix_end;
use tombolo_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest,
        WatchCreateRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
        watch_create_request::FilterType,
    },
    mvccpb::KeyValue,
};

pub(super) use self::{following::Following, session::Session, signals::Signals};
use crate::{
    context::Context,
    exit::{Exit, Failure},
};

mod following;
mod session;
mod signals;

/// A place in a line.
#[derive(Debug)]
pub(super) struct Place {
    line: Bytes,
    pub(super) key: Bytes,
    created: i64,
    /// Whether nobody was ahead on entering, and the head of the answer that said so.
    pub(super) first: Option<ResponseHeader>,
}

impl Place {
    /// Enters the line of `name`.
    pub(super) async fn enter(context: &Context, name: &str, lease: i64, value: &str) -> Result<Self, Failure> {
        let line = Bytes::from(format!("{name}/"));
        let key = Bytes::from(format!("{name}/{lease:x}"));
        let put = PutRequest { key: key.clone(), value: value.to_owned().into(), lease, ..Default::default() };
        let read = RangeRequest { key: key.clone(), ..Default::default() };
        let first = Request::RequestRange(first_of(line.clone()));
        let request = TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: [Request::RequestPut(put), first.clone()].map(op).into(),
            failure: [Request::RequestRange(read), first].map(op).into(),
        };
        let answer = context.call(context.client.kv().txn(request)).await?;
        let header = answer.header.unwrap_or_default();
        let mut pairs = answer.responses.into_iter().map(|answer| match answer.response {
            Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        let (own, first) = (pairs.next().flatten(), pairs.next().flatten());
        let created = own.map_or(header.revision, |own| own.create_revision);
        let is_first = first.is_none_or(|first| first.create_revision == created);
        Ok(Self { line, key, created, first: is_first.then_some(header) })
    }

    /// Waits until nobody is ahead.
    pub(super) async fn wait(&self, context: &Context) -> Result<(), Failure> {
        loop {
            let ahead = RangeRequest {
                max_create_revision: self.created - 1,
                sort_order: SortOrder::Descend.into(),
                ..first_of(self.line.clone())
            };
            let answer = context.call(context.client.kv().range(ahead)).await?;
            let Some(ahead) = answer.kvs.into_iter().next() else { return Ok(()) };
            let departure = WatchCreateRequest {
                key: ahead.key,
                start_revision: answer.header.unwrap_or_default().revision + 1,
                filters: vec![FilterType::Noput.into()],
                ..Default::default()
            };
            Following::new(context, departure).next().await?;
        }
    }

    /// The answer that shows this place, if it is held still.
    pub(super) async fn read(&self, context: &Context) -> Result<RangeResponse, Failure> {
        context.call(context.client.kv().range(RangeRequest { key: self.key.clone(), ..Default::default() })).await
    }

    /// Leaves the line.
    pub(super) async fn leave(&self, context: &Context) -> Result<(), Failure> {
        let remove = DeleteRangeRequest { key: self.key.clone(), ..Default::default() };
        let request = TxnRequest {
            compare: vec![created_at(self.key.clone(), self.created)],
            success: vec![op(Request::RequestDeleteRange(remove))],
            failure: Vec::new(),
        };
        context.call(context.client.kv().txn(request)).await.map(drop)
    }

    /// Waits for the turn, and leaves the line when that fails or is not wanted any more.
    pub(super) async fn turn(&self, context: &Context, signals: &mut Signals) -> Result<(), Failure> {
        if self.first.is_some() {
            return Ok(());
        }
        let waited = tokio::select! {
            waited = self.wait(context) => waited,
            () = signals.wanted() => Err(Failure::new(Exit::Error, "context canceled")),
        };
        if waited.is_err() {
            // The lease's end does what cannot be done now.
            let _ = self.leave(context).await;
        }
        waited
    }
}

/// Asks who is first in a line.
pub(super) fn first_of(line: Bytes) -> RangeRequest {
    RangeRequest {
        range_end: prefix_end(&line),
        key: line,
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..Default::default()
    }
}

/// The pair that a read of a single key found.
pub(super) fn found(answer: &RangeResponse) -> Option<&KeyValue> {
    answer.kvs.first()
}

fn created_at(key: Bytes, revision: i64) -> Compare {
    Compare {
        key,
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}
