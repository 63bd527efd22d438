//! Rows of `Auth`. Who is not `root` may look at itself, and log in.

use tombolo_proto::{
    Method,
    authpb::Permission,
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest, AuthStatusRequest,
        AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
        AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
    },
};

use super::{Needs, Shape};
use crate::roles::world::{AFTER_SECRETS, SECRETS, password};

pub(super) fn shapes(method: Method) -> Vec<Shape> {
    let shape = |message: &dyn Encodes, needs| Shape { name: "plain", messages: vec![message.bytes()], needs };
    let name = || "reader".to_owned();
    let shape = match method {
        Method::Authenticate => {
            shape(&AuthenticateRequest { name: name(), password: password("reader") }, Needs::Nothing)
        }
        Method::AuthStatus => shape(&AuthStatusRequest {}, Needs::GoodToken),
        Method::AuthUserGet => shape(&AuthUserGetRequest { name: name() }, Needs::Reader),
        Method::AuthRoleGet => shape(&AuthRoleGetRequest { role: name() }, Needs::Reader),
        Method::AuthDisable => shape(&AuthDisableRequest {}, Needs::Root),
        Method::AuthEnable => shape(&AuthEnableRequest {}, Needs::Root),
        Method::AuthUserList => shape(&AuthUserListRequest {}, Needs::Root),
        Method::AuthRoleList => shape(&AuthRoleListRequest {}, Needs::Root),
        Method::AuthUserAdd => {
            let request = AuthUserAddRequest { name: "new".into(), password: "new".into(), ..Default::default() };
            shape(&request, Needs::Root)
        }
        Method::AuthUserDelete => shape(&AuthUserDeleteRequest { name: "spare".into() }, Needs::Root),
        Method::AuthUserChangePassword => {
            let request =
                AuthUserChangePasswordRequest { name: "spare".into(), password: "b".into(), ..Default::default() };
            shape(&request, Needs::Root)
        }
        Method::AuthUserGrantRole => {
            shape(&AuthUserGrantRoleRequest { user: "spare".into(), role: name() }, Needs::Root)
        }
        Method::AuthUserRevokeRole => {
            shape(&AuthUserRevokeRoleRequest { name: "spare".into(), role: "spare".into() }, Needs::Root)
        }
        Method::AuthRoleAdd => shape(&AuthRoleAddRequest { name: "new".into() }, Needs::Root),
        Method::AuthRoleDelete => shape(&AuthRoleDeleteRequest { role: "spare".into() }, Needs::Root),
        Method::AuthRoleGrantPermission => {
            let perm = Permission { perm_type: 2, key: SECRETS.into(), range_end: AFTER_SECRETS.into() };
            shape(&AuthRoleGrantPermissionRequest { name: "spare".into(), perm: Some(perm) }, Needs::Root)
        }
        _ => {
            let request =
                AuthRoleRevokePermissionRequest { role: "spare".into(), key: "spare".into(), ..Default::default() };
            shape(&request, Needs::Root)
        }
    };
    vec![shape]
}

/// A message whose type does not matter.
trait Encodes {
    fn bytes(&self) -> bytes::Bytes;
}

impl<T: prost::Message> Encodes for T {
    fn bytes(&self) -> bytes::Bytes {
        self.encode_to_vec().into()
    }
}
