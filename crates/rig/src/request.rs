//! One request of the differential rig, and one answer: a response or a refusal with its code and text.
//!
//! Some requests are compounds, so that a run stays deterministic: a lease whose time to live could run out during the
//! run, or whose id the server chose, is revoked in the same step.

use std::time::Duration;

use anyhow::{Context, Result};
use tombolo_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest,
    LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use tonic::{Response, Status};

use self::{
    auth::{AuthAnswer, AuthRequest, Sender},
    operator::{OperatorAnswer, OperatorRequest},
    session::{SessionAnswer, SessionRequest},
};
use crate::connect::Connection;

pub mod auth;
mod calls;
pub mod generate;
pub mod kv;
pub mod lease;
mod method;
pub mod operator;
pub mod session;
pub mod txn;
mod whole;
pub mod world;

/// Something to ask of two servers.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is the call of the same name")]
pub enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    /// Granted, answered, and revoked at once.
    GrantAndRevoke(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    KeepAlive(LeaseKeepAliveRequest),
    Leases,
    Auth(AuthRequest),
    Operator(OperatorRequest),
    Session(SessionRequest),
    /// The same, with the token of somebody.
    As(Sender, Box<Self>),
}

/// What a server made of a request.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the answer to the request of the same name")]
pub enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    KeepAlive(LeaseKeepAliveResponse),
    Leases(LeaseLeasesResponse),
    Auth(AuthAnswer),
    Operator(OperatorAnswer),
    Session(SessionAnswer),
    /// A gRPC error.
    Refused {
        /// Its code, by name.
        code: String,
        /// Its text, which clients compare.
        message: String,
    },
}

impl Answer {
    /// The outer header, which every response has.
    #[must_use]
    pub const fn header(&self) -> Option<&ResponseHeader> {
        match self {
            Self::Range(response) => response.header.as_ref(),
            Self::Put(response) => response.header.as_ref(),
            Self::Delete(response) => response.header.as_ref(),
            Self::Txn(response) => response.header.as_ref(),
            Self::Compact(response) => response.header.as_ref(),
            Self::Grant(response) => response.header.as_ref(),
            Self::Revoke(response) => response.header.as_ref(),
            Self::TimeToLive(response) => response.header.as_ref(),
            Self::KeepAlive(response) => response.header.as_ref(),
            Self::Leases(response) => response.header.as_ref(),
            Self::Auth(answer) => answer.header(),
            Self::Operator(answer) => answer.header(),
            Self::Session(answer) => answer.header(),
            Self::Refused { .. } => None,
        }
    }

    /// Whether it is an error.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    fn of<T>(result: Result<Response<T>, Status>, wrap: fn(T) -> Self) -> Self {
        match result {
            Ok(response) => wrap(response.into_inner()),
            Err(status) => Self::Refused { code: format!("{:?}", status.code()), message: status.message().to_owned() },
        }
    }
}

impl Request {
    /// Sends it and waits for the answer.
    ///
    /// # Errors
    ///
    /// When there is no answer, or only after ten seconds; every gRPC error is an answer.
    pub async fn send(&self, to: &mut Connection) -> Result<Answer> {
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, self.exchange(to)).await.context("no answer")?
    }

    async fn exchange(&self, to: &mut Connection) -> Result<Answer> {
        Ok(match self.clone() {
            Self::Range(request) => Answer::of(to.kv.range(to.wallet.sign(request)?).await, Answer::Range),
            Self::Put(request) => Answer::of(to.kv.put(to.wallet.sign(request)?).await, Answer::Put),
            Self::Delete(request) => Answer::of(to.kv.delete_range(to.wallet.sign(request)?).await, Answer::Delete),
            Self::Txn(request) => Answer::of(to.kv.txn(to.wallet.sign(request)?).await, Answer::Txn),
            Self::Compact(request) => Answer::of(to.kv.compact(to.wallet.sign(request)?).await, Answer::Compact),
            Self::Grant(request) => Answer::of(to.lease.lease_grant(to.wallet.sign(request)?).await, Answer::Grant),
            Self::GrantAndRevoke(request) => grant_and_revoke(request, to).await?,
            Self::Revoke(request) => Answer::of(to.lease.lease_revoke(to.wallet.sign(request)?).await, Answer::Revoke),
            Self::TimeToLive(request) => {
                Answer::of(to.lease.lease_time_to_live(to.wallet.sign(request)?).await, Answer::TimeToLive)
            }
            Self::KeepAlive(request) => keep_alive(request, to).await?,
            Self::Leases => {
                let request = to.wallet.sign(LeaseLeasesRequest {})?;
                Answer::of(to.lease.lease_leases(request).await, Answer::Leases)
            }
            Self::Auth(request) => request.exchange(to).await?,
            Self::Operator(request) => request.exchange(to).await?,
            Self::Session(request) => request.exchange(to).await?,
            Self::As(sender, request) => {
                to.wallet.show(Some(&sender));
                let answer = Box::pin(request.exchange(to)).await;
                to.wallet.show(None);
                answer?
            }
        })
    }
}

async fn grant_and_revoke(request: LeaseGrantRequest, to: &mut Connection) -> Result<Answer> {
    let request = to.wallet.sign(request)?;
    let granted = Answer::of(to.lease.lease_grant(request).await, Answer::Grant);
    if let Answer::Grant(response) = &granted {
        let revoke = LeaseRevokeRequest { id: response.id };
        to.lease.lease_revoke(to.wallet.sign(revoke)?).await.context("revoke the lease just granted")?;
    }
    Ok(granted)
}

async fn keep_alive(request: LeaseKeepAliveRequest, to: &mut Connection) -> Result<Answer> {
    let mut stream = match to.lease.lease_keep_alive(to.wallet.sign(tokio_stream::once(request))?).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(Answer::of(Err(status), Answer::KeepAlive)),
    };
    match stream.message().await {
        Ok(response) => Ok(Answer::KeepAlive(response.context("a keep-alive without an answer")?)),
        Err(status) => Ok(Answer::of(Err(status), Answer::KeepAlive)),
    }
}
