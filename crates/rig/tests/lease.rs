//! Leases over time and over restarts. Real time passes here, so the shortest leases are used.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, WatchCreateRequest,
    },
    mvccpb::event::EventType,
};
use tombolo_rig::{
    connect::Connection,
    process::{Launch, Server},
    watching::stream::WatchStream,
};

async fn grant(connection: &mut Connection, id: i64, ttl: i64) -> Result<i64> {
    Ok(connection.lease.lease_grant(LeaseGrantRequest { ttl, id }).await?.into_inner().ttl)
}

async fn put(connection: &mut Connection, key: &'static str, lease: i64) -> Result<()> {
    let (key, value) = (Bytes::from(key), Bytes::from_static(b"x"));
    connection.kv.put(PutRequest { key, value, lease, ..Default::default() }).await?;
    Ok(())
}

/// Keys leave with their lease, as ordinary deletions; what has moved to another lease stays.
async fn expires(launch: Launch) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let mut connection = server.connect().await?;
    assert_eq!(grant(&mut connection, 7, 2).await?, 2);
    grant(&mut connection, 8, 3_000).await?;
    for key in ["c", "a", "b", "moved", "freed"] {
        put(&mut connection, key, 7).await?;
    }
    put(&mut connection, "moved", 8).await?;
    put(&mut connection, "freed", 0).await?;
    let mut stream = WatchStream::open(&connection);
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    stream.create(WatchCreateRequest { key, range_end, prev_kv: true, ..Default::default() }).await?;
    let started = Instant::now();
    let told = |wanted: usize| {
        move |responses: &[tombolo_proto::etcdserverpb::WatchResponse]| {
            responses.iter().map(|response| response.events.len()).sum::<usize>() >= wanted
        }
    };
    stream.wait(told(3)).await?;
    let elapsed = started.elapsed();
    assert!(elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(6), "{elapsed:?}");
    let events: Vec<_> = stream.responses().into_iter().flat_map(|response| response.events).collect();
    let keys: Vec<Bytes> = events.iter().filter_map(|event| Some(event.kv.as_ref()?.key.clone())).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert!(events.iter().all(|event| event.r#type() == EventType::Delete && event.prev_kv.is_some()), "{events:?}");
    let range = RangeRequest { key: Bytes::from("\0"), range_end: Bytes::from("\0"), ..Default::default() };
    let left = connection.kv.range(range).await?.into_inner();
    let left: Vec<(Bytes, i64)> = left.kvs.into_iter().map(|kv| (kv.key, kv.lease)).collect();
    assert_eq!(left, [(Bytes::from("freed"), 0), (Bytes::from("moved"), 8)]);
    let leases = connection.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    assert_eq!(leases.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_leave_with_their_lease() -> Result<()> {
    expires(Server::tombolo()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_leave_with_their_lease_in_etcd_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    expires(etcd).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_a_kill_and_start_anew() -> Result<()> {
    let mut server = Server::tombolo().start().await?;
    let mut connection = server.connect().await?;
    grant(&mut connection, 1, 1_000).await?;
    grant(&mut connection, 2, 3).await?;
    put(&mut connection, "long", 1).await?;
    put(&mut connection, "short", 2).await?;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.restart().await?;
    let mut connection = server.connect().await?;
    let ask = LeaseTimeToLiveRequest { id: 1, keys: true };
    let lease = connection.lease.lease_time_to_live(ask).await?.into_inner();
    assert_eq!((lease.granted_ttl, lease.keys), (1_000, vec![Bytes::from("long")]));
    assert!(lease.ttl >= 998, "a restart gives the full time again: {}", lease.ttl);
    let restarted = Instant::now();
    let short = RangeRequest { key: Bytes::from("short"), ..Default::default() };
    loop {
        let left = connection.kv.range(short.clone()).await?.into_inner().count;
        if left == 0 {
            break;
        }
        assert!(restarted.elapsed() < Duration::from_secs(10), "the short lease never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(restarted.elapsed() > Duration::from_millis(2_000), "it ended too soon: {:?}", restarted.elapsed());
    let header = connection.kv.range(short).await?.into_inner().header.context("a header")?;
    assert_eq!(header.revision, 4, "two puts and one expiry");
    Ok(())
}
