//! Leases in a mesh: their time is counted at the site that granted them, and nowhere else; other sites ask there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tombolo_proto::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseRevokeRequest,
        LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, RangeRequest, WatchCreateRequest,
    },
    mvccpb::{KeyValue, event::EventType},
};
use tombolo_rig::{
    connect::Connection,
    etcdctl::{Etcdctl, first_difference, wanted},
    mesh::{Mesh, Shape},
    process::Server,
    watching::stream::WatchStream,
};
use tonic::{Code, Status};

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

async fn keep_alive(connection: &mut Connection, id: i64) -> Result<i64, Status> {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = connection.lease.lease_keep_alive(requests).await?.into_inner();
    Ok(answers.message().await?.map_or(0, |answer| answer.ttl))
}

async fn time_to_live(connection: &mut Connection, id: i64) -> Result<LeaseTimeToLiveResponse, Status> {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    Ok(connection.lease.lease_time_to_live(request).await?.into_inner())
}

/// A lease of the first site, with a key that both sites see.
async fn leased(factory: &mut Connection, ship: &mut Connection, ttl: i64) -> Result<i64> {
    let id = factory.lease.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id;
    factory.kv.put(PutRequest { lease: id, ..put_request("leased", "1") }).await?;
    assert_eq!(seen(ship, "leased", "1").await?.lease, id);
    Ok(id)
}

async fn revoke(connection: &mut Connection, id: i64) -> Result<(), Status> {
    connection.lease.lease_revoke(LeaseRevokeRequest { id }).await.map(drop)
}

async fn grant(connection: &mut Connection, ttl: i64) -> Result<i64> {
    Ok(connection.lease.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id)
}

async fn put_leased(connection: &mut Connection, key: &'static str, lease: i64) -> Result<()> {
    connection.kv.put(PutRequest { lease, ..put_request(key, "1") }).await?;
    Ok(())
}

/// What a site answers to renewals that come in one stream, with a pause between any two.
async fn renewals(
    connection: &mut Connection,
    ids: &[i64],
    pause: Duration,
) -> Result<Vec<Result<LeaseKeepAliveResponse, Status>>> {
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let ids = ids.to_vec();
    tokio::spawn(async move {
        for id in ids {
            sender.send(LeaseKeepAliveRequest { id }).await.ok();
            tokio::time::sleep(pause).await;
        }
    });
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = connection.lease.lease_keep_alive(requests).await?.into_inner();
    let mut told = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => told.push(Ok(answer)),
            Ok(None) => return Ok(told),
            Err(status) => {
                told.push(Err(status));
                return Ok(told);
            }
        }
    }
}

