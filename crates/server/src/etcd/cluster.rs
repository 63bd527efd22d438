//! `Cluster`: this replica alone. It is told to no client that it could talk to another site by accident, and nobody joins through here.

use std::sync::Arc;

use tombolo_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
    cluster_server::Cluster,
};
use tonic::{Request, Response, Status};

use super::status::Fault;
use crate::replica::Replica;

/// etcd's `Cluster`.
#[derive(Clone)]
pub(super) struct ClusterService(pub(super) Arc<Replica>);

impl ClusterService {
    fn own(&self) -> Member {
        let facts = &self.0.facts;
        Member {
            id: self.0.member_id(),
            name: facts.name.clone(),
            peer_ur_ls: facts.peer_urls.clone(),
            client_ur_ls: facts.client_urls.clone(),
            is_learner: false,
        }
    }

    /// `fault` when the request names this replica; it is not found otherwise.
    fn if_own(&self, id: u64, fault: Fault) -> Fault {
        if id == self.0.member_id() { fault } else { Fault::MemberNotFound }
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, _: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        Ok(Response::new(MemberListResponse { header: Some(self.0.header_now()), members: vec![self.own()] }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        let urls = request.into_inner().peer_ur_ls;
        let sound =
            !urls.is_empty() && urls.iter().all(|url| url.starts_with("http://") || url.starts_with("https://"));
        Err(if sound { Fault::JoinsByInvitation } else { Fault::MemberBadUrls }.into())
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(self.if_own(request.into_inner().id, Fault::MemberNotEnoughStarted).into())
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let fault = Fault::NotServed { what: "changing a member's URLs (use --initial-advertise-peer-urls)" };
        Err(self.if_own(request.into_inner().id, fault).into())
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(self.if_own(request.into_inner().id, Fault::MemberNotLearner).into())
    }
}
