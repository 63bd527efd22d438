//! What waits for the end of an import that keeps another store's numbers.
//!
//! Until then the data are a beginning without its rest, under revisions that will be others' again: nobody is shown them, and nothing is
//! written between them. It costs one atomic load.

use tombolo_proto::Method;

use crate::{etcd::status::Fault, replica::Replica};

/// Refuses what has to wait.
#[inline]
pub(super) fn check(replica: &Replica, method: Method) -> Result<(), Fault> {
    if replica.store.is_importing() && waits(method) { Err(Fault::Importing) } else { Ok(()) }
}

/// Whether a method reads or writes what is imported, or hands it on.
const fn waits(method: Method) -> bool {
    match method {
        Method::BackupSave
        | Method::KvCompact
        | Method::KvDeleteRange
        | Method::KvPut
        | Method::KvRange
        | Method::KvTxn
        | Method::LeaseGrant
        | Method::LeaseKeepAlive
        | Method::LeaseLeases
        | Method::LeaseRevoke
        | Method::LeaseTimeToLive
        | Method::Watch
        | Method::Lock
        | Method::LockUnlock
        | Method::ElectionCampaign
        | Method::ElectionLeader
        | Method::ElectionObserve
        | Method::ElectionProclaim
        | Method::ElectionResign
        | Method::MaintenanceHash
        | Method::MaintenanceHashKv
        | Method::MaintenanceSnapshot
        | Method::MeshInvite => true,

        // What they write is refused by the store.
        Method::AuthDisable
        | Method::AuthEnable
        | Method::AuthRoleAdd
        | Method::AuthRoleDelete
        | Method::AuthRoleGet
        | Method::AuthRoleGrantPermission
        | Method::AuthRoleList
        | Method::AuthRoleRevokePermission
        | Method::AuthStatus
        | Method::AuthUserAdd
        | Method::AuthUserChangePassword
        | Method::AuthUserDelete
        | Method::AuthUserGet
        | Method::AuthUserGrantRole
        | Method::AuthUserList
        | Method::AuthUserRevokeRole
        | Method::Authenticate
        | Method::ClusterMemberAdd
        | Method::ClusterMemberList
        | Method::ClusterMemberPromote
        | Method::ClusterMemberRemove
        | Method::ClusterMemberUpdate
        | Method::ImportRun
        | Method::ImportStatus
        | Method::MaintenanceAlarm
        | Method::MaintenanceDefragment
        | Method::MaintenanceDowngrade
        | Method::MaintenanceMoveLeader
        | Method::MaintenanceStatus
        | Method::MeshEnter
        | Method::MeshLeaseHeir
        | Method::MeshMembers
        | Method::MeshPark
        | Method::MeshRemove
        | Method::MeshRepair
        | Method::MeshStatus
        | Method::MeshUnpark => false,
    }
}
