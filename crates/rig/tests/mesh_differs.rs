//! A site whose data are others than those of the sites that have applied the same records: it is told where they begin to differ, and who is right, and is
//! repaired in place.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinHandle;
use tombolo_proto::{
    etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest, WatchResponse},
    v1::{DigestComparison, MeshAlarmKind, MeshRepairRequest, mesh_client::MeshClient},
};
use tombolo_rig::{
    connect::Connection,
    mesh::{Mesh, Shape},
    process::{Launch, Server},
    watching::stream::WatchStream,
};
use tombolo_storage::engine::{Change, Engine, Persist, fjall::FjallEngine};
use tonic::Code;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const PATIENCE: Duration = Duration::from_secs(30);
const RIGHT: &[u8] = b"the right one";
const WRONG: &[u8] = b"the wrong one";

/// Puts another value into the one row that holds it, with the hash that the row then has: nothing on this disk tells.
fn falsify(server: &Server) -> Result<()> {
    let engine = FjallEngine::open(&server.folder().join("engine"))?;
    let rows = engine.snapshot().scan(b"c", b"d").collect::<Result<Vec<_>, _>>()?;
    let holds = |row: &[u8]| row.windows(RIGHT.len()).position(|part| part == RIGHT);
    let (key, row, at) = rows
        .into_iter()
        .find_map(|(key, row)| holds(&row).map(|at| (key, row.to_vec(), at)))
        .context("a row holds the value")?;
    let number = u64::from_be_bytes(key[1..].try_into()?);
    let mut content = row[..row.len() - 8].to_vec();
    ensure!(
        row[content.len()..] == xxh3_64_with_seed(&content, number).to_be_bytes(),
        "this is not how rows are hashed"
    );
    content[at..at + WRONG.len()].copy_from_slice(WRONG);
    let hash = xxh3_64_with_seed(&content, number);
    content.extend_from_slice(&hash.to_be_bytes());
    engine.write(vec![Change::Put(key, content.into())], Persist::Disk)?;
    Ok(())
}

/// The texts of a site's alarms that its data are not another's.
async fn corrupt(mesh: &Mesh, site: usize) -> Result<Vec<String>> {
    let alarms = mesh.status(site).await?.alarms.into_iter();
    Ok(alarms.filter(|alarm| alarm.kind() == MeshAlarmKind::Corrupt).map(|alarm| alarm.text).collect())
}

