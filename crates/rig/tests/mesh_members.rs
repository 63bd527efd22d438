//! Sites that go away: parked ones hold nothing back and come back by themselves, removed ones are refused at once and everywhere,
//! and what they wrote ends where the others agree that it does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tombolo_proto::{
    etcdserverpb::{
        CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberRemoveRequest,
        PutRequest, RangeRequest, StatusRequest,
    },
    v1::{
        Member, MemberState, MeshAlarmKind, MeshLeaseHeirRequest, MeshParkRequest, MeshRemoveRequest,
        MeshUnparkRequest, Peer, PeerState, mesh_client::MeshClient,
    },
};
use tombolo_rig::{
    connect::Connection,
    mesh::{Mesh, Shape},
    process::{Launch, Server},
};
use tonic::{Code, Status, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(20);

async fn sites_of(launch: &Launch, names: &[&str]) -> Result<Mesh> {
    let mut mesh = Mesh::prepare(launch, names, Shape::full(names.len()), 11)?;
    mesh.start().await?;
    mesh.converge(PATIENCE).await?;
    Ok(mesh)
}

async fn sites(names: &[&str]) -> Result<Mesh> {
    sites_of(&Server::tombolo().in_memory(), names).await
}

async fn operator(mesh: &Mesh, site: usize) -> Result<MeshClient<Channel>> {
    Ok(MeshClient::new(mesh.sites()[site].connect().await?.channel))
}

async fn id(mesh: &Mesh, site: usize) -> Result<u64> {
    Ok(mesh.status(site).await?.replica)
}

/// What `site` says of the member.
async fn seen(mesh: &Mesh, site: usize, member: u64) -> Result<Member> {
    let members = mesh.members(site).await?.members;
    members.into_iter().find(|known| known.replica == member).context("it is not listed")
}

/// Waits until what `site` says of the member is as wanted.
async fn until(mesh: &Mesh, site: usize, member: u64, wanted: impl Fn(&Member) -> bool) -> Result<Member> {
    let started = Instant::now();
    loop {
        let known = seen(mesh, site, member).await?;
        if wanted(&known) {
            return Ok(known);
        }
        if started.elapsed() > PATIENCE {
            bail!("site {site} still says {known:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a site has no connection with a member any more.
async fn until_apart(mesh: &Mesh, site: usize, member: u64) -> Result<()> {
    let started = Instant::now();
    let is_there = |peer: &Peer| peer.replica == member && peer.state() == PeerState::Connected;
    while mesh.status(site).await?.peers.iter().any(is_there) {
        if started.elapsed() > PATIENCE {
            bail!("{member:016x} is still connected");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn until_alarm(mesh: &Mesh, site: usize, kind: MeshAlarmKind) -> Result<()> {
    let started = Instant::now();
    while !mesh.status(site).await?.alarms.iter().any(|alarm| alarm.kind() == kind) {
        if started.elapsed() > PATIENCE {
            bail!("no {kind:?} at site {site}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn put(connection: &mut Connection, key: &str, value: &str) -> Result<(), Status> {
    let request = PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() };
    connection.kv.put(request).await.map(drop)
}

async fn get(connection: &mut Connection, key: &str) -> Result<Option<String>> {
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let pair = connection.kv.range(request).await?.into_inner().kvs.into_iter().next();
    Ok(pair.map(|pair| String::from_utf8_lossy(&pair.value).into_owned()))
}

async fn until_value(connection: &mut Connection, key: &str, value: &str) -> Result<()> {
    let started = Instant::now();
    while get(connection, key).await?.as_deref() != Some(value) {
        if started.elapsed() > PATIENCE {
            bail!("{key} never was {value}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Writes much to one key and asks for a compaction that would take nearly all of it; the site is started again, so that the grace
/// that readers have is over.
async fn write_and_compact(mesh: &mut Mesh, site: usize) -> Result<()> {
    let mut connection = mesh.sites()[site].connect().await?;
    let value = "v".repeat(1_000);
    for _ in 0..1_500 {
        put(&mut connection, "churn", &value).await?;
    }
    let status = connection.maintenance.status(StatusRequest {}).await?.into_inner();
    let revision = status.header.context("a header")?.revision;
    connection.kv.compact(CompactionRequest { revision, physical: false }).await?;
    mesh.site(site).restart().await?;
    Ok(())
}

async fn in_use(mesh: &Mesh, site: usize) -> Result<i64> {
    let mut connection = mesh.sites()[site].connect().await?;
    Ok(connection.maintenance.status(StatusRequest {}).await?.into_inner().db_size_in_use)
}

/// Waits until a site has dropped what was written to it before its compaction.
async fn until_compacted(mesh: &Mesh, site: usize) -> Result<()> {
    let started = Instant::now();
    while in_use(mesh, site).await? > 300_000 {
        if started.elapsed() > PATIENCE {
            bail!("{} bytes are still there", in_use(mesh, site).await?);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_site_holds_no_log_back() -> Result<()> {
    let mut mesh = sites(&["factory", "ship"]).await?;
    let ship = id(&mesh, 1).await?;
    mesh.site(1).kill()?;
    write_and_compact(&mut mesh, 0).await?;
    let held = until(&mesh, 0, ship, |ship| ship.held_commits.is_some_and(|held| held > 1_000)).await?;
    assert!(held.held_bytes.is_some_and(|bytes| bytes > 1_000_000), "{held:?}");
    let response = mesh.members(0).await?;
    assert!(response.log_held_bytes > 1_000_000 && response.log_budget_bytes == 4 << 30);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(in_use(&mesh, 0).await? > 1_000_000, "it is held for the ship");
    let parked = operator(&mesh, 0).await?.park(MeshParkRequest { member: ship }).await?.into_inner().member;
    assert_eq!(parked.context("the ship")?.state(), MemberState::Parked);
    until_compacted(&mesh, 0).await?;
    let known = seen(&mesh, 0, ship).await?;
    assert_eq!((known.state(), known.held_bytes), (MemberState::Parked, None));
    assert_eq!(known.state_by, id(&mesh, 0).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_beyond_its_budget_is_held_for_nobody() -> Result<()> {
    let launch = Server::tombolo().in_memory().with("--log-budget", "100000");
    let mut mesh = sites_of(&launch, &["factory", "ship"]).await?;
    mesh.site(1).kill()?;
    write_and_compact(&mut mesh, 0).await?;
    until_compacted(&mesh, 0).await?;
    assert!(mesh.members(0).await?.log_held_bytes <= 100_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_is_lost_is_parked_by_itself_and_active_again_when_it_is_back() -> Result<()> {
    // In an hour's time it would be parked for good; a member that lacks nothing is never lost.
    let launch = Server::tombolo().in_memory().with("--park-after", "3s");
    let mut mesh = sites_of(&launch, &["factory", "office", "ship"]).await?;
    let ship = id(&mesh, 2).await?;
    mesh.site(2).kill()?;
    // The silence is counted from the end of its connections.
    for site in [0, 1] {
        until_apart(&mesh, site, ship).await?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(seen(&mesh, 0, ship).await?.state(), MemberState::Active, "it holds nothing back");
    let mut factory = mesh.sites()[0].connect().await?;
    put(&mut factory, "a", "1").await?;
    let revision = factory.kv.range(RangeRequest { key: "a".into(), ..Default::default() }).await?.into_inner();
    let revision = revision.header.context("a header")?.revision;
    factory.kv.compact(CompactionRequest { revision, physical: false }).await?;
    for site in [0, 1] {
        until(&mesh, site, ship, |ship| ship.state() == MemberState::Parked).await?;
    }
    // Its log is still there: little was written, and history stays for a while.
    mesh.site(2).restart().await?;
    for site in 0..3 {
        let back = until(&mesh, site, ship, |ship| ship.state() == MemberState::Active).await?;
        assert_eq!(back.state_by, ship, "it says so itself");
    }
    mesh.converge(PATIENCE).await?;
    Ok(())
}

/// Has a site write and compact, so that it holds back its log for the other, and waits until it has parked that.
async fn until_it_parks(mesh: &Mesh, site: usize, other: u64) -> Result<()> {
    let mut connection = mesh.sites()[site].connect().await?;
    let key = format!("written at {site}");
    put(&mut connection, &key, "1").await?;
    let found = connection.kv.range(RangeRequest { key: key.into(), ..Default::default() }).await?.into_inner();
    let revision = found.header.context("a header")?.revision;
    connection.kv.compact(CompactionRequest { revision, physical: false }).await?;
    until(mesh, site, other, |other| other.state() == MemberState::Parked).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_parked_each_other_one_after_the_other_are_both_active_when_they_meet() -> Result<()> {
    // Each has the mesh for itself for a while, and has never heard that it was parked when they meet.
    let launch = Server::tombolo().in_memory().with("--park-after", "2s");
    let mut mesh = sites_of(&launch, &["factory", "ship"]).await?;
    let ids = [id(&mesh, 0).await?, id(&mesh, 1).await?];
    mesh.site(1).kill()?;
    until_it_parks(&mesh, 0, ids[1]).await?;
    mesh.site(0).kill()?;
    mesh.site(1).restart().await?;
    until_it_parks(&mesh, 1, ids[0]).await?;
    mesh.site(0).restart().await?;
    for (site, member) in [(0, ids[0]), (0, ids[1]), (1, ids[0]), (1, ids[1])] {
        until(&mesh, site, member, |known| known.state() == MemberState::Active && known.state_by == member).await?;
    }
    mesh.converge(PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_is_parked_while_it_is_there_stays_parked_until_it_comes_again() -> Result<()> {
    let mut mesh = sites(&["factory", "ship"]).await?;
    let ship = id(&mesh, 1).await?;
    operator(&mesh, 0).await?.park(MeshParkRequest { member: ship }).await?;
    until(&mesh, 1, ship, |ship| ship.state() == MemberState::Parked).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(seen(&mesh, 0, ship).await?.state(), MemberState::Parked);
    mesh.isolate(1)?;
    until_apart(&mesh, 0, ship).await?;
    mesh.heal()?;
    until(&mesh, 0, ship, |ship| ship.state() == MemberState::Active).await?;
    // A factory that was killed comes again before the ship has noticed that it was gone.
    operator(&mesh, 0).await?.park(MeshParkRequest { member: ship }).await?;
    until(&mesh, 1, ship, |ship| ship.state() == MemberState::Parked).await?;
    // What is dialed sooner may have crossed the connection that there is.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    mesh.site(0).restart().await?;
    until(&mesh, 0, ship, |ship| ship.state() == MemberState::Active).await?;
    operator(&mesh, 0).await?.park(MeshParkRequest { member: ship }).await?;
    let unparked = operator(&mesh, 0).await?.unpark(MeshUnparkRequest { member: ship }).await?.into_inner().member;
    assert_eq!(unparked.context("the ship")?.state(), MemberState::Active);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_have_parked_each_other_are_both_active_when_they_meet() -> Result<()> {
    let mesh = sites(&["factory", "ship"]).await?;
    let ids = [id(&mesh, 0).await?, id(&mesh, 1).await?];
    mesh.isolate(1)?;
    for (site, other) in [(0, ids[1]), (1, ids[0])] {
        until_apart(&mesh, site, other).await?;
        operator(&mesh, site).await?.park(MeshParkRequest { member: other }).await?;
    }
    mesh.heal()?;
    for site in [0, 1] {
        for subject in ids {
            // Before it hears that it is parked it is active by nobody's word.
            until(&mesh, site, subject, |member| member.state() == MemberState::Active && member.state_by == subject)
                .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_site_is_refused_everywhere_and_its_records_end_where_all_agree() -> Result<()> {
    let mut mesh = sites(&["factory", "office", "ship"]).await?;
    let (factory, ship) = (id(&mesh, 0).await?, id(&mesh, 2).await?);
    let mut at: Vec<Connection> = Vec::new();
    for site in mesh.sites() {
        at.push(site.connect().await?);
    }
    // The factory is cut off from both, and removes the ship; the office goes on taking what the ship writes.
    mesh.isolate(0)?;
    operator(&mesh, 0).await?.remove(MeshRemoveRequest { member: ship }).await?;
    let open = seen(&mesh, 0, ship).await?;
    assert_eq!((open.state(), open.ends_at, open.state_by), (MemberState::Removed, None, factory));
    put(&mut at[2], "late", "taken").await?;
    until_value(&mut at[1], "late", "taken").await?;
    // Then the ship is on its own, and writes what nobody will have.
    mesh.isolate(2)?;
    put(&mut at[2], "later", "refused").await?;
    mesh.change_links(|from, to, conditions| conditions.cut = from == 2 || to == 2)?;
    until_value(&mut at[0], "late", "taken").await?;
    let ends = until(&mesh, 0, ship, |ship| ship.ends_at.is_some()).await?;
    let there = until(&mesh, 1, ship, |ship| ship.ends_at.is_some()).await?;
    assert_eq!((ends.ends_at, ends.open_to.len()), (there.ends_at, 0));
    // The ship is back, and nobody has it.
    mesh.heal()?;
    until_alarm(&mesh, 2, MeshAlarmKind::Removed).await?;
    let refused = put(&mut at[2], "more", "1").await.err().context("it was taken")?;
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("removed from the mesh"), "{refused:?}");
    assert_eq!(get(&mut at[2], "later").await?.as_deref(), Some("refused"), "it can be read");
    put(&mut at[0], "goes", "on").await?;
    until_value(&mut at[1], "goes", "on").await?;
    for site in [0, 1] {
        assert_eq!(get(&mut at[site], "later").await?, None);
        let frontier = mesh.status(site).await?.frontier;
        let of_ship = frontier.iter().find(|entry| entry.replica == ship).map(|entry| entry.seq);
        assert_eq!(of_ship, ends.ends_at, "its entry stays where it ended");
        assert!(mesh.status(site).await?.peers.iter().all(|peer| peer.replica != ship));
    }
    // It is so for ever: also after everybody was started again.
    for site in 0..3 {
        mesh.site(site).restart().await?;
    }
    until_alarm(&mesh, 2, MeshAlarmKind::Removed).await?;
    for site in [0, 1] {
        assert_eq!(seen(&mesh, site, ship).await?.ends_at, ends.ends_at);
    }
    let error =
        operator(&mesh, 0).await?.park(MeshParkRequest { member: ship }).await.err().context("it was parked")?;
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_removed_site_waits_for_whoever_may_have_heard_of_it() -> Result<()> {
    let mut mesh = sites(&["factory", "office", "ship", "truck"]).await?;
    let (ship, truck) = (id(&mesh, 2).await?, id(&mesh, 3).await?);
    mesh.site(3).kill()?;
    operator(&mesh, 0).await?.park(MeshParkRequest { member: truck }).await?;
    operator(&mesh, 0).await?.remove(MeshRemoveRequest { member: ship }).await?;
    let open = until(&mesh, 1, ship, |ship| ship.open_to == [truck]).await?;
    assert_eq!(open.ends_at, None, "the truck may bring records of the ship that its own depend on");
    mesh.site(3).restart().await?;
    until(&mesh, 0, ship, |ship| ship.ends_at.is_some()).await?;
    until(&mesh, 3, ship, |ship| ship.ends_at.is_some()).await?;
    // A newcomer has heard of it from the start, and nobody waits for it.
    let ticket = mesh.invite(1).await?;
    let joined = Server::tombolo().in_memory().with("--name", "late").with("--join", &ticket).start().await?;
    let mut joined = MeshClient::new(joined.connect().await?.channel);
    let started = Instant::now();
    loop {
        let members = joined.members(tombolo_proto::v1::MeshMembersRequest {}).await?.into_inner().members;
        if members.iter().any(|member| member.replica == ship && member.ends_at.is_some()) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{members:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcds_call_removes_a_site_of_the_mesh() -> Result<()> {
    let mesh = sites(&["factory", "ship"]).await?;
    let (factory, ship) = (id(&mesh, 0).await?, id(&mesh, 1).await?);
    let mut connection = mesh.sites()[0].connect().await?;
    let answer = connection.cluster.member_remove(MemberRemoveRequest { id: ship }).await?.into_inner();
    assert_eq!(answer.members.iter().map(|member| member.id).collect::<Vec<_>>(), [factory]);
    assert_eq!(answer.header.context("a header")?.member_id, factory);
    assert_eq!(seen(&mesh, 0, ship).await?.state(), MemberState::Removed);
    until_alarm(&mesh, 1, MeshAlarmKind::Removed).await?;
    for (id, code, text) in [
        (ship, Code::NotFound, "etcdserver: member not found"),
        (factory, Code::Unknown, "etcdserver: re-configuration failed due to not enough started members"),
    ] {
        let error = connection.cluster.member_remove(MemberRemoveRequest { id }).await.err().context("it went")?;
        assert_eq!((error.code(), error.message()), (code, text));
    }
    Ok(())
}

async fn keep_alive(connection: &mut Connection, id: i64) -> Result<i64, Status> {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = connection.lease.lease_keep_alive(requests).await?.into_inner();
    Ok(answers.message().await?.map_or(0, |answer| answer.ttl))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_a_removed_site_are_counted_by_its_heir() -> Result<()> {
    let mut mesh = sites(&["factory", "office", "ship"]).await?;
    let (office, ship) = (id(&mesh, 1).await?, id(&mesh, 2).await?);
    let mut at_ship = mesh.sites()[2].connect().await?;
    let lease = at_ship.lease.lease_grant(LeaseGrantRequest { ttl: 4, id: 0 }).await?.into_inner().id;
    let request = PutRequest { key: "leased".into(), value: "1".into(), lease, ..Default::default() };
    at_ship.kv.put(request).await?;
    let mut factory = mesh.sites()[0].connect().await?;
    until_value(&mut factory, "leased", "1").await?;
    let heir = MeshLeaseHeirRequest { from: ship, to: office };
    let early = operator(&mesh, 0).await?.lease_heir(heir).await.err().context("it counts them itself")?;
    assert_eq!(early.code(), Code::FailedPrecondition, "{early:?}");
    mesh.site(2).kill()?;
    operator(&mesh, 0).await?.remove(MeshRemoveRequest { member: ship }).await?;
    assert_eq!(keep_alive(&mut factory, lease).await.err().map(|status| status.code()), Some(Code::Unavailable));
    // Longer than it would have lived: nobody counts it now.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let member = operator(&mesh, 0).await?.lease_heir(heir).await?.into_inner().member.context("the ship")?;
    assert_eq!(member.lease_heir, office);
    until(&mesh, 1, ship, |ship| ship.lease_heir == office).await?;
    let mut at_office = mesh.sites()[1].connect().await?;
    let request = LeaseTimeToLiveRequest { id: lease, keys: true };
    let time = at_office.lease.lease_time_to_live(request).await?.into_inner();
    assert!((2..=4).contains(&time.ttl) && time.granted_ttl == 4 && time.keys == ["leased"], "{time:?}");
    for _ in 0..6 {
        assert_eq!(keep_alive(&mut factory, lease).await?, 4, "from anywhere");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(get(&mut factory, "leased").await?.as_deref(), Some("1"));
    let started = Instant::now();
    while get(&mut factory, "leased").await?.is_some() {
        assert!(started.elapsed() < PATIENCE, "it never runs out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(keep_alive(&mut factory, lease).await?, 0);
    Ok(())
}
