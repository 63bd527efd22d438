//! The calls of etcd's `Lock` and `Election`, but for the one that answers with a stream.
//!
//! No call waits for somebody: a name that is held is asked for with its holder's lease alone. And none leaves it to the server to find a lease, whose id
//! would be in the key, and in the hash of every revision after it.

use anyhow::Result;
use tombolo_proto::{
    Method,
    etcdserverpb::ResponseHeader,
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse,
        ResignRequest, ResignResponse,
    },
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse},
};

use super::{Answer, calls::calls};
use crate::connect::Connection;

pub(super) mod generate;

calls! {
    "`Lock` or `Election`", SessionRequest, SessionAnswer, Session;
    Lock, LockRequest, LockResponse, lock, lock, Lock;
    Unlock, UnlockRequest, UnlockResponse, lock, unlock, LockUnlock;
    Campaign, CampaignRequest, CampaignResponse, election, campaign, ElectionCampaign;
    Leader, LeaderRequest, LeaderResponse, election, leader, ElectionLeader;
    Proclaim, ProclaimRequest, ProclaimResponse, election, proclaim, ElectionProclaim;
    Resign, ResignRequest, ResignResponse, election, resign, ElectionResign;
}

impl SessionRequest {
    pub(super) async fn exchange(self, to: &mut Connection) -> Result<Answer> {
        self.call(to).await
    }
}
