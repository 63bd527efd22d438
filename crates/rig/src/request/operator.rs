//! The calls of etcd's `Cluster` and `Maintenance`, but for those that answer with a stream.
//!
//! Two servers have other ids and addresses. A request says [`OWN`] where it means the member that is asked, and [`OWN_URL`] for the address at which
//! that one is found by others; each is filled in when the request is sent.

use anyhow::{Context, Result};
use tombolo_proto::{
    Method,
    etcdserverpb::{
        AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse,
        HashKvRequest, HashKvResponse, HashRequest, HashResponse, MemberAddRequest, MemberAddResponse,
        MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
        MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse, MoveLeaderRequest, MoveLeaderResponse,
        ResponseHeader, StatusRequest, StatusResponse,
    },
};

use super::{Answer, calls::calls};
use crate::connect::Connection;

pub(super) mod generate;

/// The id that stands for the member that is asked.
pub const OWN: u64 = u64::MAX;
/// What stands for the URL at which other members find the one that is asked.
pub const OWN_URL: &str = "own";

/// Who a server is among others.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Its id.
    pub id: u64,
    /// Where others find it.
    pub peer_url: String,
}

calls! {
    "`Cluster` or `Maintenance`", OperatorRequest, OperatorAnswer, Operator;
    MemberList, MemberListRequest, MemberListResponse, cluster, member_list, ClusterMemberList;
    MemberAdd, MemberAddRequest, MemberAddResponse, cluster, member_add, ClusterMemberAdd;
    MemberRemove, MemberRemoveRequest, MemberRemoveResponse, cluster, member_remove, ClusterMemberRemove;
    MemberUpdate, MemberUpdateRequest, MemberUpdateResponse, cluster, member_update, ClusterMemberUpdate;
    MemberPromote, MemberPromoteRequest, MemberPromoteResponse, cluster, member_promote, ClusterMemberPromote;
    Alarm, AlarmRequest, AlarmResponse, maintenance, alarm, MaintenanceAlarm;
    Status, StatusRequest, StatusResponse, maintenance, status, MaintenanceStatus;
    Defragment, DefragmentRequest, DefragmentResponse, maintenance, defragment, MaintenanceDefragment;
    Hash, HashRequest, HashResponse, maintenance, hash, MaintenanceHash;
    HashKv, HashKvRequest, HashKvResponse, maintenance, hash_kv, MaintenanceHashKv;
    MoveLeader, MoveLeaderRequest, MoveLeaderResponse, maintenance, move_leader, MaintenanceMoveLeader;
    Downgrade, DowngradeRequest, DowngradeResponse, maintenance, downgrade, MaintenanceDowngrade;
}

impl OperatorRequest {
    pub(super) async fn exchange(self, to: &mut Connection) -> Result<Answer> {
        let own = to.identity.id;
        let mut answer = self.addressed(&to.identity.clone()).call(to).await?;
        if let Answer::Operator(OperatorAnswer::Alarm(response)) = &mut answer {
            // This answer has no header to tell whose the ids are.
            response.alarms.iter_mut().filter(|alarm| alarm.member_id == own).for_each(|alarm| alarm.member_id = OWN);
        }
        Ok(answer)
    }

    /// The request for one server.
    fn addressed(mut self, identity: &Identity) -> Self {
        let fill_id = |id: &mut u64| *id = if *id == OWN { identity.id } else { *id };
        let fill_urls = |urls: &mut Vec<String>| {
            for url in urls.iter_mut().filter(|url| *url == OWN_URL) {
                url.clone_from(&identity.peer_url);
            }
        };
        match &mut self {
            Self::MemberAdd(request) => fill_urls(&mut request.peer_ur_ls),
            Self::MemberRemove(request) => fill_id(&mut request.id),
            Self::MemberPromote(request) => fill_id(&mut request.id),
            Self::MemberUpdate(request) => {
                fill_id(&mut request.id);
                fill_urls(&mut request.peer_ur_ls);
            }
            Self::Alarm(request) => fill_id(&mut request.member_id),
            Self::MoveLeader(request) => fill_id(&mut request.target_id),
            Self::MemberList(_)
            | Self::Status(_)
            | Self::Defragment(_)
            | Self::Hash(_)
            | Self::HashKv(_)
            | Self::Downgrade(_) => (),
        }
        self
    }
}

impl Connection {
    /// Asks the server who it is, for requests that name it. Nobody must have been made to log in yet.
    ///
    /// # Errors
    ///
    /// When it does not say.
    pub async fn introduce(&mut self) -> Result<()> {
        let list = self.cluster.member_list(MemberListRequest { linearizable: true }).await?.into_inner();
        let own = list.members.into_iter().next().context("a server is a member")?;
        self.identity = Identity { id: own.id, peer_url: own.peer_ur_ls.into_iter().next().unwrap_or_default() };
        Ok(())
    }
}
