//! Who leaves a line, and when: by unlocking, with a lease, because the caller is gone or may not stand there any more, and when the server stops.

use std::time::Duration;

use anyhow::{Context, Result};
use tombolo_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, AuthenticateRequest, LeaseGrantRequest, StatusRequest,
    },
    v3lockpb::LockRequest,
};
use tombolo_rig::process::{Launch, Server};
use tonic::Code;

use super::site::{Site, still_waits};

/// A lock goes on when its holder unlocks it, and when its holder's lease ends. A waiter whose own lease has ended learns it when its turn comes.
async fn goes_on(launch: Launch) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let site = Site::of(&server).await?;
    for lease in 1..=4 {
        site.grant(lease, 600).await?;
    }
    let held = site.lock("door", 1).await?;
    let second = site.wait_for_lock("door", 2).await?;
    let third = site.wait_for_lock("door", 3).await?;
    let fourth = site.wait_for_lock("door", 4).await?;
    assert!(still_waits(&second).await);
    site.unlock(&held.key).await?;
    assert_eq!(second.await??.key, "door/2");
    site.revoke(3).await?;
    assert!(still_waits(&third).await && still_waits(&fourth).await);
    site.revoke(2).await?;
    let version = site.connection.maintenance.clone().status(StatusRequest {}).await?.into_inner().version;
    match third.await? {
        Err(why) => assert_eq!((why.code(), why.message()), (Code::Unknown, "mutex: session is expired")),
        // Releases before 3.5 do not look.
        Ok(_) => assert!(version.starts_with("3.4"), "{version}: its lease has ended"),
    }
    let fourth = fourth.await??;
    assert_eq!(fourth.key, "door/4");
    assert!(fourth.header.context("a header")?.revision > held.header.context("a header")?.revision);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_on_when_its_holder_goes() -> Result<()> {
    goes_on(Server::tombolo()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_on_when_its_holder_goes_on_etcd_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    goes_on(etcd).await
}

/// Whoever hangs up has no place in line any more, and those behind move up.
async fn hangs_up(launch: Launch) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let site = Site::of(&server).await?;
    for lease in 1..=4 {
        site.grant(lease, 600).await?;
    }
    let held = site.lock("door", 1).await?;
    let dropped = site.wait_for_lock("door", 2).await?;
    let elsewhere = Site::of(&server).await?;
    let cut = elsewhere.wait_for_lock("door", 3).await?;
    let last = site.wait_for_lock("door", 4).await?;
    // One call is cancelled, and of the other the whole connection goes.
    dropped.abort();
    site.until_key("door/2", false).await?;
    cut.abort();
    drop((cut, elsewhere));
    site.until_key("door/3", false).await?;
    assert!(still_waits(&last).await);
    site.unlock(&held.key).await?;
    assert_eq!(last.await??.key, "door/4");
    // Candidates likewise.
    site.campaign("captain", 1, "leads").await?;
    let candidate = site.wait_to_lead("captain", 2).await?;
    candidate.abort();
    site.until_key("captain/2", false).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hangs_up_leaves_the_line() -> Result<()> {
    hangs_up(Server::tombolo()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hangs_up_leaves_the_line_of_etcd_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    hangs_up(etcd).await
}

/// etcd gives the place up under the second call. Here it stays until the last of its callers has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_made_again_keeps_the_place_of_the_first() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let site = Site::of(&server).await?;
    for lease in [1, 2] {
        site.grant(lease, 600).await?;
    }
    let held = site.lock("door", 1).await?;
    let first = site.wait_for_lock("door", 2).await?;
    let again = site.clone();
    let again = tokio::spawn(async move { again.lock("door", 2).await });
    assert!(still_waits(&again).await);
    first.abort();
    assert!(still_waits(&again).await);
    site.unlock(&held.key).await?;
    assert_eq!(again.await??.key, "door/2");
    site.until_key("door/2", true).await?;
    Ok(())
}

/// A lease ends in time, too: here nobody but time ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_renews_nothing_loses_its_lock() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let site = Site::of(&server).await?;
    site.connection.lease.clone().lease_grant(LeaseGrantRequest { ttl: 2, id: 1 }).await?;
    site.grant(2, 600).await?;
    site.lock("door", 1).await?;
    let waiting = site.wait_for_lock("door", 2).await?;
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), waiting).await???.key, "door/2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_with_the_server_and_holding_does_not() -> Result<()> {
    let mut server = Server::tombolo().start().await?;
    let site = Site::of(&server).await?;
    for lease in [1, 2, 3] {
        site.grant(lease, 600).await?;
    }
    site.lock("door", 1).await?;
    let waiting = site.wait_for_lock("door", 2).await?;
    site.campaign("captain", 1, "leads").await?;
    let candidate = site.wait_to_lead("captain", 3).await?;
    server.stop()?;
    for refused in [waiting.await?.err(), candidate.await?.err()] {
        let refused = refused.context("the server stopped")?;
        assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: server stopped"));
    }
    server.restart().await?;
    let site = Site::of(&server).await?;
    let keys: Vec<_> = site.pairs("").await?.into_iter().map(|pair| pair.key).collect();
    assert_eq!(keys, ["captain/1", "door/1"]);
    Ok(())
}

