//! `Maintenance`: what tools ask about a server's state. What would need more than one replica says so in etcd's words.

use std::pin::Pin;

use futures_util::Stream;
use tombolo_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
    maintenance_server::Maintenance,
};
use tombolo_storage::Health;
use tonic::{Request, Response, Status};

use super::{VERSION, status::Fault};
use crate::{
    gate::Gate,
    replica::{RAFT_TERM, Replica},
};

/// etcd's `Maintenance`.
#[derive(Clone)]
pub(super) struct MaintenanceService(pub(super) Gate);

/// The alarms of a kind, or all for `AlarmType::None`. They begin and end with what they tell of.
fn alarms(replica: &Replica, kind: AlarmType) -> Vec<AlarmMember> {
    let raised = [
        (AlarmType::Nospace, replica.store.health() == Health::NoSpace),
        (AlarmType::Corrupt, replica.mesh.disputes().contains("CORRUPT")),
    ];
    let asked = raised.into_iter().filter(|(found, is_on)| *is_on && (kind == AlarmType::None || kind == *found));
    asked.map(|(found, _)| AlarmMember { member_id: replica.member_id(), alarm: found.into() }).collect()
}

fn errors(replica: &Replica) -> Vec<String> {
    let own = match replica.store.health() {
        Health::Ok => None,
        Health::NoSpace => Some(format!("memberID:{} alarm:NOSPACE ", replica.member_id())),
        Health::Poisoned => Some("tombolo: the store takes no more writes until it is reopened".to_owned()),
    };
    let alarms = replica.mesh.disputes();
    let disputed = alarms.into_iter().map(|alarm| format!("memberID:{} alarm:{alarm} ", replica.member_id()));
    own.into_iter().chain(disputed).collect()
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let published = replica.store.published();
        let sizes = replica.store.sizes();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(Response::new(StatusResponse {
            header: Some(replica.header(published.revision)),
            version: VERSION.to_owned(),
            // Clients take zero for "unknown".
            db_size: bytes(sizes.disk_bytes).max(1),
            leader: replica.member_id(),
            raft_index: published.commit,
            raft_term: RAFT_TERM,
            raft_applied_index: published.commit,
            errors: errors(replica),
            db_size_in_use: bytes(sizes.in_use_bytes).max(1),
            ..Default::default()
        }))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let alarms = alarms(replica, request.alarm());
        let fault = match request.action() {
            AlarmAction::Get => None,
            AlarmAction::Deactivate => (!alarms.is_empty()).then_some(Fault::AlarmEndsByItself),
            AlarmAction::Activate => Some(Fault::NotServed { what: "raising an alarm by hand" }),
        };
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok(Response::new(AlarmResponse { header: Some(replica.header_now()), alarms })),
        }
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        if request.target_id == replica.member_id() {
            Ok(Response::new(MoveLeaderResponse { header: Some(replica.header_now()) }))
        } else {
            Err(Fault::BadLeaderTransferee.into())
        }
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        self.0.admit(request).await?;
        Err(Fault::NotServed { what: "defragmentation" }.into())
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.0.admit(request).await?;
        Err(Fault::NotServed { what: "the hash of a backend file" }.into())
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        self.0.admit(request).await?;
        Err(Fault::NotServed { what: "the hash of the keys at a revision" }.into())
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        self.0.admit(request).await?;
        Err(Fault::NotServed { what: "a snapshot in etcd's format" }.into())
    }

    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        self.0.admit(request).await?;
        Err(Fault::NotServed { what: "a downgrade" }.into())
    }
}
