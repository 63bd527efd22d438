//! `Maintenance`: what tools ask about a server's state. What would need more than one replica says so in etcd's words.

use std::{pin::Pin, sync::Arc};

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
use crate::replica::{RAFT_TERM, Replica};

/// etcd's `Maintenance`.
#[derive(Clone)]
pub(super) struct MaintenanceService(pub(super) Arc<Replica>);

impl MaintenanceService {
    /// The alarms of a kind, or all for `AlarmType::None`. They begin and end with what they tell of.
    fn alarms(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let raised = [
            (AlarmType::Nospace, self.0.store.health() == Health::NoSpace),
            (AlarmType::Corrupt, self.0.mesh.disputes().contains("CORRUPT")),
        ];
        let asked = raised.into_iter().filter(|(found, is_on)| *is_on && (kind == AlarmType::None || kind == *found));
        asked.map(|(found, _)| AlarmMember { member_id: self.0.member_id(), alarm: found.into() }).collect()
    }

    fn errors(&self) -> Vec<String> {
        let own = match self.0.store.health() {
            Health::Ok => None,
            Health::NoSpace => Some(format!("memberID:{} alarm:NOSPACE ", self.0.member_id())),
            Health::Poisoned => Some("tombolo: the store takes no more writes until it is reopened".to_owned()),
        };
        let alarms = self.0.mesh.disputes();
        let disputed = alarms.into_iter().map(|alarm| format!("memberID:{} alarm:{alarm} ", self.0.member_id()));
        own.into_iter().chain(disputed).collect()
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let published = self.0.store.published();
        let sizes = self.0.store.sizes();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(Response::new(StatusResponse {
            header: Some(self.0.header(published.revision)),
            version: VERSION.to_owned(),
            // Clients take zero for "unknown".
            db_size: bytes(sizes.disk_bytes).max(1),
            leader: self.0.member_id(),
            raft_index: published.commit,
            raft_term: RAFT_TERM,
            raft_applied_index: published.commit,
            errors: self.errors(),
            db_size_in_use: bytes(sizes.in_use_bytes).max(1),
            ..Default::default()
        }))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let request = request.into_inner();
        let alarms = self.alarms(request.alarm());
        let fault = match request.action() {
            AlarmAction::Get => None,
            AlarmAction::Deactivate => (!alarms.is_empty()).then_some(Fault::AlarmEndsByItself),
            AlarmAction::Activate => Some(Fault::NotServed { what: "raising an alarm by hand" }),
        };
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok(Response::new(AlarmResponse { header: Some(self.0.header_now()), alarms })),
        }
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        if request.into_inner().target_id == self.0.member_id() {
            Ok(Response::new(MoveLeaderResponse { header: Some(self.0.header_now()) }))
        } else {
            Err(Fault::BadLeaderTransferee.into())
        }
    }

    async fn defragment(&self, _: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        Err(Fault::NotServed { what: "defragmentation" }.into())
    }

    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        Err(Fault::NotServed { what: "the hash of a backend file" }.into())
    }

    async fn hash_kv(&self, _: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        Err(Fault::NotServed { what: "the hash of the keys at a revision" }.into())
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Fault::NotServed { what: "a snapshot in etcd's format" }.into())
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        Err(Fault::NotServed { what: "a downgrade" }.into())
    }
}
