//! Leases in a mesh: their time is counted at the site that granted them, and nowhere else.

use std::time::Duration;

use anyhow::{Context, Result};
use tombolo_proto::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
        WatchCreateRequest,
    },
    mvccpb::{KeyValue, event::EventType},
};
use tombolo_rig::{
    connect::Connection,
    mesh::{Mesh, Shape},
    process::Server,
    watching::stream::WatchStream,
};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two sites that have converged, and a connection to each.
async fn two_sites() -> Result<(Mesh, Connection, Connection)> {
    let launch = Server::tombolo().in_memory();
    let mut mesh = Mesh::prepare(&launch, &["factory", "ship"], Shape::full(2), 7)?;
    mesh.start().await?;
    mesh.converge(PATIENCE).await?;
    let (factory, ship) = (mesh.sites()[0].connect().await?, mesh.sites()[1].connect().await?);
    Ok((mesh, factory, ship))
}

fn put_request(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

async fn get(connection: &mut Connection, key: &'static str) -> Result<Option<KeyValue>> {
    let request = RangeRequest { key: key.into(), ..Default::default() };
    Ok(connection.kv.range(request).await?.into_inner().kvs.into_iter().next())
}

/// The pair once it has this value.
async fn seen(connection: &mut Connection, key: &'static str, value: &'static str) -> Result<KeyValue> {
    let wait = async {
        loop {
            match get(connection, key).await? {
                Some(pair) if pair.value == value.as_bytes() => return anyhow::Ok(pair),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("{key} never was {value}"))?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lives_at_its_home_and_ends_its_keys_everywhere() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    let granted = factory.lease.lease_grant(LeaseGrantRequest { ttl: 2, id: 0 }).await?.into_inner();
    let leased = PutRequest { lease: granted.id, ..put_request("leased", "1") };
    factory.kv.put(leased).await?;
    assert_eq!(seen(&mut ship, "leased", "1").await?.lease, granted.id);
    // A site that does not count the time does not speak of it.
    let elsewhere = |status: Option<tonic::Status>| {
        let status = status.unwrap_or_else(|| tonic::Status::ok(""));
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("factory"), "the home is named: {status:?}");
    };
    let revoke = LeaseRevokeRequest { id: granted.id };
    elsewhere(ship.lease.lease_revoke(revoke).await.err());
    let time = LeaseTimeToLiveRequest { id: granted.id, keys: true };
    elsewhere(ship.lease.lease_time_to_live(time).await.err());
    let renewal = tokio_stream::once(LeaseKeepAliveRequest { id: granted.id });
    elsewhere(ship.lease.lease_keep_alive(renewal).await?.into_inner().message().await.err());
    assert!(get(&mut ship, "leased").await?.is_some(), "none of that has ended it");
    // At home it runs out, and the key goes everywhere.
    let mut stream = WatchStream::open(&ship);
    stream.create(WatchCreateRequest { key: "leased".into(), ..Default::default() }).await?;
    stream
        .wait(|responses| {
            let mut events = responses.iter().flat_map(|response| &response.events);
            events.any(|event| {
                event.r#type() == EventType::Delete && event.kv.as_ref().is_some_and(|kv| kv.key == "leased")
            })
        })
        .await?;
    assert_eq!(get(&mut ship, "leased").await?, None);
    mesh.converge(PATIENCE).await?;
    // Gone is gone, here too.
    let renewal = tokio_stream::once(LeaseKeepAliveRequest { id: granted.id });
    let answer = ship.lease.lease_keep_alive(renewal).await?.into_inner().message().await?.context("an answer")?;
    assert_eq!(answer.ttl, 0);
    Ok(())
}
