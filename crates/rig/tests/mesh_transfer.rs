//! Sites that no log can bring up to date: they take the state of another, serve all the while, and go on after a cut or a kill.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, WatchCreateRequest,
    },
    v1::StateTransfer,
};
use tombolo_rig::{
    connect::Connection,
    http::Page,
    load,
    mesh::{Mesh, Shape},
    process::{Launch, Server},
    watching::stream::WatchStream,
};

const PATIENCE: Duration = Duration::from_secs(90);
const KEYS: usize = 12_000;
/// What is written while somebody is away: more than is joined at once, and in several pages.
const MISSED: usize = KEYS / 2;

fn launch() -> Launch {
    Server::tombolo().in_memory()
}

async fn put(connection: &mut Connection, key: &str, value: &str, lease: i64) -> Result<i64> {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let answer = connection.kv.put(PutRequest { key, value, lease, ..Default::default() }).await?.into_inner();
    Ok(answer.header.context("a header")?.revision)
}

async fn get(connection: &mut Connection, key: &str) -> Result<Option<String>> {
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let answer = connection.kv.range(request).await?.into_inner();
    Ok(answer.kvs.first().map(|pair| String::from_utf8_lossy(&pair.value).into_owned()))
}

async fn delete(connection: &mut Connection, key: &str, end: &str) -> Result<()> {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    connection.kv.delete_range(DeleteRangeRequest { key, range_end, ..Default::default() }).await?;
    Ok(())
}

/// Bytes that may come again for each interruption, and what is said of what is there already.
const PAGE: u64 = 64 << 10;

/// The value of a metric.
fn metric(server: &Server, name: &str) -> Result<u64> {
    let page = Page::get(server.address(), "/metrics")?.body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().parse()?)
}

/// Waits until `found` is, and says `what` was not when it is not in time.
async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let wait = async {
        loop {
            match found().await? {
                Some(found) => return anyhow::Ok(found),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("{what} in {PATIENCE:?}"))?
}

/// Compacts a site's history, and waits until its log has forgotten that much.
async fn forget(server: &mut Server, at_least: u64) -> Result<()> {
    let mut connection = server.connect().await?;
    let revision = put(&mut connection, "compacted", "1", 0).await?;
    connection.kv.compact(CompactionRequest { revision, physical: false }).await?;
    // Nobody reads what was compacted before the start: it goes at once.
    server.stop()?;
    server.restart().await?;
    until("the log was not cut", async || Ok((metric(server, "tombolo_log_floor_records ")? >= at_least).then_some(())))
        .await
}

async fn transfer(mesh: &Mesh, site: usize) -> Result<Option<StateTransfer>> {
    Ok(mesh.status(site).await?.transfer)
}

/// A client that reads and writes at a site all the while, and wants to be answered at once.
struct Client {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<Duration>>,
}

impl Client {
    fn start(mut connection: Connection, known: &'static str, value: &'static str) -> Self {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&written));
        let task = tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let number = counter.load(Ordering::Relaxed);
                put(&mut connection, &format!("own/{number}"), "mine", 0).await?;
                counter.store(number + 1, Ordering::Relaxed);
                let found = get(&mut connection, known).await?;
                ensure!(found.as_deref() == Some(value), "{known} is {found:?}");
                slowest = slowest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(slowest)
        });
        Self { stop, written, task }
    }

    /// Ends it. Returns how many keys it has written, and what its slowest round took.
    async fn stop(self) -> Result<(u64, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        let slowest = self.task.await??;
        Ok((self.written.load(Ordering::Relaxed), slowest))
    }
}

async fn has_own(server: &Server, count: u64) -> Result<()> {
    let mut connection = server.connect().await?;
    let (key, range_end) = (Bytes::from("own/"), Bytes::from("own0"));
    let request = RangeRequest { key, range_end, count_only: true, ..Default::default() };
    let found = connection.kv.range(request).await?.into_inner().count;
    ensure!(found as u64 == count, "{found} of {count} own writes are there");
    Ok(())
}

/// A founder with many keys whose log has forgotten them, and a site that has not joined yet.
async fn compacted_founder() -> Result<Mesh> {
    let mut mesh = Mesh::prepare(&launch(), &["factory", "ship"], Shape::full(2), 5)?;
    mesh.site(0).restart().await?;
    let mut connection = mesh.site(0).connect().await?;
    load::fill(&connection, KEYS).await?;
    for round in 0..3 {
        put(&mut connection, "overwritten", &round.to_string(), 0).await?;
    }
    put(&mut connection, "deleted", "1", 0).await?;
    delete(&mut connection, "deleted", "").await?;
    let lease = connection.lease.lease_grant(LeaseGrantRequest { ttl: 600, id: 77 }).await?.into_inner();
    put(&mut connection, "leased", "1", lease.id).await?;
    drop(connection);
    forget(mesh.site(0), KEYS as u64 / 120).await?;
    Ok(mesh)
}

