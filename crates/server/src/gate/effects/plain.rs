//! The messages that touch no key of anybody's: what they need is in the rule of their method.

use tombolo_proto::{
    Method,
    etcdserverpb::{
        AlarmRequest, CompactionRequest, DefragmentRequest, DowngradeRequest, HashKvRequest, HashRequest,
        LeaseGrantRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
        MemberUpdateRequest, MoveLeaderRequest, SnapshotRequest, StatusRequest, alarm_request::AlarmAction,
    },
    v1::{
        BackupSaveRequest, ImportRunRequest, ImportStatusRequest, MeshEnterRequest, MeshInviteRequest,
        MeshLeaseHeirRequest, MeshMembersRequest, MeshParkRequest, MeshRemoveRequest, MeshRepairRequest,
        MeshStatusRequest, MeshUnparkRequest,
    },
};

use super::{Effects, Reach};

macro_rules! plain {
    ($($message:ty => $method:ident,)*) => {
        $(impl Effects for $message {
            const METHOD: Method = Method::$method;

            fn effects(&self, _: &mut Reach) {}
        })*
    };
}
pub(super) use plain;

plain! {
    BackupSaveRequest => BackupSave,
    CompactionRequest => KvCompact,
    DefragmentRequest => MaintenanceDefragment,
    DowngradeRequest => MaintenanceDowngrade,
    HashKvRequest => MaintenanceHashKv,
    HashRequest => MaintenanceHash,
    LeaseGrantRequest => LeaseGrant,
    MemberAddRequest => ClusterMemberAdd,
    MemberListRequest => ClusterMemberList,
    MemberPromoteRequest => ClusterMemberPromote,
    MemberRemoveRequest => ClusterMemberRemove,
    MemberUpdateRequest => ClusterMemberUpdate,
    MoveLeaderRequest => MaintenanceMoveLeader,
    SnapshotRequest => MaintenanceSnapshot,
    StatusRequest => MaintenanceStatus,
    ImportRunRequest => ImportRun,
    ImportStatusRequest => ImportStatus,
    MeshInviteRequest => MeshInvite,
    MeshEnterRequest => MeshEnter,
    MeshLeaseHeirRequest => MeshLeaseHeir,
    MeshMembersRequest => MeshMembers,
    MeshParkRequest => MeshPark,
    MeshRemoveRequest => MeshRemove,
    MeshRepairRequest => MeshRepair,
    MeshStatusRequest => MeshStatus,
    MeshUnparkRequest => MeshUnpark,
}

impl Effects for AlarmRequest {
    const METHOD: Method = Method::MaintenanceAlarm;

    fn effects(&self, reach: &mut Reach) {
        // Compared as the number it is: one that no action has needs the role, too.
        if self.action != i32::from(AlarmAction::Get) {
            reach.root();
        }
    }
}
