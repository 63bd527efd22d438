//! `Cluster`: this replica alone. It is told to no client that it could talk to another site by accident, and nobody joins through here.

use tombolo_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
    cluster_server::Cluster,
};
use tonic::{Request, Response, Status};

use super::status::Fault;
use crate::{gate::Gate, replica::Replica};

/// etcd's `Cluster`.
#[derive(Clone)]
pub(super) struct ClusterService(pub(super) Gate);

fn own(replica: &Replica) -> Member {
    let facts = &replica.facts;
    Member {
        id: replica.member_id(),
        name: facts.name.clone(),
        peer_ur_ls: facts.peer_urls.clone(),
        client_ur_ls: facts.client_urls.clone(),
        is_learner: false,
    }
}

/// `fault` when the request names this replica; it is not found otherwise.
fn if_own(replica: &Replica, id: u64, fault: Fault) -> Fault {
    if id == replica.member_id() { fault } else { Fault::MemberNotFound }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        Ok(Response::new(MemberListResponse { header: Some(replica.header_now()), members: vec![own(replica)] }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        let urls = &request.get_ref().peer_ur_ls;
        if urls.is_empty() || !urls.iter().all(|url| url.starts_with("http://") || url.starts_with("https://")) {
            return Err(Fault::MemberBadUrls.into());
        }
        self.0.admit(request).await?;
        Err(Fault::JoinsByInvitation.into())
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        Err(if_own(replica, request.id, Fault::MemberNotEnoughStarted).into())
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let fault = Fault::NotServed { what: "changing a member's URLs (use --initial-advertise-peer-urls)" };
        let (request, replica) = self.0.admit(request).await?.into_parts();
        Err(if_own(replica, request.id, fault).into())
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        Err(if_own(replica, request.id, Fault::MemberNotLearner).into())
    }
}