async fn join(mesh: &mut Mesh, site: usize) -> Result<()> {
    let ticket = mesh.invite(0).await?;
    mesh.site(site).set("--join", &ticket);
    mesh.site(site).restart().await
}

async fn has_everything(server: &Server) -> Result<()> {
    let mut connection = server.connect().await?;
    load::check(&mut connection, KEYS).await?;
    ensure!(get(&mut connection, "overwritten").await?.as_deref() == Some("2"));
    ensure!(get(&mut connection, "deleted").await?.is_none());
    let request = RangeRequest { key: "leased".into(), ..Default::default() };
    let leased = connection.kv.range(request).await?.into_inner().kvs;
    ensure!(leased.first().is_some_and(|pair| pair.lease == 77), "{leased:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_joins_one_whose_log_has_forgotten_and_is_cut_off_and_killed_meanwhile() -> Result<()> {
    let mut mesh = compacted_founder().await?;
    let slow = |_: usize, _: usize, link: &mut tombolo_rig::relay::Conditions| link.bytes_per_s = Some(1 << 20);
    mesh.change_links(slow)?;
    join(&mut mesh, 1).await?;
    let half = |found: Option<StateTransfer>, share: u64| {
        found.filter(|found| found.elements_total.is_some_and(|total| found.elements * 100 >= total * share))
    };
    let (begun, mesh_ref) = (Instant::now(), &mesh);
    let cut = until("it never came that far", async || Ok(half(transfer(mesh_ref, 1).await?, 20))).await?;
    ensure!(cut.provider != 0 && cut.bytes_total > Some(1 << 20), "{cut:?}");
    let mut connection = mesh.sites()[1].connect().await?;
    put(&mut connection, "early", "1", 0).await?;
    let client = Client::start(mesh.sites()[1].connect().await?, "early", "1");
    mesh.isolate(1)?;
    until("the cut was not noticed", async || Ok(transfer(mesh_ref, 1).await?.is_none().then_some(()))).await?;
    let text = "nobody who could give it the state is reachable";
    until("nobody was told", async || {
        let alarms = mesh_ref.status(1).await?.alarms;
        Ok(alarms.iter().any(|alarm| alarm.text.contains(text)).then_some(()))
    })
    .await?;
    mesh.heal()?;
    mesh.change_links(slow)?;
    let again = until("it was not taken up again", async || transfer(mesh_ref, 1).await).await?;
    ensure!(again.elements >= cut.elements, "what was on disk is asked for again: {cut:?}, {again:?}");
    let late = until("it did not go on", async || Ok(half(transfer(mesh_ref, 1).await?, 60))).await?;
    let came_before = metric(&mesh.sites()[1], "tombolo_transfer_page_bytes_total{direction=\"taken\"} ")?;
    ensure!(came_before < late.bytes * 11 / 10 + PAGE, "{came_before} bytes came for {late:?}");
    ensure!(mesh.alarms().await?.is_empty(), "{:?}", mesh.alarms().await?);
    let (written, slowest) = client.stop().await?;
    ensure!(written > 20 && slowest < Duration::from_secs(3), "{written} writes, the slowest took {slowest:?}");
    mesh.site(1).kill()?;
    mesh.site(1).restart().await?;
    let begun_again = until("it was not taken up again", async || transfer(&mesh, 1).await).await?;
    ensure!(begun_again.elements >= late.elements, "what was on disk is asked for again: {late:?}, {begun_again:?}");
    let client = Client::start(mesh.sites()[1].connect().await?, "early", "1");
    let standing = mesh.converge(PATIENCE).await;
    let (more, _) = client.stop().await?;
    drop(standing?);
    mesh.converge(PATIENCE).await?;
    eprintln!("joined after {:?}, with {} writes meanwhile", begun.elapsed(), written + more);
    has_everything(&mesh.sites()[1]).await?;
    for site in mesh.sites() {
        has_own(site, written.max(more)).await?;
    }
    let ship = &mesh.sites()[1];
    assert_eq!(
        metric(ship, "tombolo_transfers_joined_total{kind=\"checkpoint\"} ")?
            + metric(ship, "tombolo_transfers_joined_total{kind=\"delta\"} ")?,
        1
    );
    let came = metric(ship, "tombolo_transfer_page_bytes_total{direction=\"taken\"} ")?;
    let missing = late.elements_total.context("a total")? - late.elements;
    let fair = missing * came_before / late.elements;
    ensure!(
        came < fair * 11 / 10 + PAGE,
        "{came} bytes came after the restart for {missing} elements, {fair} were due"
    );
    ensure!(mesh.alarms().await?.is_empty());
    Ok(())
}

/// Lets two sites of three reach each other, and nobody else.
fn only(mesh: &Mesh, pair: [usize; 2]) -> Result<()> {
    mesh.change_links(|from, to, link| link.cut = !(pair.contains(&from) && pair.contains(&to)))
}

/// A factory whose log has forgotten its beginning, a ship that was there before more was written and writes at sea, and an office
/// that came later: the office's log has never held what the ship lacks.
async fn a_ship_at_sea() -> Result<(Mesh, i64)> {
    let mut mesh = Mesh::prepare(&launch(), &["factory", "ship", "office"], Shape::full(3), 6)?;
    mesh.site(0).restart().await?;
    let mut factory = mesh.site(0).connect().await?;
    for key in ["kept", "changed", "removed/1", "removed/2"] {
        put(&mut factory, key, "old", 0).await?;
    }
    drop(factory);
    forget(mesh.site(0), 4).await?;
    join(&mut mesh, 1).await?;
    let ship_site = &mesh.sites()[1];
    until("the ship took nothing", async || {
        Ok((metric(ship_site, "tombolo_transfers_joined_total{kind=\"checkpoint\"} ")? > 0).then_some(()))
    })
    .await?;
    only(&mesh, [0, 2])?;
    let mut ship = mesh.site(1).connect().await?;
    put(&mut ship, "removed/2", "alive", 0).await?;
    let revision = put(&mut ship, "at/sea", "1", 0).await?;
    let mut factory = mesh.site(0).connect().await?;
    load::fill(&factory, MISSED).await?;
    put(&mut factory, "changed", "new", 0).await?;
    delete(&mut factory, "removed/", "removed0").await?;
    put(&mut factory, "later", "1", 0).await?;
    join(&mut mesh, 2).await?;
    let office = &mesh.sites()[2];
    let wanted = metric(&mesh.sites()[0], "tombolo_log_floor_records ")?;
    until("the office took nothing", async || {
        Ok((metric(office, "tombolo_log_floor_records ")? > wanted).then_some(()))
    })
    .await?;
    Ok((mesh, revision))
}

async fn is_together(server: &Server, own: u64) -> Result<()> {
    let mut connection = server.connect().await?;
    load::check(&mut connection, MISSED).await?;
    for (key, value) in [
        ("kept", Some("old")),
        ("changed", Some("new")),
        ("removed/1", None),
        ("removed/2", Some("alive")),
        ("at/sea", Some("1")),
        ("later", Some("1")),
    ] {
        let found = get(&mut connection, key).await?;
        ensure!(found.as_deref() == value, "{key} is {found:?}");
    }
    has_own(server, own).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_was_away_takes_what_it_lacks_from_whoever_is_there_and_keeps_what_it_wrote() -> Result<()> {
    let (mesh, revision) = a_ship_at_sea().await?;
    let mut ship = mesh.sites()[1].connect().await?;
    let mut watch = WatchStream::open(&ship);
    watch.create(WatchCreateRequest { key: "load/".into(), range_end: "load0".into(), ..Default::default() }).await?;
    watch.wait(|responses| responses.iter().any(|response| response.created)).await?;
    let client = Client::start(mesh.sites()[1].connect().await?, "kept", "old");
    // The factory is out of reach: only the office's state is to be had.
    only(&mesh, [1, 2])?;
    let ship_site = &mesh.sites()[1];
    until("it took nothing", async || {
        Ok((metric(ship_site, "tombolo_transfers_joined_total{kind=\"delta\"} ")? > 0).then_some(()))
    })
    .await?;
    let (own, slowest) = client.stop().await?;
    ensure!(slowest < Duration::from_secs(3), "the slowest round of a client took {slowest:?}");
    for site in &mesh.sites()[1..] {
        until("it is not together", async || Ok(is_together(site, own).await.ok())).await?;
    }
    // More came than can be told as events: whoever watched is told that history begins anew, and knows what to do.
    watch.wait(|responses| responses.iter().any(|response| response.canceled)).await?;
    let end = watch.responses().into_iter().find(|response| response.canceled).context("it was cancelled")?;
    ensure!(end.compact_revision > revision, "{end:?}");
    let past = RangeRequest { key: "at/sea".into(), revision, ..Default::default() };
    let refused = ship.kv.range(past).await.err().context("history was kept")?;
    ensure!(refused.message().contains("compacted"), "{refused}");
    // From now on everything goes by the log again, and the factory has it from there, too.
    put(&mut ship, "after", "1", 0).await?;
    mesh.heal()?;
    mesh.converge(PATIENCE).await?;
    for site in mesh.sites() {
        is_together(site, own).await?;
    }
    ensure!(mesh.alarms().await?.is_empty(), "{:?}", mesh.alarms().await?);
    assert_eq!(metric(&mesh.sites()[0], "tombolo_transfers_begun_total ")?, 0, "the other way the log was enough");
    Ok(())
}
