//! The rows of the matrix: for each method the shapes in which it is called, and what each of them needs.
//!
//! Every call aims at the secret keys. Whoever adds a method to a contract adds its row here.

use bytes::Bytes;
use prost::Message;
use tombolo_proto::Method;

use super::Needs;

mod auth;
mod cluster;
mod election;
mod kv;
mod lease;
mod mesh;
mod watch;

/// One way to make a call.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What is special about it.
    pub name: &'static str,
    /// What is sent.
    pub messages: Vec<Bytes>,
    /// What it needs.
    pub needs: Needs,
}

impl Shape {
    fn new(name: &'static str, message: &impl Message, needs: Needs) -> Self {
        Self { name, messages: vec![message.encode_to_vec().into()], needs }
    }
}

/// All shapes of a method.
#[must_use]
pub fn shapes(method: Method) -> Vec<Shape> {
    match method {
        Method::KvCompact | Method::KvDeleteRange | Method::KvPut | Method::KvRange | Method::KvTxn => {
            kv::shapes(method)
        }
        Method::LeaseGrant
        | Method::LeaseKeepAlive
        | Method::LeaseLeases
        | Method::LeaseRevoke
        | Method::LeaseTimeToLive => lease::shapes(method),
        Method::Watch => watch::shapes(),
        Method::Lock
        | Method::LockUnlock
        | Method::ElectionCampaign
        | Method::ElectionLeader
        | Method::ElectionObserve
        | Method::ElectionProclaim
        | Method::ElectionResign => election::shapes(method),
        Method::AuthDisable
        | Method::AuthEnable
        | Method::AuthStatus
        | Method::Authenticate
        | Method::AuthRoleAdd
        | Method::AuthRoleDelete
        | Method::AuthRoleGet
        | Method::AuthRoleGrantPermission
        | Method::AuthRoleList
        | Method::AuthRoleRevokePermission
        | Method::AuthUserAdd
        | Method::AuthUserChangePassword
        | Method::AuthUserDelete
        | Method::AuthUserGet
        | Method::AuthUserGrantRole
        | Method::AuthUserList
        | Method::AuthUserRevokeRole => auth::shapes(method),
        Method::ClusterMemberAdd
        | Method::ClusterMemberList
        | Method::ClusterMemberPromote
        | Method::ClusterMemberRemove
        | Method::ClusterMemberUpdate
        | Method::MaintenanceAlarm
        | Method::MaintenanceDefragment
        | Method::MaintenanceDowngrade
        | Method::MaintenanceHash
        | Method::MaintenanceHashKv
        | Method::MaintenanceMoveLeader
        | Method::MaintenanceSnapshot
        | Method::MaintenanceStatus => cluster::shapes(method),
        Method::BackupSave
        | Method::ImportRun
        | Method::ImportStatus
        | Method::MeshInvite
        | Method::MeshEnter
        | Method::MeshLeaseHeir
        | Method::MeshMembers
        | Method::MeshPark
        | Method::MeshRemove
        | Method::MeshRepair
        | Method::MeshStatus
        | Method::MeshUnpark => mesh::shapes(method),
    }
}
