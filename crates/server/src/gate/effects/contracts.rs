//! Every message that a method of the contracts takes, against the method it says it belongs to.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tombolo_proto::{
    etcdserverpb::{
        AlarmRequest, AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
        AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest,
        AuthStatusRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
        AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
        AuthenticateRequest, CompactionRequest, DefragmentRequest, DeleteRangeRequest, DowngradeRequest, HashKvRequest,
        HashRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
        LeaseTimeToLiveRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
        MemberUpdateRequest, MoveLeaderRequest, PutRequest, RangeRequest, SnapshotRequest, StatusRequest, TxnRequest,
        WatchRequest,
    },
    v1::{
        BackupSaveRequest, ImportRunRequest, ImportStatusRequest, MeshEnterRequest, MeshInviteRequest,
        MeshLeaseHeirRequest, MeshMembersRequest, MeshParkRequest, MeshRemoveRequest, MeshRepairRequest,
        MeshStatusRequest, MeshUnparkRequest,
    },
    v3electionpb::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest},
    v3lockpb::{LockRequest, UnlockRequest},
};

use super::{super::rule, Effects, Method};

macro_rules! said {
    ($($message:ty,)*) => {
        [$((stringify!($message), <$message as Effects>::METHOD),)*]
    };
}

/// What each message says.
fn said() -> BTreeMap<String, Method> {
    let said = said![
        AlarmRequest,
        AuthDisableRequest,
        AuthEnableRequest,
        AuthRoleAddRequest,
        AuthRoleDeleteRequest,
        AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest,
        AuthRoleListRequest,
        AuthRoleRevokePermissionRequest,
        AuthStatusRequest,
        AuthUserAddRequest,
        AuthUserChangePasswordRequest,
        AuthUserDeleteRequest,
        AuthUserGetRequest,
        AuthUserGrantRoleRequest,
        AuthUserListRequest,
        AuthUserRevokeRoleRequest,
        AuthenticateRequest,
        BackupSaveRequest,
        CampaignRequest,
        CompactionRequest,
        DefragmentRequest,
        DeleteRangeRequest,
        DowngradeRequest,
        HashKvRequest,
        HashRequest,
        ImportRunRequest,
        ImportStatusRequest,
        LeaderRequest,
        LeaseGrantRequest,
        LeaseKeepAliveRequest,
        LeaseLeasesRequest,
        LeaseRevokeRequest,
        LeaseTimeToLiveRequest,
        LockRequest,
        MemberAddRequest,
        MemberListRequest,
        MemberPromoteRequest,
        MemberRemoveRequest,
        MemberUpdateRequest,
        MeshEnterRequest,
        MeshInviteRequest,
        MeshLeaseHeirRequest,
        MeshMembersRequest,
        MeshParkRequest,
        MeshRemoveRequest,
        MeshRepairRequest,
        MeshStatusRequest,
        MeshUnparkRequest,
        MoveLeaderRequest,
        ProclaimRequest,
        PutRequest,
        RangeRequest,
        ResignRequest,
        SnapshotRequest,
        StatusRequest,
        TxnRequest,
        UnlockRequest,
        WatchRequest,
    ];
    said.into_iter().map(|(name, method)| (name.to_lowercase(), method)).collect()
}

#[test]
fn every_message_names_the_method_that_takes_it() {
    let said = said();
    let contracts = FileDescriptorSet::decode(tombolo_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut taken = 0;
    for file in &contracts.file {
        for service in &file.service {
            let methods = || service.method.iter();
            for method in methods() {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let called = Method::of_path(&path).unwrap();
                let message = method.input_type().rsplit('.').next().unwrap().to_lowercase();
                let named = said.get(&message).unwrap_or_else(|| panic!("{message} says nothing, and {path} takes it"));
                let is_shared = methods().filter(|other| other.input_type() == method.input_type()).count() > 1;
                if is_shared {
                    assert_eq!(rule(*named), rule(called), "{path}");
                } else {
                    assert_eq!(*named, called, "{message}");
                }
                taken += 1;
            }
        }
    }
    assert_eq!(taken, Method::ALL.len());
}