/// What is permitted when a call begins may not be when its turn comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_is_no_longer_permitted_does_not_get_the_lock() -> Result<()> {
    let server = Server::tombolo().with("--bcrypt-cost", "4").in_memory().start().await?;
    let mut site = Site::of(&server).await?;
    for lease in [1, 2] {
        site.grant(lease, 600).await?;
    }
    let auth = &mut site.connection.auth;
    for name in ["root", "ann"] {
        let password = "pw".to_owned();
        auth.user_add(AuthUserAddRequest { name: name.into(), password, ..Default::default() }).await?;
    }
    for role in ["root", "doors"] {
        auth.role_add(AuthRoleAddRequest { name: role.into() }).await?;
    }
    let perm_type = Type::Readwrite.into();
    let perm = Some(Permission { perm_type, key: "door/".into(), range_end: "door0".into() });
    auth.role_grant_permission(AuthRoleGrantPermissionRequest { name: "doors".into(), perm }).await?;
    for (user, role) in [("root", "root"), ("ann", "doors")] {
        auth.user_grant_role(AuthUserGrantRoleRequest { user: user.into(), role: role.into() }).await?;
    }
    auth.auth_enable(AuthEnableRequest {}).await?;
    let root = Caller::sign_in(&site, "root").await?;
    let ann = Caller::sign_in(&site, "ann").await?;
    let strange = ann.lock("window", 2).await.err().context("refused")?;
    assert_eq!((strange.code(), strange.message()), (Code::Unknown, "etcdserver: permission denied"));
    let held = root.lock("door", 1).await?;
    let waiting = tokio::spawn(async move { ann.lock("door", 2).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let revoke = AuthUserRevokeRoleRequest { name: "ann".into(), role: "doors".into() };
    root.site.connection.auth.clone().user_revoke_role(root.signed(revoke)?).await?;
    let unlock = tombolo_proto::v3lockpb::UnlockRequest { key: held.key };
    root.site.lock.clone().unlock(root.signed(unlock)?).await?;
    let refused = waiting.await?.err().context("not permitted any more")?;
    assert_eq!(refused.code(), Code::Unknown, "{refused}");
    assert_eq!(root.lock("door", 1).await?.key, "door/1", "nobody stands in the way");
    Ok(())
}

/// Somebody with a token.
struct Caller {
    site: Site,
    token: String,
}

impl Caller {
    async fn sign_in(site: &Site, name: &str) -> Result<Self> {
        let request = AuthenticateRequest { name: name.into(), password: "pw".into() };
        let token = site.connection.auth.clone().authenticate(request).await?.into_inner().token;
        Ok(Self { site: site.clone(), token })
    }

    fn signed<T>(&self, message: T) -> Result<tonic::Request<T>> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("token", self.token.parse()?);
        Ok(request)
    }

    async fn lock(
        &self,
        name: &'static str,
        lease: i64,
    ) -> Result<tombolo_proto::v3lockpb::LockResponse, tonic::Status> {
        let request = self.signed(LockRequest { name: name.into(), lease });
        let request = request.map_err(|why| tonic::Status::internal(why.to_string()))?;
        Ok(self.site.lock.clone().lock(request).await?.into_inner())
    }
}
