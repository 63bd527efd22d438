//! `Auth`: users, roles, permissions and logins.
//!
//! Whether the sender may is for the gate to say; what a change is, and when etcd refuses it, for the policy. Changes are made one after the other, each
//! planned on what the one before has left and committed as one record. Passwords are hashed as soon as their sender was let in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio::task;
use tombolo_auth::{Access, Change, Password, PasswordHash, Permission, Refused, Write};
use tombolo_proto::{
    authpb,
    etcdserverpb::{
        AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
        AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest, AuthRoleGetResponse,
        AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
        AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse,
        AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
        AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
        AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
        AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
        ResponseHeader, auth_server::Auth,
    },
};
use tombolo_storage::{Request as StoreRequest, SystemWrite};
use tonic::{Request, Response, Status};

use super::status::{AuthFault, Fault};
use crate::gate::{Effects, Gate, Leave, Pass};

/// etcd's `Auth`.
#[derive(Clone)]
pub(super) struct AuthService(pub(super) Gate);

impl AuthService {
    /// Makes the change that a request stands for, if its sender may.
    async fn change<T: Effects>(
        &self,
        request: Request<T>,
        change: impl FnOnce(T) -> Change,
    ) -> Result<Option<ResponseHeader>, Fault> {
        let (message, leave, pass) = self.0.enter(request).await?;
        commit(change(message), leave, pass).await
    }
}

/// Plans and commits a change. It goes on when its asker has gone: whoever comes next must not plan on something that is half done.
async fn commit(change: Change, leave: Leave, pass: Pass) -> Result<Option<ResponseHeader>, Fault> {
    let change = task::spawn(async move {
        let replica = pass.replica();
        let _turn = replica.policy.turn().await;
        // Until it was its turn, its sender may have lost the right to it.
        pass.holds(&leave).await?;
        let writes = replica.policy.current().plan(&change, replica.member_id())?;
        if !writes.is_empty() {
            let bytes = writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len)).sum();
            let writes = writes.into_iter().map(system_write).collect();
            replica.commit(StoreRequest::System(writes), bytes).await?;
        }
        Ok(Some(replica.header_now()))
    });
    change.await.map_err(|why| Fault::Internal { what: why.to_string() })?
}

