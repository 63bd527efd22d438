//! Users and roles on the bench: made before a case and cleared away after the last.

use tombolo_proto::{
    authpb::{Permission, UserAddOptions, permission::Type},
    etcdserverpb::{
        AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest, AuthRoleListRequest,
        AuthUserAddRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserListRequest,
    },
};

use crate::side_by_side::SideBySide;

impl SideBySide {
    pub(crate) async fn clear_accounts(&self) {
        let mut auth = self.client.auth();
        for name in auth.user_list(AuthUserListRequest {}).await.expect("the users").into_inner().users {
            auth.user_delete(AuthUserDeleteRequest { name }).await.expect("a user is deleted");
        }
        for role in auth.role_list(AuthRoleListRequest {}).await.expect("the roles").into_inner().roles {
            auth.role_delete(AuthRoleDeleteRequest { role }).await.expect("a role is deleted");
        }
    }

    /// A user who cannot sign in, which costs the server no hashing.
    pub(crate) async fn add_user(&self, name: &str) {
        let options = Some(UserAddOptions { no_password: true });
        let request = AuthUserAddRequest { name: name.into(), options, ..Default::default() };
        self.client.auth().user_add(request).await.expect("a user");
    }

    pub(crate) async fn add_role(&self, name: &str) {
        self.client.auth().role_add(AuthRoleAddRequest { name: name.into() }).await.expect("a role");
    }

    pub(crate) async fn give_role(&self, user: &str, role: &str) {
        let request = AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        self.client.auth().user_grant_role(request).await.expect("a role is granted");
    }

    pub(crate) async fn permit(&self, role: &str, kind: Type, key: &'static str, range_end: &'static str) {
        let perm = Permission { perm_type: kind.into(), key: key.into(), range_end: range_end.into() };
        let request = AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) };
        self.client.auth().role_grant_permission(request).await.expect("a permission");
    }
}
