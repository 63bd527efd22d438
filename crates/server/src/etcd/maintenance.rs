//! `Maintenance`: what tools ask about a server's state, and what they do about it. What would need more than one replica says so in etcd's words.

use std::{pin::Pin, time::Instant};

use futures_util::Stream;
use tombolo_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, DowngradeInfo,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
    downgrade_request::DowngradeAction, maintenance_server::Maintenance,
};
use tombolo_storage::Health;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::{
    CLUSTER_VERSION, VERSION,
    status::{Fault, OperatorFault},
};
use crate::{
    gate::Gate,
    keeper::{Alarm, AlarmKind, Alarms},
    replica::{RAFT_TERM, Replica},
};

mod hash;
mod snapshot;
mod table;

/// etcd's `Maintenance`.
#[derive(Clone)]
pub(super) struct MaintenanceService(pub(super) Gate);

fn told(alarm: Alarm) -> AlarmMember {
    AlarmMember { member_id: alarm.member, alarm: alarm.kind.to_etcd().into() }
}

/// What is wrong, as etcd prints its alarms, and what etcd has no alarm for.
fn errors(replica: &Replica) -> Vec<String> {
    let alarms = Alarms::all(replica).into_iter().map(|Alarm { member, kind }| {
        let member = if member == 0 { String::new() } else { format!("memberID:{member} ") };
        format!("{member}alarm:{} ", kind.to_etcd().as_str_name())
    });
    let poisoned = (replica.store.health() == Health::Poisoned)
        .then(|| "tombolo: the store takes no more writes until it is reopened".to_owned());
    let rotten: Vec<String> = replica.keeper.rot.lock().iter().map(crate::keeper::mend::text).collect();
    // CORRUPT is among the alarms already.
    let disputes = replica.mesh.disputes().into_iter().filter(|alarm| *alarm != "CORRUPT");
    let disputed = disputes.map(|alarm| format!("memberID:{} alarm:{alarm} ", replica.member_id()));
    alarms.chain(poisoned).chain(rotten).chain(disputed).collect()
}

/// Raises an alarm by hand. One that is on already is told as it is.
async fn raise(replica: &Replica, alarm: Alarm) -> Result<AlarmMember, Fault> {
    if !replica.keeper.alarms.is_raised(alarm) {
        replica.commit(Alarms::raising(&replica.store, alarm), 0).await?;
        warn!(member = alarm.member, alarm = alarm.kind.to_etcd().as_str_name(), "an alarm was raised by hand");
    }
    Ok(told(alarm))
}

/// Ends an alarm. One that tells what is so begins again when it still is.
async fn disarm(replica: &Replica, alarm: Alarm) -> Result<Option<AlarmMember>, Fault> {
    if !Alarms::all(replica).contains(&alarm) {
        return Ok(None);
    }
    if replica.keeper.alarms.is_raised(alarm) {
        replica.commit(Alarms::disarming(&replica.store, alarm), 0).await?;
        info!(member = alarm.member, alarm = alarm.kind.to_etcd().as_str_name(), "an alarm was disarmed");
    } else if alarm.kind == AlarmKind::NoSpace {
        replica.store.forget_shortage();
    } else {
        return Err(OperatorFault::AlarmEndsByItself.into());
    }
    Ok(Some(told(alarm)))
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let published = replica.store.published();
        let sizes = replica.store.sizes();
        let downgrade = replica.keeper.downgrade.target();
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
            is_learner: false,
            storage_version: CLUSTER_VERSION.to_owned(),
            db_size_quota: sizes.quota_bytes.map_or(0, bytes),
            downgrade_info: Some(DowngradeInfo {
                enabled: downgrade.is_some(),
                target_version: downgrade.unwrap_or_default(),
            }),
        }))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let kind = AlarmKind::from_etcd(request.alarm);
        let is_all = request.alarm == i32::from(AlarmType::None);
        let named = kind.map(|kind| Alarm { member: request.member_id, kind });
        let alarms = match (AlarmAction::try_from(request.action), named) {
            (Ok(AlarmAction::Get), _) => {
                let asked = |alarm: &Alarm| is_all || kind == Some(alarm.kind);
                Alarms::all(replica).into_iter().filter(asked).map(told).collect()
            }
            (Ok(AlarmAction::Activate), Some(alarm)) => vec![raise(replica, alarm).await?],
            (Ok(AlarmAction::Deactivate), Some(alarm)) => disarm(replica, alarm).await?.into_iter().collect(),
            (Ok(AlarmAction::Activate), None) if !is_all => {
                return Err(Fault::from(OperatorFault::NoSuchAlarm { number: request.alarm }).into());
            }
            // As in etcd, nothing is raised, and nothing disarmed, by the name of no alarm.
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate), None) => Vec::new(),
            (Err(_), _) => return Err(Fault::from(OperatorFault::UnknownMethod).into()),
        };
        Ok(Response::new(AlarmResponse { header: Some(replica.header_now()), alarms }))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        if request.target_id == replica.member_id() {
            Ok(Response::new(MoveLeaderResponse { header: None }))
        } else {
            Err(Fault::from(OperatorFault::BadLeaderTransferee).into())
        }
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let (before, started) = (replica.store.sizes().disk_bytes, Instant::now());
        let failed = |why| Fault::Internal { what: format!("the disk could not be tidied: {why}") };
        replica.reads.defragment().await.map_err(failed)?;
        replica.metrics.defragmentation.observe(started.elapsed());
        info!(before, after = replica.store.sizes().disk_bytes, took = ?started.elapsed(), "defragmented");
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let hashed = replica.reads.whole(hash::of_everything).await.map_err(|why| Fault::from(&why))?;
        let header = replica.header(hashed.span.published.revision);
        Ok(Response::new(HashResponse { header: Some(header), hash: hashed.hash }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let hashed = replica.reads.whole(move |store| hash::of_keys(store, request.revision)).await;
        let hashed = hashed.map_err(|why| Fault::from(&why))?;
        Ok(Response::new(HashKvResponse {
            header: Some(replica.header(hashed.span.published.revision)),
            hash: hashed.hash,
            compact_revision: hashed.span.published.compacted,
            hash_revision: hashed.span.last,
        }))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let (_, leave, pass) = self.0.enter(request).await?;
        Ok(Response::new(Box::pin(snapshot::stream(leave, pass).await?)))
    }

    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        let (request, replica) = self.0.admit(request).await?.into_parts();
        let job = &replica.keeper.downgrade;
        let done = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => job.validate(CLUSTER_VERSION, &request.version),
            Ok(DowngradeAction::Enable) => job.enable(CLUSTER_VERSION, &request.version),
            Ok(DowngradeAction::Cancel) => job.cancel(),
            Err(_) => return Err(Fault::from(OperatorFault::UnknownMethod).into()),
        };
        done.map_err(|why| Fault::from(OperatorFault::Downgrade(why)))?;
        let version = CLUSTER_VERSION.to_owned();
        Ok(Response::new(DowngradeResponse { header: Some(replica.header_now()), version }))
    }
}
