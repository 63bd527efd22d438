//! Answers about users, roles, alarms and hashes.

use tombolo_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AlarmMember, AlarmResponse, AlarmType, AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse,
        AuthUserGetResponse, AuthUserListResponse, HashKvResponse,
    },
};

use super::{super::cluster::EndpointHash, header};

/// One key, a prefix, a range and an open end.
pub(in super::super) fn role() -> AuthRoleGetResponse {
    let permission = |kind: Type, key: &'static str, range_end: &'static str| Permission {
        perm_type: kind.into(),
        key: key.into(),
        range_end: range_end.into(),
    };
    let perm = vec![
        permission(Type::Read, "a", ""),
        permission(Type::Readwrite, "b", "c"),
        permission(Type::Read, "d", "f"),
        permission(Type::Write, "e", "\0"),
    ];
    AuthRoleGetResponse { header: header(), perm }
}

pub(in super::super) fn roles() -> AuthRoleListResponse {
    AuthRoleListResponse { header: header(), roles: vec!["r".into(), "root".into()] }
}

pub(in super::super) fn user() -> AuthUserGetResponse {
    AuthUserGetResponse { header: header(), roles: vec!["r".into(), "root".into()] }
}

pub(in super::super) fn users() -> AuthUserListResponse {
    AuthUserListResponse { header: header(), users: vec!["root".into(), "u".into()] }
}

pub(in super::super) fn status() -> AuthStatusResponse {
    AuthStatusResponse { header: header(), enabled: true, auth_revision: 7 }
}

pub(in super::super) fn alarms() -> AlarmResponse {
    let alarms = vec![AlarmMember { member_id: 8, alarm: AlarmType::Nospace.into() }];
    AlarmResponse { header: header(), alarms }
}

pub(in super::super) fn hashes() -> [EndpointHash; 1] {
    let response = HashKvResponse { header: header(), hash: 4_000_000_000, compact_revision: 3, ..Default::default() };
    [EndpointHash { endpoint: "a:2379".parse().expect("an endpoint"), response }]
}
