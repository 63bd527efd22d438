//! Roads by which etcd once told or gave away what it should not have, each of them tried here: most by name of the advisory that tells of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::{
    Method,
    authpb::Permission,
    etcdserverpb::{
        AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleGrantPermissionRequest,
        AuthRoleGrantPermissionResponse, AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse,
        AuthUserDeleteRequest, AuthUserDeleteResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
        LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, PutResponse,
        RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
    },
};
use tombolo_rig::{
    http::Page,
    process::Server,
    roles::{
        Caller, Raw, World,
        world::{AFTER_SECRETS, LEASE, MARK, ROOTS_LEASE, SECRET, SECRETS},
    },
};
use tonic::{Code, Status, Streaming};

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
const NO_USER: &str = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";

async fn world() -> Result<World> {
    let mut world = World::start(Server::tombolo()).await?;
    world.restore_policy(true).await?;
    Ok(world)
}

/// A watch, once it says whether it was begun.
async fn watch(
    raw: &Raw,
    create: WatchCreateRequest,
    token: Option<&str>,
) -> Result<(Streaming<Bytes>, WatchResponse)> {
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut answers = raw.open(Method::Watch, vec![request.encode_to_vec().into()], token).await?;
    let first = heard(&mut answers).await?;
    Ok((answers, first))
}

async fn heard(answers: &mut Streaming<Bytes>) -> Result<WatchResponse> {
    let message = timeout(Duration::from_secs(10), answers.message()).await.context("nothing was heard")??;
    Ok(WatchResponse::decode(message.context("the stream ended")?)?)
}

fn range_of(key: &'static str, range_end: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.into(), range_end: range_end.into(), ..Default::default() }
}

async fn grant(
    world: &mut World,
    role: &str,
    perm_type: i32,
    key: &'static str,
    range_end: &'static str,
) -> Result<()> {
    let perm = Some(Permission { perm_type, key: key.into(), range_end: range_end.into() });
    let request = AuthRoleGrantPermissionRequest { name: role.to_owned(), perm };
    world.asked::<AuthRoleGrantPermissionResponse>(Method::AuthRoleGrantPermission, &request).await?;
    Ok(())
}

async fn revoke_secrets(world: &mut World, role: &str) -> Result<()> {
    let (key, range_end) = (SECRETS.into(), AFTER_SECRETS.into());
    let request = AuthRoleRevokePermissionRequest { role: role.to_owned(), key, range_end };
    world.asked::<AuthRoleRevokePermissionResponse>(Method::AuthRoleRevokePermission, &request).await?;
    Ok(())
}

