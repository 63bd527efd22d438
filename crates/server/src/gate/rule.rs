//! Who may call what: one row for each method there is. A new one does not compile before it has its row.

use tombolo_proto::Method;

/// What a method asks of its caller, once there is a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing, not even that a token be valid.
    Open,
    /// Nothing but that a token be valid, if there is one.
    Anybody,
    /// That the caller be somebody.
    User,
    /// The role `root`.
    Root,
    /// What the effects of each message need, and that the caller be somebody.
    Effects,
}

/// The rule of a method. Where releases of etcd differ, the newest one decides.
pub(crate) const fn rule(method: Method) -> Rule {
    match method {
        Method::Authenticate => Rule::Open,

        // Whether one has to log in is asked by those who have not.
        Method::AuthStatus => Rule::Anybody,

        Method::ClusterMemberList | Method::LeaseGrant | Method::MaintenanceStatus => Rule::User,

        Method::KvDeleteRange
        | Method::KvPut
        | Method::KvRange
        | Method::KvTxn
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
        // To read the alarms is anybody's, to change them is not.
        | Method::MaintenanceAlarm
        // A user may see itself and its own roles.
        | Method::AuthUserGet
        | Method::AuthRoleGet => Rule::Effects,

        Method::AuthDisable
        | Method::AuthEnable
        | Method::AuthRoleAdd
        | Method::AuthRoleDelete
        | Method::AuthRoleGrantPermission
        | Method::AuthRoleList
        | Method::AuthRoleRevokePermission
        | Method::AuthUserAdd
        | Method::AuthUserChangePassword
        | Method::AuthUserDelete
        | Method::AuthUserGrantRole
        | Method::AuthUserList
        | Method::AuthUserRevokeRole
        | Method::BackupSave
        | Method::ClusterMemberAdd
        | Method::ClusterMemberPromote
        | Method::ClusterMemberRemove
        | Method::ClusterMemberUpdate
        | Method::ImportRun
        | Method::ImportStatus
        | Method::KvCompact
        | Method::MaintenanceDefragment
        | Method::MaintenanceDowngrade
        | Method::MaintenanceHash
        | Method::MaintenanceHashKv
        | Method::MaintenanceMoveLeader
        | Method::MaintenanceSnapshot
        | Method::MeshInvite
        | Method::MeshEnter
        | Method::MeshLeaseHeir
        | Method::MeshMembers
        | Method::MeshPark
        | Method::MeshRemove
        | Method::MeshRepair
        | Method::MeshStatus
        | Method::MeshUnpark => Rule::Root,
    }
}
