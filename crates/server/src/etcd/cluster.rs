//! `Cluster`: this replica alone. It is told to no client that it could talk to another site by accident, and nobody joins through here.
//! Who is removed through here is out of the mesh.
//!
//! Other sites of the mesh are found by their ids all the same, so that a tool is told why it cannot do something rather than that there is no
//! such member. As in etcd, headers here carry no revision.

use tombolo_crdt::ReplicaId;
use tombolo_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
    ResponseHeader, cluster_server::Cluster,
};
use tonic::{Request, Response, Status};

use super::status::{Fault, OperatorFault};
use crate::{
    gate::Gate,
    mesh::states::{self, StateError},
    replica::Replica,
};

mod urls;

/// etcd's `Cluster`.
#[derive(Clone)]
pub(super) struct ClusterService(pub(super) Gate);

/// Whom a request names.
enum Named {
    Own,
    /// Another site of the mesh.
    Other,
}

fn named(replica: &Replica, id: u64) -> Result<Named, Fault> {
    let roster = replica.mesh.roster();
    let is_member = || ReplicaId::new(id).is_some_and(|id| roster.present().any(|member| member.replica() == id));
    match () {
        () if id == replica.member_id() => Ok(Named::Own),
        () if is_member() => Ok(Named::Other),
        () => Err(OperatorFault::MemberNotFound.into()),
    }
}

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

fn header(replica: &Replica) -> ResponseHeader {
    ResponseHeader { revision: 0, ..replica.header_now() }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        // There is nobody whom a linearizable answer would have to ask.
        let (_, replica) = self.0.admit(request).await?.into_parts();
        Ok(Response::new(MemberListResponse { header: Some(header(replica)), members: vec![own(replica)] }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        if !urls::are_sound(&request.get_ref().peer_ur_ls) {
            return Err(Fault::from(OperatorFault::MemberBadUrls).into());
        }
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let is_own = |url: &String| replica.facts.peer_urls.iter().any(|own| own == url.trim());
        let fault = match request.peer_ur_ls.iter().any(is_own) {
            true => OperatorFault::PeerUrlExists,
            false => OperatorFault::JoinsByInvitation,
        };
        Err(Fault::from(fault).into())
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        named(replica, request.id)?;
        let member = ReplicaId::new(request.id).ok_or(Fault::from(OperatorFault::MemberNotFound))?;
        match states::remove(replica, member).await {
            Ok(()) => {
                Ok(Response::new(MemberRemoveResponse { header: Some(header(replica)), members: vec![own(replica)] }))
            }
            // Whoever never invited anybody is no member on record.
            Err(StateError::Only { .. } | StateError::NotFound { .. }) => {
                Err(Fault::from(OperatorFault::MemberNotEnoughStarted).into())
            }
            Err(why) => Err(Fault::from(why).into()),
        }
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        match named(replica, request.id)? {
            Named::Own if request.peer_ur_ls == replica.facts.peer_urls => {
                Ok(Response::new(MemberUpdateResponse { header: Some(header(replica)), members: vec![own(replica)] }))
            }
            Named::Own | Named::Other => Err(Fault::from(OperatorFault::AnnouncesItself).into()),
        }
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        named(replica, request.id)?;
        Err(Fault::from(OperatorFault::MemberNotLearner).into())
    }
}