/// Waits until a site has so many of these alarms, each of them with this in it.
async fn until_told(mesh: &Mesh, site: usize, count: usize, parts: &[&str]) -> Result<()> {
    let started = Instant::now();
    loop {
        let told = corrupt(mesh, site).await?;
        if told.len() == count && told.iter().all(|text| parts.iter().all(|part| text.contains(part))) {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("site {site} says {told:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn mesh_with_the_value(launch: &Launch) -> Result<Mesh> {
    let mut mesh = Mesh::prepare(launch, &["factory", "office", "ship"], Shape::full(3), 5)?;
    mesh.start().await?;
    let mut factory = mesh.sites()[0].connect().await?;
    for index in 0..300 {
        let value = if index == 170 { RIGHT.to_vec() } else { format!("value {index}").into_bytes() };
        put(&mut factory, &format!("k{index:03}"), &value).await?;
    }
    mesh.converge(PATIENCE).await?;
    Ok(mesh)
}

/// Writes at a site without a pause.
async fn keep_busy(mesh: &Mesh, site: usize) -> Result<JoinHandle<()>> {
    let mut connection = mesh.sites()[site].connect().await?;
    Ok(tokio::spawn(async move {
        for value in 0_u64.. {
            let put = PutRequest {
                key: format!("busy{}", value % 20).into(),
                value: format!("{site} {value}").into(),
                ..Default::default()
            };
            if connection.kv.put(put).await.is_err() {
                return;
            }
        }
    }))
}

/// Has the ship hold another value than the others.
async fn falsify_the_ship(mesh: &mut Mesh) -> Result<()> {
    mesh.site(2).stop()?;
    falsify(&mesh.sites()[2])?;
    mesh.site(2).restart().await?;
    Ok(())
}

async fn put(site: &mut Connection, key: &str, value: &[u8]) -> Result<()> {
    let (key, value) = (key.as_bytes().to_vec().into(), value.to_vec().into());
    site.kv.put(PutRequest { key, value, ..Default::default() }).await?;
    Ok(())
}

async fn value(mesh: &Mesh, site: usize, key: &str) -> Result<Vec<u8>> {
    let range = RangeRequest { key: key.as_bytes().to_vec().into(), ..Default::default() };
    let mut found = mesh.sites()[site].connect().await?.kv.range(range).await?.into_inner().kvs;
    Ok(found.pop().map(|pair| pair.value.to_vec()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_holds_another_value_is_found_with_the_place_and_told_apart_by_a_third() -> Result<()> {
    let mut mesh = mesh_with_the_value(&Server::tombolo().in_memory()).await?;
    falsify_the_ship(&mut mesh).await?;
    let replica = mesh.status(0).await?.replica;
    let place = format!("first at r{replica:016x}:");
    let counts = "1 elements hold other values, 0 are here alone and 0 there";
    for site in [0, 1] {
        let other = ["office", "factory"][site];
        let ally = format!("; {other} (");
        until_told(&mesh, site, 1, &[&place, counts, &ally, "agrees with this site: repair the peer"]).await?;
    }
    until_told(&mesh, 2, 2, &[&place, counts, "differs from this site too: repair this site"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_holds_another_value_is_repaired_in_place_and_the_alarm_goes() -> Result<()> {
    let mut mesh = mesh_with_the_value(&Server::tombolo().in_memory()).await?;
    falsify_the_ship(&mut mesh).await?;
    until_told(&mesh, 2, 2, &["repair this site"]).await?;
    let [factory, ship] = [mesh.status(0).await?, mesh.status(2).await?];
    let connection = mesh.sites()[2].connect().await?;
    let mut watch = WatchStream::open(&connection);
    watch.create(WatchCreateRequest { key: "k".into(), range_end: "l".into(), ..Default::default() }).await?;
    let mut operator = MeshClient::new(connection.channel.clone());
    let ask = |from, dry_run| MeshRepairRequest { from, dry_run };
    for (from, code) in [(0xdead, Code::NotFound), (ship.replica, Code::FailedPrecondition)] {
        let refused = operator.repair(ask(from, false)).await.err().context("it is refused")?;
        assert_eq!(refused.code(), code, "{refused}");
    }
    let would = operator.repair(ask(factory.replica, true)).await?.into_inner();
    assert_eq!((would.replaced, would.added, would.removed, would.dry_run), (1, 0, 0, true));
    assert_eq!(value(&mesh, 2, "k170").await?, WRONG, "it was only asked");
    // Others write meanwhile, here and there.
    let mut sites = [mesh.sites()[0].connect().await?, mesh.sites()[2].connect().await?];
    let writing = tokio::spawn(async move {
        for index in 0..200 {
            for (site, name) in sites.iter_mut().zip(["factory", "ship"]) {
                put(site, &format!("{name}/{index}"), b"meanwhile").await?;
            }
        }
        anyhow::Ok(())
    });
    let done = operator.repair(ask(factory.replica, false)).await?.into_inner();
    writing.await??;
    assert_eq!((done.replaced, done.added, done.removed, done.digest_corrected), (1, 0, 0, false));
    assert_eq!(value(&mesh, 2, "k170").await?, RIGHT);
    let is_told = |response: &WatchResponse| {
        response
            .events
            .iter()
            .filter_map(|event| event.kv.as_ref())
            .any(|pair| pair.key == "k170" && pair.value == RIGHT)
    };
    watch.wait(|responses| responses.iter().any(is_told)).await?;
    for is_restarted in [false, true] {
        if is_restarted {
            mesh.site(2).stop()?;
            mesh.site(2).restart().await?;
        }
        mesh.converge(PATIENCE).await?;
        for site in 0..3 {
            until_told(&mesh, site, 0, &[]).await?;
        }
        assert_eq!(value(&mesh, 2, "k170").await?, RIGHT);
        assert_eq!(mesh.status(2).await?.replica, ship.replica, "it is who it was");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_are_written_to_without_a_pause_are_compared_and_a_difference_is_named() -> Result<()> {
    let launch = Server::tombolo().in_memory().with("--compare-interval", "1s");
    let mut mesh = mesh_with_the_value(&launch).await?;
    // What one has written is with the others when it has written more.
    mesh.change_links(|_, _, link| link.delay = Duration::from_millis(30))?;
    let mut busy = vec![keep_busy(&mesh, 0).await?, keep_busy(&mesh, 1).await?];
    tokio::time::sleep(Duration::from_secs(6)).await;
    for peer in mesh.status(0).await?.peers {
        ensure!(peer.compared_ms.is_some_and(|ms| ms < 4_000), "not compared lately: {peer:?}");
        ensure!(peer.digests() == DigestComparison::Equal, "{peer:?}");
    }
    falsify_the_ship(&mut mesh).await?;
    busy.push(keep_busy(&mesh, 2).await?);
    let what = "of the records that both have applied, up to r";
    for site in [0, 1] {
        until_told(&mesh, site, 1, &[what, "agrees with this site: repair the peer"]).await?;
    }
    until_told(&mesh, 2, 2, &[what, "differs from this site too: repair this site"]).await?;
    busy.iter().for_each(JoinHandle::abort);
    Ok(())
}