/// Waits until a site knows a lease that another one has granted.
async fn known(connection: &mut Connection, id: i64) -> Result<()> {
    let wait = async {
        while keep_alive(connection, id).await? == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.context("the lease is not known")?
}

/// A refusal that names the home and what is wrong with it.
#[track_caller]
fn assert_out_of_reach(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let message = status.message();
    assert!(message.contains("factory (r") && message.contains("out of reach"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_runs_out_at_its_home_and_its_keys_go_everywhere() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    let mut stream = WatchStream::open(&ship);
    stream.create(WatchCreateRequest { key: "leased".into(), ..Default::default() }).await?;
    let id = leased(&mut factory, &mut ship, 2).await?;
    stream
        .wait(|responses| {
            responses.iter().flat_map(|response| &response.events).any(|event| event.r#type() == EventType::Delete)
        })
        .await?;
    assert_eq!(get(&mut ship, "leased").await?, None);
    mesh.converge(PATIENCE).await?;
    // Gone is gone, here too.
    assert_eq!(keep_alive(&mut ship, id).await?, 0);
    assert_eq!(time_to_live(&mut ship, id).await?.ttl, -1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_site_renews_and_ends_a_lease_at_its_home() -> Result<()> {
    let (_mesh, mut factory, mut ship) = two_sites().await?;
    let id = leased(&mut factory, &mut ship, 2).await?;
    // Longer than it would live by itself.
    for _ in 0..8 {
        assert_eq!(keep_alive(&mut ship, id).await?, 2);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(get(&mut factory, "leased").await?.is_some());
    let (here, there) = (time_to_live(&mut factory, id).await?, time_to_live(&mut ship, id).await?);
    assert_eq!((there.granted_ttl, &there.keys), (here.granted_ttl, &here.keys));
    assert!(there.keys == ["leased"] && (0..=2).contains(&there.ttl), "{there:?}");
    for (connection, listed) in [(&mut factory, vec![id]), (&mut ship, vec![])] {
        let leases = connection.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
        assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), listed, "each site lists its own");
    }
    let revision = ship.lease.lease_revoke(LeaseRevokeRequest { id }).await?.into_inner().header;
    assert_eq!(get(&mut ship, "leased").await?, None, "a client reads what it has done");
    assert!(revision.is_some_and(|header| header.revision >> 38 > 0), "in the revisions of the site it asked");
    assert_eq!(get(&mut factory, "leased").await?, None);
    let again = ship.lease.lease_revoke(LeaseRevokeRequest { id }).await.err().context("it was ended twice")?;
    assert_eq!((again.code(), again.message()), (Code::NotFound, "etcdserver: requested lease not found"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_home_is_out_of_reach_nobody_speaks_for_a_lease() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    let id = leased(&mut factory, &mut ship, 600).await?;
    mesh.isolate(1)?;
    let refused = [
        keep_alive(&mut ship, id).await.err(),
        time_to_live(&mut ship, id).await.err(),
        ship.lease.lease_revoke(LeaseRevokeRequest { id }).await.err(),
    ];
    for status in refused {
        let status = status.context("it was answered")?;
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("factory"), "the home is named: {status:?}");
    }
    assert!(get(&mut ship, "leased").await?.is_some(), "none of that has ended it");
    mesh.heal()?;
    let wait = async {
        while keep_alive(&mut ship, id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        keep_alive(&mut ship, id).await
    };
    assert_eq!(tokio::time::timeout(PATIENCE, wait).await.context("the home stays out of reach")??, 600);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_just_before_a_lease_is_ended_from_afar_goes_with_it() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    mesh.change_links(|_, _, link| link.delay = Duration::from_millis(20))?;
    for _ in 0..3 {
        let id = grant(&mut factory, 60).await?;
        known(&mut ship, id).await?;
        // More than may be under way at a time: the question reaches the home before the last of these does.
        for _ in 0..12 {
            let large = PutRequest { value: vec![7; 1 << 20].into(), ..put_request("large", "") };
            ship.kv.put(large).await?;
        }
        put_leased(&mut ship, "a", id).await?;
        revoke_with_patience(&mut ship, id).await?;
        assert_eq!((get(&mut ship, "a").await?, get(&mut factory, "a").await?), (None, None));
    }
    mesh.converge(PATIENCE).await?;
    Ok(())
}

/// Ends a lease at a home that may have much to catch up with before.
async fn revoke_with_patience(connection: &mut Connection, id: i64) -> Result<()> {
    let wait = async {
        loop {
            match revoke(connection, id).await {
                Err(status) if status.message().contains("nothing was revoked") => {}
                ended => return ended,
            }
        }
    };
    Ok(tokio::time::timeout(PATIENCE, wait).await.context("the home does not catch up")??)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_far_away_holds_up_no_other() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    let (far, own) = (grant(&mut factory, 60).await?, grant(&mut ship, 60).await?);
    known(&mut ship, far).await?;
    mesh.change_links(|_, _, link| link.delay = Duration::from_millis(200))?;
    let answers = renewals(&mut ship, &[far, far, own, 77, far], Duration::ZERO).await?;
    let told: Vec<(i64, i64)> =
        answers.into_iter().map(|answer| answer.map(|told| (told.id, told.ttl))).collect::<Result<_, _>>()?;
    assert_eq!(told, [(own, 60), (77, 0), (far, 60), (far, 60), (far, 60)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_out_of_reach_is_named_and_leases_of_others_live_on() -> Result<()> {
    let (mut mesh, mut factory, mut ship) = two_sites().await?;
    let (far, own) = (grant(&mut factory, 60).await?, grant(&mut ship, 60).await?);
    put_leased(&mut ship, "own", own).await?;
    known(&mut ship, far).await?;
    put_leased(&mut ship, "far", far).await?;
    mesh.converge(PATIENCE).await?;
    // A cut that nobody has noticed yet, and then a home that is gone.
    for is_killed in [false, true] {
        if is_killed {
            mesh.site(0).kill()?
        } else {
            mesh.isolate(1)?
        }
        let began = Instant::now();
        let (time, end) = (time_to_live(&mut ship.clone(), far).await, revoke(&mut ship, far).await);
        assert_out_of_reach(&time.err().context("the time")?);
        assert_out_of_reach(&end.err().context("the end")?);
        // The own lease comes last, and is renewed nevertheless before the stream ends.
        let answers = renewals(&mut ship, &[far, own], Duration::from_millis(50)).await?;
        let [Ok(renewed), Err(refused)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((renewed.id, renewed.ttl), (own, 60));
        assert_out_of_reach(refused);
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert!(get(&mut ship, "far").await?.is_some(), "what is not known to have ended is there");
    }
    mesh.heal()?;
    mesh.site(0).restart().await?;
    let wait = async {
        while keep_alive(&mut ship, far).await.is_err() {}
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.context("the home stays out of reach")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_drives_a_lease_of_another_site() -> Result<()> {
    let (mesh, mut factory, mut ship) = two_sites().await?;
    let id = grant(&mut factory, 100).await?;
    known(&mut ship, id).await?;
    let Some(mut etcdctl) = Etcdctl::of(&mesh.sites()[1]) else { return Ok(()) };
    let scenario = SCENARIO.replace("LEASE", &format!("{id:x}"));
    let played = etcdctl.play(&scenario)?;
    if let Some(difference) = first_difference(&wanted(&scenario), &played) {
        panic!("{difference}\n\nplayed:\n{}", played.join("\n"));
    }
    Ok(())
}

const SCENARIO: &str = "
$ put a 1 --lease=LEASE
OK
$ lease keep-alive --once LEASE
lease <id1> keepalived with TTL(100)
$ lease timetolive <id1> --keys
lease <id1> granted with TTL(100s), remaining(<time>), attached keys([a])
$ lease revoke <id1>
lease <id1> revoked
$ get a
$ lease timetolive <id1>
lease <id1> already expired
";
