//! What `Auth`'s messages need: a user may look at itself and at its own roles; the rest is in the rules of the methods.

use tombolo_auth::Concerned;
use tombolo_proto::{
    Method,
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest, AuthStatusRequest,
        AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
        AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
    },
};

use super::{Effects, Reach, plain::plain};

impl Effects for AuthUserGetRequest {
    const METHOD: Method = Method::AuthUserGet;

    fn effects(&self, reach: &mut Reach) {
        reach.root_or(Concerned::SelfUser(self.name.clone()));
    }
}

impl Effects for AuthRoleGetRequest {
    const METHOD: Method = Method::AuthRoleGet;

    fn effects(&self, reach: &mut Reach) {
        reach.root_or(Concerned::HasRole(self.role.clone()));
    }
}

plain! {
    AuthDisableRequest => AuthDisable,
    AuthEnableRequest => AuthEnable,
    AuthRoleAddRequest => AuthRoleAdd,
    AuthRoleDeleteRequest => AuthRoleDelete,
    AuthRoleGrantPermissionRequest => AuthRoleGrantPermission,
    AuthRoleListRequest => AuthRoleList,
    AuthRoleRevokePermissionRequest => AuthRoleRevokePermission,
    AuthStatusRequest => AuthStatus,
    AuthUserAddRequest => AuthUserAdd,
    AuthUserChangePasswordRequest => AuthUserChangePassword,
    AuthUserDeleteRequest => AuthUserDelete,
    AuthUserGrantRoleRequest => AuthUserGrantRole,
    AuthUserListRequest => AuthUserList,
    AuthUserRevokeRoleRequest => AuthUserRevokeRole,
    AuthenticateRequest => Authenticate,
}
