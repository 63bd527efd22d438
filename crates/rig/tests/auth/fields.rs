//! What random calls beside an old etcd leave out: whether anybody is judged, and passwords that come as hashes.

use anyhow::{Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tombolo_proto::etcdserverpb::{
    AuthDisableRequest, AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest, AuthUserChangePasswordRequest,
};
use tombolo_rig::{
    connect::Connection,
    request::auth::{AuthAnswer, AuthRequest},
};

use super::calls::{ask, furnish, log_in, must, put, role_add, tombolo};

async fn status(connection: &mut Connection) -> Result<AuthStatusResponse> {
    match must(connection, "", AuthRequest::Status(AuthStatusRequest {})).await? {
        AuthAnswer::Status(status) => Ok(status),
        other => bail!("{other:?}"),
    }
}

/// Whoever has to log in may ask whether that is so.
#[tokio::test]
async fn the_status_tells_whether_anybody_is_judged_and_how_often_that_changed() -> Result<()> {
    let server = tombolo().start().await?;
    let mut connection = server.connect().await?;
    let told = |status: &AuthStatusResponse| (status.enabled, status.auth_revision);
    assert_eq!(told(&status(&mut connection).await?), (false, 1));
    furnish(&mut connection).await?;
    // As in etcd, switching it on is no change of its own: two users, a role, a right and two grants are.
    assert_eq!(told(&status(&mut connection).await?), (true, 7));
    log_in(&mut connection, "root", "master").await?;
    must(&mut connection, "root", role_add("s")).await?;
    let before = status(&mut connection).await?;
    assert_eq!(told(&before), (true, 8));
    ask(&mut connection, "root", put("a1")).await?;
    let after = status(&mut connection).await?;
    assert_eq!(told(&after), (true, 8));
    let revision = |status: AuthStatusResponse| status.header.map(|header| header.revision);
    assert_eq!((revision(before), revision(after)), (Some(1), Some(2)));
    must(&mut connection, "root", AuthRequest::Disable(AuthDisableRequest {})).await?;
    assert!(!status(&mut connection).await?.enabled);
    Ok(())
}

/// A hash of `p`, as etcd's clients bring it.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG";

#[tokio::test]
async fn a_hash_that_a_client_brings_is_a_password_when_one_is_changed_and_not_when_a_user_is_added() -> Result<()> {
    let server = tombolo().start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    log_in(&mut connection, "root", "master").await?;
    let hashed_password = STANDARD.encode(HASH);
    let change = AuthUserChangePasswordRequest {
        name: "ann".into(),
        hashed_password: hashed_password.clone(),
        ..Default::default()
    };
    must(&mut connection, "root", AuthRequest::UserChangePassword(change.clone())).await?;
    log_in(&mut connection, "ann", "p").await?;
    assert!(log_in(&mut connection, "ann", "window").await.is_err());
    // A password beside it counts, and the hash does not.
    let both = AuthUserChangePasswordRequest { password: "door".into(), ..change };
    must(&mut connection, "root", AuthRequest::UserChangePassword(both)).await?;
    log_in(&mut connection, "ann", "door").await?;
    assert!(log_in(&mut connection, "ann", "p").await.is_err());

    let add = AuthUserAddRequest { name: "bob".into(), password: "gate".into(), hashed_password, options: None };
    must(&mut connection, "root", AuthRequest::UserAdd(add)).await?;
    log_in(&mut connection, "bob", "gate").await?;
    assert!(log_in(&mut connection, "bob", "p").await.is_err());
    Ok(())
}