fn system_write(Write { key, value }: Write) -> SystemWrite {
    match value {
        Some(value) => SystemWrite::Put { key, value },
        None => SystemWrite::Remove { key },
    }
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(&self, request: Request<AuthEnableRequest>) -> Result<Response<AuthEnableResponse>, Status> {
        let header = self.change(request, |_| Change::Enable).await?;
        Ok(Response::new(AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let header = self.change(request, |_| Change::Disable).await?;
        Ok(Response::new(AuthDisableResponse { header }))
    }

    async fn auth_status(&self, request: Request<AuthStatusRequest>) -> Result<Response<AuthStatusResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let policy = replica.policy.current();
        let (enabled, auth_revision) = (policy.is_enabled(), policy.revision());
        Ok(Response::new(AuthStatusResponse { header: Some(replica.header_now()), enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let (AuthenticateRequest { name, password }, replica) = self.0.admit(request).await?.into_parts();
        let token = replica.policy.log_in(&name, Password::new(password)).await?;
        Ok(Response::new(AuthenticateResponse { header: Some(replica.header_now()), token }))
    }

    async fn user_add(&self, request: Request<AuthUserAddRequest>) -> Result<Response<AuthUserAddResponse>, Status> {
        let (message, leave, pass) = self.0.enter(request).await?;
        let AuthUserAddRequest { name, password, options, .. } = message;
        let password = Password::new(password);
        let is_known_by_certificate = options.is_some_and(|options| options.no_password);
        let password = if is_known_by_certificate { None } else { Some(pass.replica().policy.hash(password).await?) };
        let header = commit(Change::AddUser { name, password }, leave, pass).await?;
        Ok(Response::new(AuthUserAddResponse { header }))
    }

    async fn user_get(&self, request: Request<AuthUserGetRequest>) -> Result<Response<AuthUserGetResponse>, Status> {
        let (message, replica) = self.0.admit(request).await?.into_parts();
        let policy = replica.policy.current();
        let user = policy.user(&message.name).ok_or(AuthFault::Refused(Refused::UserNotFound)).map_err(Fault::from)?;
        let roles = user.roles().map(str::to_owned).collect();
        Ok(Response::new(AuthUserGetResponse { header: Some(replica.header_now()), roles }))
    }

    async fn user_list(&self, request: Request<AuthUserListRequest>) -> Result<Response<AuthUserListResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let users = replica.policy.current().users().map(str::to_owned).collect();
        Ok(Response::new(AuthUserListResponse { header: Some(replica.header_now()), users }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let header = self.change(request, |asked| Change::DeleteUser { name: asked.name }).await?;
        Ok(Response::new(AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let (message, leave, pass) = self.0.enter(request).await?;
        let AuthUserChangePasswordRequest { name, password, hashed_password } = message;
        let (password, policy) = (Password::new(password), &pass.replica().policy);
        let password = if !password.is_empty() {
            policy.hash(password).await?
        } else if let Some(hash) = hash_of(&hashed_password) {
            hash
        } else {
            // What is no hash matters only to a user who can have one.
            match policy.current().user(&name) {
                Some(user) if !user.has_no_password() => return Err(Fault::from(AuthFault::PasswordOfNone).into()),
                _ => PasswordHash::from_bytes(Bytes::new()),
            }
        };
        let header = commit(Change::ChangePassword { name, password }, leave, pass).await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let grant = |asked: AuthUserGrantRoleRequest| Change::GrantRole { user: asked.user, role: asked.role };
        let header = self.change(request, grant).await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let revoke = |asked: AuthUserRevokeRoleRequest| Change::RevokeRole { user: asked.name, role: asked.role };
        let header = self.change(request, revoke).await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(&self, request: Request<AuthRoleAddRequest>) -> Result<Response<AuthRoleAddResponse>, Status> {
        let header = self.change(request, |asked| Change::AddRole { name: asked.name }).await?;
        Ok(Response::new(AuthRoleAddResponse { header }))
    }

    async fn role_get(&self, request: Request<AuthRoleGetRequest>) -> Result<Response<AuthRoleGetResponse>, Status> {
        let (message, replica) = self.0.admit(request).await?.into_parts();
        let policy = replica.policy.current();
        let role = policy.role(&message.role).ok_or(AuthFault::Refused(Refused::RoleNotFound)).map_err(Fault::from)?;
        let perm = role.permissions().map(told).collect();
        Ok(Response::new(AuthRoleGetResponse { header: Some(replica.header_now()), perm }))
    }

    async fn role_list(&self, request: Request<AuthRoleListRequest>) -> Result<Response<AuthRoleListResponse>, Status> {
        let (_, replica) = self.0.admit(request).await?.into_parts();
        let roles = replica.policy.current().roles().map(str::to_owned).collect();
        Ok(Response::new(AuthRoleListResponse { header: Some(replica.header_now()), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let header = self.change(request, |asked| Change::DeleteRole { name: asked.role }).await?;
        Ok(Response::new(AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let grant = |asked: AuthRoleGrantPermissionRequest| Change::GrantPermission {
            role: asked.name,
            permission: asked.perm.map(asked_for),
        };
        let header = self.change(request, grant).await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let revoke = |asked: AuthRoleRevokePermissionRequest| Change::RevokePermission {
            role: asked.role,
            key: asked.key,
            range_end: asked.range_end,
        };
        let header = self.change(request, revoke).await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header }))
    }
}

fn asked_for(permission: authpb::Permission) -> Permission {
    let authpb::Permission { perm_type, key, range_end } = permission;
    Permission { access: Access::of(perm_type), key, range_end }
}

fn told(permission: &Permission) -> authpb::Permission {
    let Permission { access, key, range_end } = permission.clone();
    authpb::Permission { perm_type: access.number(), key, range_end }
}

/// A hash that a client has made, in base64; as in Go line breaks do not count. None at all is the hash of no password.
fn hash_of(text: &str) -> Option<PasswordHash> {
    let text: String = text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
    STANDARD.decode(text).ok().map(PasswordHash::from_bytes)
}
