//! Users in a mesh: they are the same everywhere, what two sites change apart is merged, and a right that was taken away at one is gone at the other
//! once it has heard of it. Tokens are a replica's own.

use anyhow::Result;
use tombolo_proto::etcdserverpb::{
    AuthUserDeleteRequest, AuthUserRevokeRoleRequest, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_request::RequestUnion,
};
use tombolo_rig::{
    connect::Connection,
    mesh::{Mesh, Shape},
    request::auth::{AuthRequest, Sender},
};
use tonic::Streaming;

use super::calls::{
    DENIED, INVALID_TOKEN, PATIENCE, furnish, get, grant, log_in, must, permit, put, refusal, role_add, roles, tombolo,
    until, user_add,
};

/// Two sites that agree on root and ann, and a connection to each on which both have logged in.
async fn two_sites() -> Result<(Mesh, Connection, Connection)> {
    let mut mesh = Mesh::prepare(&tombolo(), &["harbour", "ferry"], Shape::full(2), 11)?;
    mesh.start().await?;
    let (mut harbour, mut ferry) = (mesh.sites()[0].connect().await?, mesh.sites()[1].connect().await?);
    mesh.converge(PATIENCE).await?;
    furnish(&mut harbour).await?;
    until(&mut ferry, "", get("a1"), super::calls::NO_USER).await?;
    for connection in [&mut harbour, &mut ferry] {
        log_in(connection, "root", "master").await?;
        log_in(connection, "ann", "window").await?;
    }
    Ok((mesh, harbour, ferry))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_made_at_one_site_logs_in_at_the_other_and_tokens_stay_at_home() -> Result<()> {
    let (_mesh, harbour, mut ferry) = two_sites().await?;
    assert_eq!(refusal(&mut ferry, "ann", put("a1")).await?, "");
    assert_eq!(refusal(&mut ferry, "ann", put("b1")).await?, DENIED);
    ferry.wallet = harbour.wallet.clone();
    assert_eq!(refusal(&mut ferry, "ann", get("a1")).await?, INVALID_TOKEN);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_of_two_sites_that_are_cut_off_are_both_there_afterwards() -> Result<()> {
    let (mesh, mut harbour, mut ferry) = two_sites().await?;
    mesh.isolate(0)?;
    for (connection, role, prefix, newcomer) in [(&mut harbour, "h", b'h', "hal"), (&mut ferry, "f", b'f', "fay")] {
        for request in
            [role_add(role), permit(role, prefix), grant("ann", role), user_add(newcomer, "p"), grant(newcomer, "r")]
        {
            must(connection, "root", request).await?;
        }
    }
    assert_eq!((roles(&mut harbour, "ann").await?, roles(&mut ferry, "ann").await?), (names("h r"), names("f r")));
    mesh.heal()?;
    for connection in [&mut harbour, &mut ferry] {
        until(connection, "ann", put("h1"), "").await?;
        until(connection, "ann", put("f1"), "").await?;
        assert_eq!(roles(connection, "ann").await?, names("f h r"));
        for newcomer in ["hal", "fay"] {
            log_in(connection, newcomer, "p").await?;
            assert_eq!(refusal(connection, newcomer, put("a1")).await?, "");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_was_taken_away_is_gone_at_the_other_site_once_it_hears_of_it() -> Result<()> {
    let (mesh, mut harbour, mut ferry) = two_sites().await?;
    let mut watch = watch(&mut ferry, "ann").await?;
    mesh.isolate(0)?;
    let revoke = AuthUserRevokeRoleRequest { name: "ann".into(), role: "r".into() };
    must(&mut harbour, "root", AuthRequest::UserRevokeRole(revoke)).await?;
    assert_eq!(refusal(&mut harbour, "ann", put("a1")).await?, DENIED, "here it is gone at once");
    assert_eq!(refusal(&mut ferry, "ann", put("a1")).await?, "", "there nobody has heard of it");
    let told = watch.message().await?.expect("the watch still tells her");
    assert_eq!(told.events.len(), 1);
    mesh.heal()?;
    until(&mut ferry, "ann", put("a1"), DENIED).await?;
    let ended = tokio::time::timeout(PATIENCE, async {
        while let Some(told) = watch.message().await? {
            if told.canceled {
                break;
            }
        }
        anyhow::Ok(())
    });
    ended.await.expect("a watch ends with the right to it")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_was_removed_is_gone_everywhere_with_all_tokens() -> Result<()> {
    let (mesh, mut harbour, mut ferry) = two_sites().await?;
    mesh.isolate(0)?;
    must(&mut harbour, "root", AuthRequest::UserDelete(AuthUserDeleteRequest { name: "ann".into() })).await?;
    must(&mut ferry, "root", grant("ann", "root")).await?;
    mesh.heal()?;
    until(&mut ferry, "ann", get("a1"), INVALID_TOKEN).await?;
    assert!(log_in(&mut ferry, "ann", "window").await.is_err());
    // A new one of the name has nothing of what was granted to the old one.
    must(&mut ferry, "root", user_add("ann", "door")).await?;
    assert_eq!(roles(&mut ferry, "ann").await?, names(""));
    Ok(())
}

async fn watch(connection: &mut Connection, user: &str) -> Result<Streaming<WatchResponse>> {
    let create = WatchCreateRequest { key: "a".into(), range_end: "b".into(), ..Default::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    connection.wallet.show(Some(&Sender::User(user.to_owned())));
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(create), tokio_stream::pending());
    let request = connection.wallet.sign(requests)?;
    connection.wallet.show(None);
    let mut answers = connection.watch.watch(request).await?.into_inner();
    let created = answers.message().await?.expect("an answer");
    assert!(created.created && !created.canceled, "{created:?}");
    Ok(answers)
}

fn names(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}
