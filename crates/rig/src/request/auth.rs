//! The calls of etcd's `Auth`, and who makes a call.
//!
//! Tokens are a server's own: a [`Wallet`] goes with each connection and has those that its server gave for each user, good or no longer good. A request
//! says only whose token is to be shown.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tombolo_proto::{
    Method,
    etcdserverpb::{
        AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
        AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest, AuthRoleGetResponse,
        AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
        AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse,
        AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
        AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
        AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
        AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
        ResponseHeader,
    },
};
use tonic::metadata::MetadataValue;

use super::{Answer, calls::calls};
use crate::connect::Connection;

pub mod generate;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The user with the last token that this server has given it; a token that is none if it has never given one.
    User(String),
    /// Somebody with a token that no server has given.
    Stranger(&'static str),
}

/// The tokens that one server has given out over a connection.
#[derive(Clone, Debug, Default)]
pub struct Wallet {
    tokens: BTreeMap<String, String>,
    shown: Option<String>,
}

impl Wallet {
    /// Has every request from now on show a sender's token, or none.
    pub fn show(&mut self, sender: Option<&Sender>) {
        self.shown = sender.map(|sender| match sender {
            Sender::User(name) => self.tokens.get(name).cloned().unwrap_or_else(|| "never.0".to_owned()),
            Sender::Stranger(token) => (*token).to_owned(),
        });
    }

    /// A message as a request that shows what is to be shown.
    ///
    /// # Errors
    ///
    /// When the token cannot stand in a header.
    pub fn sign<T>(&self, message: T) -> Result<tonic::Request<T>> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.shown {
            let token = MetadataValue::try_from(token).context("a token is printable")?;
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

calls! {
    "`Auth`", AuthRequest, AuthAnswer, Auth;
    Enable, AuthEnableRequest, AuthEnableResponse, auth, auth_enable, AuthEnable;
    Disable, AuthDisableRequest, AuthDisableResponse, auth, auth_disable, AuthDisable;
    Status, AuthStatusRequest, AuthStatusResponse, auth, auth_status, AuthStatus;
    Authenticate, AuthenticateRequest, AuthenticateResponse, auth, authenticate, Authenticate;
    UserAdd, AuthUserAddRequest, AuthUserAddResponse, auth, user_add, AuthUserAdd;
    UserGet, AuthUserGetRequest, AuthUserGetResponse, auth, user_get, AuthUserGet;
    UserList, AuthUserListRequest, AuthUserListResponse, auth, user_list, AuthUserList;
    UserDelete, AuthUserDeleteRequest, AuthUserDeleteResponse, auth, user_delete, AuthUserDelete;
    UserChangePassword, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse, auth, user_change_password, AuthUserChangePassword;
    UserGrantRole, AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, auth, user_grant_role, AuthUserGrantRole;
    UserRevokeRole, AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, auth, user_revoke_role, AuthUserRevokeRole;
    RoleAdd, AuthRoleAddRequest, AuthRoleAddResponse, auth, role_add, AuthRoleAdd;
    RoleGet, AuthRoleGetRequest, AuthRoleGetResponse, auth, role_get, AuthRoleGet;
    RoleList, AuthRoleListRequest, AuthRoleListResponse, auth, role_list, AuthRoleList;
    RoleDelete, AuthRoleDeleteRequest, AuthRoleDeleteResponse, auth, role_delete, AuthRoleDelete;
    RoleGrantPermission, AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, auth, role_grant_permission, AuthRoleGrantPermission;
    RoleRevokePermission, AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, auth, role_revoke_permission, AuthRoleRevokePermission;
}

impl AuthRequest {
    /// Makes the call. A token that is given goes into the wallet.
    pub(super) async fn exchange(self, to: &mut Connection) -> Result<Answer> {
        let user = match &self {
            Self::Authenticate(login) => Some(login.name.clone()),
            _ => None,
        };
        let answer = self.call(to).await?;
        if let (Some(user), Answer::Auth(AuthAnswer::Authenticate(login))) = (user, &answer) {
            to.wallet.tokens.insert(user, login.token.clone());
        }
        Ok(answer)
    }
}
