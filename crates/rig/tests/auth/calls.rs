//! Short ways to make calls as somebody.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tombolo_proto::{
    authpb::Permission,
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest, AuthUserGetRequest,
        AuthUserGrantRoleRequest, AuthenticateRequest, PutRequest, RangeRequest,
    },
};
use tombolo_rig::{
    connect::Connection,
    process::{Launch, Server},
    request::{
        Answer, Request,
        auth::{AuthAnswer, AuthRequest, Sender},
    },
};

pub(crate) const DENIED: &str = "etcdserver: permission denied";
pub(crate) const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
pub(crate) const NO_USER: &str = "etcdserver: user name is empty";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose passwords are cheap to hash.
pub(crate) fn tombolo() -> Launch {
    Server::tombolo().in_memory().with("--bcrypt-cost", "4")
}

/// The answer to a request by a user who has logged in over this connection; without a name by nobody.
pub(crate) async fn ask(connection: &mut Connection, user: &str, request: Request) -> Result<Answer> {
    if user.is_empty() {
        return request.send(connection).await;
    }
    Request::As(Sender::User(user.to_owned()), Box::new(request)).send(connection).await
}

/// The same for a call of `Auth` that must not be refused.
pub(crate) async fn must(connection: &mut Connection, user: &str, request: AuthRequest) -> Result<AuthAnswer> {
    let text = format!("{request:?}");
    match ask(connection, user, Request::Auth(request)).await? {
        Answer::Auth(answer) => Ok(answer),
        other => bail!("{text}: {other:?}"),
    }
}

pub(crate) async fn log_in(connection: &mut Connection, user: &str, password: &str) -> Result<String> {
    let login = AuthenticateRequest { name: user.to_owned(), password: password.to_owned() };
    match must(connection, "", AuthRequest::Authenticate(login)).await? {
        AuthAnswer::Authenticate(login) => Ok(login.token),
        other => bail!("{other:?}"),
    }
}

pub(crate) fn user_add(name: &str, password: &str) -> AuthRequest {
    AuthRequest::UserAdd(AuthUserAddRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        ..Default::default()
    })
}

pub(crate) fn role_add(name: &str) -> AuthRequest {
    AuthRequest::RoleAdd(AuthRoleAddRequest { name: name.to_owned() })
}

pub(crate) fn grant(user: &str, role: &str) -> AuthRequest {
    AuthRequest::UserGrantRole(AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() })
}

/// Reading and writing of everything that begins with `prefix`, a single letter.
pub(crate) fn permit(role: &str, prefix: u8) -> AuthRequest {
    let perm = Permission { perm_type: 2, key: vec![prefix].into(), range_end: vec![prefix + 1].into() };
    AuthRequest::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: role.to_owned(), perm: Some(perm) })
}

/// Root and `ann`, whose role `r` has what begins with `a`; then judging begins.
pub(crate) async fn furnish(connection: &mut Connection) -> Result<()> {
    for request in [
        user_add("root", "master"),
        grant("root", "root"),
        user_add("ann", "window"),
        role_add("r"),
        permit("r", b'a'),
        grant("ann", "r"),
        AuthRequest::Enable(AuthEnableRequest {}),
    ] {
        must(connection, "", request).await?;
    }
    Ok(())
}

pub(crate) fn put(key: &'static str) -> Request {
    Request::Put(PutRequest { key: key.into(), value: "v".into(), ..Default::default() })
}

pub(crate) fn get(key: &'static str) -> Request {
    Request::Range(RangeRequest { key: key.into(), ..Default::default() })
}

/// How a request is refused; empty when it is not.
pub(crate) async fn refusal(connection: &mut Connection, user: &str, request: Request) -> Result<String> {
    Ok(match ask(connection, user, request).await? {
        Answer::Refused { message, .. } => message,
        _ => String::new(),
    })
}

/// Waits until a request of a user is refused with this text, or not at all if it is empty.
pub(crate) async fn until(connection: &mut Connection, user: &str, request: Request, text: &str) -> Result<()> {
    let since = Instant::now();
    loop {
        let found = refusal(connection, user, request.clone()).await?;
        if found == text {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "{user}: {request:?} is answered {found:?}, not {text:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The roles of a user, as root sees them.
pub(crate) async fn roles(connection: &mut Connection, name: &str) -> Result<Vec<String>> {
    match must(connection, "root", AuthRequest::UserGet(AuthUserGetRequest { name: name.to_owned() })).await? {
        AuthAnswer::UserGet(user) => Ok(user.roles),
        other => bail!("{other:?}"),
    }
}
