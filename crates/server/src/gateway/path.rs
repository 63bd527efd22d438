//! Which path stands for which call, as etcd 3.5's gateway has it.

use tombolo_proto::Method;

/// What paths begin with: the second is that of etcd 3.3, which later ones go on serving.
pub(super) const PREFIXES: [&str; 2] = ["/v3/", "/v3beta/"];

/// The call that a path stands for.
pub(super) fn method(path: &str) -> Option<Method> {
    let rest = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    Method::ALL.into_iter().find(|method| paths(*method).contains(&rest))
}

/// The paths of a call without their beginning. What is Tombolo's own has none: its clients speak gRPC.
fn paths(method: Method) -> &'static [&'static str] {
    match method {
        Method::KvRange => &["kv/range"],
        Method::KvPut => &["kv/put"],
        Method::KvDeleteRange => &["kv/deleterange"],
        Method::KvTxn => &["kv/txn"],
        Method::KvCompact => &["kv/compaction"],
        Method::Watch => &["watch"],
        Method::LeaseGrant => &["lease/grant"],
        Method::LeaseRevoke => &["lease/revoke", "kv/lease/revoke"],
        Method::LeaseKeepAlive => &["lease/keepalive"],
        Method::LeaseTimeToLive => &["lease/timetolive", "kv/lease/timetolive"],
        Method::LeaseLeases => &["lease/leases", "kv/lease/leases"],
        Method::ClusterMemberAdd => &["cluster/member/add"],
        Method::ClusterMemberRemove => &["cluster/member/remove"],
        Method::ClusterMemberUpdate => &["cluster/member/update"],
        Method::ClusterMemberList => &["cluster/member/list"],
        Method::ClusterMemberPromote => &["cluster/member/promote"],
        Method::MaintenanceAlarm => &["maintenance/alarm"],
        Method::MaintenanceStatus => &["maintenance/status"],
        Method::MaintenanceDefragment => &["maintenance/defragment"],
        Method::MaintenanceHash => &["maintenance/hash"],
        Method::MaintenanceHashKv => &["maintenance/hashkv"],
        Method::MaintenanceSnapshot => &["maintenance/snapshot"],
        Method::MaintenanceMoveLeader => &["maintenance/transfer-leadership"],
        Method::MaintenanceDowngrade => &["maintenance/downgrade"],
        Method::AuthEnable => &["auth/enable"],
        Method::AuthDisable => &["auth/disable"],
        Method::AuthStatus => &["auth/status"],
        Method::Authenticate => &["auth/authenticate"],
        Method::AuthUserAdd => &["auth/user/add"],
        Method::AuthUserGet => &["auth/user/get"],
        Method::AuthUserList => &["auth/user/list"],
        Method::AuthUserDelete => &["auth/user/delete"],
        Method::AuthUserChangePassword => &["auth/user/changepw"],
        Method::AuthUserGrantRole => &["auth/user/grant"],
        Method::AuthUserRevokeRole => &["auth/user/revoke"],
        Method::AuthRoleAdd => &["auth/role/add"],
        Method::AuthRoleGet => &["auth/role/get"],
        Method::AuthRoleList => &["auth/role/list"],
        Method::AuthRoleDelete => &["auth/role/delete"],
        Method::AuthRoleGrantPermission => &["auth/role/grant"],
        Method::AuthRoleRevokePermission => &["auth/role/revoke"],
        Method::Lock => &["lock/lock"],
        Method::LockUnlock => &["lock/unlock"],
        Method::ElectionCampaign => &["election/campaign"],
        Method::ElectionProclaim => &["election/proclaim"],
        Method::ElectionLeader => &["election/leader"],
        Method::ElectionObserve => &["election/observe"],
        Method::ElectionResign => &["election/resign"],
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
        | Method::MeshUnpark => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tombolo_proto::json;

    use super::*;

    #[test]
    fn every_path_leads_to_its_call_and_each_call_of_etcd_has_one() {
        let mut all = BTreeSet::new();
        for of in Method::ALL {
            assert_eq!(paths(of).is_empty(), json::call(of).is_none(), "{of:?}");
            for path in paths(of) {
                assert!(all.insert(path), "{path} stands for two calls");
                assert_eq!(method(&format!("/v3/{path}")), Some(of));
                assert_eq!(method(&format!("/v3beta/{path}")), Some(of));
            }
        }
    }

    #[test]
    fn nothing_near_a_path_is_taken_for_it() {
        for path in
            ["", "/v3/", "/v3", "/v3/kv/range/", "/v3//kv/range", "/v3alpha/kv/range", "/kv/range", "/v3/KV/range"]
        {
            assert_eq!(method(path), None, "{path:?}");
        }
    }
}