async fn put(raw: &Raw, key: &str, lease: i64, token: Option<&str>) -> Result<PutResponse, Status> {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), "SECRETagain".into());
    raw.ask(Method::KvPut, &PutRequest { key, value, lease, ..Default::default() }, token).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_ends_the_watches_it_began() -> Result<()> {
    let mut world = world().await?;
    let token = world.token(Caller::Reader).map(str::to_owned);
    let (mut idle, first) = watch(world.raw(), range_of(SECRETS, AFTER_SECRETS), token.as_deref()).await?;
    assert!(first.created && !first.canceled, "{first:?}");
    let root = world.token(Caller::Root).map(str::to_owned);
    put(world.raw(), SECRET, 0, root.as_deref()).await?;
    assert_eq!(heard(&mut idle).await?.events.len(), 1, "what is permitted is told");

    revoke_secrets(&mut world, "reader").await?;
    put(world.raw(), SECRET, 0, root.as_deref()).await?;
    let end = heard(&mut idle).await?;
    assert!(end.canceled && end.events.is_empty() && end.watch_id == first.watch_id, "{end:?}");
    assert_eq!(end.cancel_reason, DENIED);
    let more = timeout(Duration::from_millis(500), idle.message()).await;
    assert!(more.is_err(), "nothing follows: {more:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_that_is_made_after_a_revocation_reaches_a_watch_under_way() -> Result<()> {
    let mut world = world().await?;
    let token = world.token(Caller::Reader).map(str::to_owned);
    let root = world.token(Caller::Root).map(str::to_owned);
    let (mut busy, first) = watch(world.raw(), range_of(SECRETS, AFTER_SECRETS), token.as_deref()).await?;
    assert!(first.created, "{first:?}");
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (raw, root, stop) = (world.raw().clone(), root.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                put(&raw, SECRET, 0, root.as_deref()).await?;
            }
            anyhow::Ok(())
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    revoke_secrets(&mut world, "reader").await?;
    // The revision of a put that begins when the revocation is known.
    let after = put(world.raw(), SECRET, 0, root.as_deref()).await?.header.context("a header")?.revision;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    writing.await??;
    let mut told = 0;
    loop {
        let response = heard(&mut busy).await?;
        if response.canceled {
            assert_eq!(response.cancel_reason, DENIED);
            break;
        }
        for event in response.events {
            let revision = event.kv.context("a pair")?.mod_revision;
            assert!(revision < after, "an event of revision {revision} was told; {after} was after the revocation");
            told += 1;
        }
    }
    assert!(told > 0, "there was something to tell before");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_before_there_was_a_policy_ends_with_it() -> Result<()> {
    let mut world = World::start(Server::tombolo()).await?;
    let (mut old, first) = watch(world.raw(), range_of("", "\0"), None).await?;
    assert!(first.created && !first.canceled, "{first:?}");
    world.asked::<AuthEnableResponse>(Method::AuthEnable, &AuthEnableRequest {}).await?;
    let end = heard(&mut old).await?;
    assert!(end.canceled, "{end:?}");
    assert_eq!(end.cancel_reason, NO_USER);
    // And when it is out of force again, everybody may again.
    world.asked::<AuthDisableResponse>(Method::AuthDisable, &AuthDisableRequest {}).await?;
    let (_, first) = watch(world.raw(), range_of("", "\0"), None).await?;
    assert!(first.created && !first.canceled, "{first:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_takes_nothing_away_ends_no_watch() -> Result<()> {
    let mut world = world().await?;
    let token = world.token(Caller::Reader).map(str::to_owned);
    let root = world.token(Caller::Root).map(str::to_owned);
    let (mut kept, _) = watch(world.raw(), range_of(SECRETS, AFTER_SECRETS), token.as_deref()).await?;
    grant(&mut world, "reader", 0, "x", "y").await?;
    revoke_secrets(&mut world, "writer").await?;
    put(world.raw(), SECRET, 0, root.as_deref()).await?;
    assert_eq!(heard(&mut kept).await?.events.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_is_deleted_sees_nothing_more() -> Result<()> {
    let mut world = world().await?;
    let token = world.token(Caller::Reader).map(str::to_owned);
    let (mut watched, _) = watch(world.raw(), range_of(SECRETS, AFTER_SECRETS), token.as_deref()).await?;
    let request = AuthUserDeleteRequest { name: "reader".to_owned() };
    world.asked::<AuthUserDeleteResponse>(Method::AuthUserDelete, &request).await?;
    assert_eq!(heard(&mut watched).await?.cancel_reason, DENIED);
    let range = RangeRequest { key: SECRET.into(), ..Default::default() };
    let refused = world.raw().ask::<RangeResponse>(Method::KvRange, &range, token.as_deref()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    Ok(())
}

/// GHSA-xg4h-6gfc-h4m8: the right to one key was taken for the right to watch all that follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_one_key_is_the_right_to_no_other() -> Result<()> {
    let mut world = world().await?;
    revoke_secrets(&mut world, "reader").await?;
    grant(&mut world, "reader", 0, SECRET, "").await?;
    let token = world.token(Caller::Reader);
    let after = || format!("{SECRET}\0");
    let asked = |key: &str, range_end: &str| WatchCreateRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(range_end.as_bytes()),
        ..Default::default()
    };
    for (key, range_end, may) in [
        (SECRET, "", true),
        (SECRET, after().as_str(), true),
        (SECRET, "\0", false),
        (SECRET, "a/SECRETkeyz", false),
        (&after(), "", false),
        (&after(), "\0", false),
        ("", "\0", false),
        ("", "", false),
    ] {
        let (_, first) = watch(world.raw(), asked(key, range_end), token).await?;
        assert_eq!(first.canceled, !may, "watch {key:?} {range_end:?}");
        let (key, range_end) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(range_end.as_bytes()));
        if !key.is_empty() {
            let range = RangeRequest { key, range_end, ..Default::default() };
            let answer = world.raw().ask::<RangeResponse>(Method::KvRange, &range, token).await;
            assert_eq!(answer.is_ok(), may, "{range:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_right_reaches_to_the_end_and_not_before_its_begin() -> Result<()> {
    let mut world = world().await?;
    grant(&mut world, "reader", 0, "m", "\0").await?;
    let token = world.token(Caller::Reader);
    for (key, range_end, may) in [("m", "\0", true), ("z", "\0", true), ("z", "zz", true), ("l", "\0", false)] {
        let range = RangeRequest { key: key.into(), range_end: range_end.into(), ..Default::default() };
        let answer = world.raw().ask::<RangeResponse>(Method::KvRange, &range, token).await;
        assert_eq!(answer.is_ok(), may, "{range:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_no_longer_permitted_ends_its_stream() -> Result<()> {
    let mut world = world().await?;
    let token = world.token(Caller::Writer).map(str::to_owned);
    let (sender, receiver) = mpsc::channel(4);
    let renewal = || Bytes::from(LeaseKeepAliveRequest { id: LEASE }.encode_to_vec());
    sender.send(renewal()).await?;
    let requests = ReceiverStream::new(receiver);
    let mut answers = world.raw().converse(Method::LeaseKeepAlive, requests, token.as_deref()).await?;
    let first = answers.message().await?.context("a renewal")?;
    assert!(LeaseKeepAliveResponse::decode(first)?.ttl > 0);
    revoke_secrets(&mut world, "writer").await?;
    sender.send(renewal()).await?;
    let end = timeout(Duration::from_secs(5), answers.message()).await?;
    let status = end.expect_err("it is refused");
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "etcdserver: permission denied"));
    Ok(())
}

/// What a lease shows and ends are its keys: CVE-2023-32082, and CVE-2026-44283.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_told_and_ended_as_far_as_its_keys_may_be() -> Result<()> {
    let mut world = world().await?;
    let revoke = |id| LeaseRevokeRequest { id };
    world.asked::<LeaseRevokeResponse>(Method::LeaseRevoke, &revoke(ROOTS_LEASE)).await?;
    let [reader, writer, root] = [Caller::Reader, Caller::Writer, Caller::Root].map(|caller| world.token(caller));
    let raw = world.raw();
    let list = |token| raw.ask::<LeaseLeasesResponse>(Method::LeaseLeases, &LeaseLeasesRequest {}, token);
    assert_eq!(list(reader).await?.leases.len(), 1, "every key of every lease may be read");
    assert_eq!(list(writer).await.unwrap_err().code(), Code::PermissionDenied);

    // Somebody else's key comes to the lease.
    put(raw, "b/other", LEASE, root).await?;
    assert_eq!(list(reader).await.unwrap_err().code(), Code::PermissionDenied);
    let refused = raw.ask::<LeaseRevokeResponse>(Method::LeaseRevoke, &revoke(LEASE), writer).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(put(raw, SECRET, LEASE, writer).await.unwrap_err().code(), Code::PermissionDenied);

    // And leaves it again.
    put(raw, "b/other", 0, root).await?;
    put(raw, SECRET, LEASE, writer).await?;
    raw.ask::<LeaseRevokeResponse>(Method::LeaseRevoke, &revoke(LEASE), writer).await?;
    Ok(())
}

/// Judged and carried out is one thing: whoever was told of a revocation finds that no put gets in that begins then.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_put_that_begins_after_a_revocation_succeeds() -> Result<()> {
    let mut world = world().await?;
    let token = world.token(Caller::Writer).map(str::to_owned);
    for _ in 0..5 {
        let revoked = Arc::new(AtomicBool::new(false));
        let put_before = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let (raw, token) = (world.raw().clone(), token.clone());
                let (revoked, put_before) = (Arc::clone(&revoked), Arc::clone(&put_before));
                tokio::spawn(async move {
                    let mut refused = 0;
                    while refused < 5 {
                        // Looked at before the put begins.
                        let is_revoked = revoked.load(Ordering::SeqCst);
                        match put(&raw, SECRET, 0, token.as_deref()).await {
                            Ok(_) => {
                                assert!(!is_revoked, "a put got in that began after the revocation");
                                put_before.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(status) if status.code() == Code::PermissionDenied => refused += 1,
                            Err(status) => panic!("{status}"),
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        revoke_secrets(&mut world, "writer").await?;
        revoked.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.await?;
        }
        assert!(put_before.load(Ordering::Relaxed) > 0, "the puts had begun");
        grant(&mut world, "writer", 1, SECRETS, AFTER_SECRETS).await?;
    }
    Ok(())
}

/// The JSON gateway is no side door: the same rights, by the token of its own header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_lets_nobody_through_whom_the_calls_do_not() -> Result<()> {
    let world = world().await?;
    let ask = |token: Option<&str>| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(token.map(|token| ("authorization", token)));
        // {"key": "a/SECRETkey"}
        let page =
            Page::ask(world.server().address(), "POST", "/v3/kv/range", &headers, br#"{"key":"YS9TRUNSRVRrZXk="}"#)?;
        anyhow::Ok((page.status, page.body))
    };
    let secret = "U0VDUkVUdmFsdWU";
    let (status, body) = ask(world.token(Caller::Reader))?;
    assert!(status == 200 && body.contains(secret), "{status} {body}");
    for caller in [Caller::Nobody, Caller::Forger, Caller::Expired, Caller::Bare, Caller::Writer, Caller::Neighbour] {
        let (status, body) = ask(world.token(caller))?;
        assert!(status >= 400, "{caller:?}: {status} {body}");
        let mark = String::from_utf8_lossy(MARK);
        assert!(!body.contains(secret) && !body.contains(&*mark), "{caller:?}: {body}");
    }
    Ok(())
}
