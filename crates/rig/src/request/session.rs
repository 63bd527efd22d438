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
        ResignRequest, ResignResponse, election_client::ElectionClient,
    },
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_client::LockClient},
};

use super::Answer;
use crate::connect::Connection;

pub(super) mod generate;

macro_rules! calls {
    ($($name:ident, $request:ident, $response:ident, $client:ident, $call:ident, $method:ident;)*) => {
        /// A call of `Lock` or `Election`.
        #[derive(Clone, Debug)]
        #[expect(missing_docs, reason = "each variant is the call of the same name")]
        pub enum SessionRequest {
            $($name($request),)*
        }

        /// The answer to a call of `Lock` or `Election` that was not refused.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each variant is the answer to the call of the same name")]
        pub enum SessionAnswer {
            $($name($response),)*
        }

        impl SessionAnswer {
            /// The header, which every answer has.
            #[must_use]
            pub const fn header(&self) -> Option<&ResponseHeader> {
                match self {
                    $(Self::$name(response) => response.header.as_ref(),)*
                }
            }

            /// The header, to be changed.
            pub const fn header_mut(&mut self) -> &mut Option<ResponseHeader> {
                match self {
                    $(Self::$name(response) => &mut response.header,)*
                }
            }
        }

        impl SessionRequest {
            /// Which call it is.
            #[must_use]
            pub const fn method(&self) -> Method {
                match self {
                    $(Self::$name(_) => Method::$method,)*
                }
            }

            async fn call(self, to: &mut Connection) -> Result<Answer> {
                Ok(match self {
                    $(Self::$name(message) => {
                        let request = to.wallet.sign(message)?;
                        let wrap = |answer| Answer::Session(SessionAnswer::$name(answer));
                        Answer::of($client::new(to.channel.clone()).$call(request).await, wrap)
                    })*
                })
            }
        }
    };
}

calls! {
    Lock, LockRequest, LockResponse, LockClient, lock, Lock;
    Unlock, UnlockRequest, UnlockResponse, LockClient, unlock, LockUnlock;
    Campaign, CampaignRequest, CampaignResponse, ElectionClient, campaign, ElectionCampaign;
    Leader, LeaderRequest, LeaderResponse, ElectionClient, leader, ElectionLeader;
    Proclaim, ProclaimRequest, ProclaimResponse, ElectionClient, proclaim, ElectionProclaim;
    Resign, ResignRequest, ResignResponse, ElectionClient, resign, ElectionResign;
}

impl SessionRequest {
    pub(super) async fn exchange(self, to: &mut Connection) -> Result<Answer> {
        self.call(to).await
    }
}
