//! Sites that stop, move and come back, and what the others say of them meanwhile.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context, Result};
use tombolo_proto::{
    etcdserverpb::{PutRequest, RangeRequest},
    v1::{
        DigestComparison, MeshInviteRequest, MeshMembersRequest, MeshStatusRequest, MeshStatusResponse, Peer,
        PeerState, mesh_client::MeshClient,
    },
};
use tombolo_rig::{
    http::Page,
    mesh::{Mesh, Shape},
    ports::free_port,
    process::{Launch, Server},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn launch() -> Launch {
    Server::tombolo().in_memory()
}

async fn put(server: &Server, key: &str, value: &str) -> Result<()> {
    let request = PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() };
    server.connect().await?.kv.put(request).await?;
    Ok(())
}

async fn has(server: &Server, key: &str, value: &str) -> Result<bool> {
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let answer = server.connect().await?.kv.range(request).await?.into_inner();
    Ok(answer.kvs.first().is_some_and(|pair| pair.value == value.as_bytes()))
}

async fn sees(server: &Server, key: &str, value: &str) -> Result<()> {
    let wait = async {
        while !has(server, key, value).await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("{key} never was {value}"))?
}

async fn status(server: &Server) -> Result<MeshStatusResponse> {
    let mut mesh = MeshClient::new(server.connect().await?.channel);
    Ok(mesh.status(MeshStatusRequest {}).await?.into_inner())
}

/// Waits until what `server` says of the peer of this name is as wanted.
async fn tells_of(server: &Server, name: &str, wanted: impl Fn(&Peer) -> bool) -> Result<Peer> {
    let mut last = None;
    let wait = async {
        loop {
            last = status(server).await?.peers.into_iter().find(|peer| peer.name == name);
            match &last {
                Some(peer) if wanted(peer) => return anyhow::Ok(peer.clone()),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    found.with_context(|| format!("{name} never was as wanted, but {last:?}"))?
}

fn is_in_step(peer: &Peer) -> bool {
    peer.state() == PeerState::Connected
        && (peer.records_behind, peer.records_ahead) == (Some(0), Some(0))
        && peer.digests() == DigestComparison::Equal
}

/// A host and a site that has joined it, without anything between them.
async fn pair() -> Result<(Server, Server)> {
    let host = launch().with("--name", "factory").start().await?;
    let mut mesh = MeshClient::new(host.connect().await?.channel);
    let ticket = mesh.invite(MeshInviteRequest { ttl_s: 60 }).await?.into_inner().ticket;
    let joined = launch().with("--name", "ship").with("--join", &ticket).start().await?;
    Ok((host, joined))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_site_can_stop_or_die_and_catches_up_with_what_it_missed() -> Result<()> {
    let names = ["factory", "ship", "office"];
    let mut mesh = Mesh::prepare(&launch(), &names, Shape::full(3), 11)?;
    mesh.start().await?;
    mesh.converge(PATIENCE).await?;
    for (round, name) in names.iter().enumerate() {
        let identity = mesh.status(round).await?.replica;
        if round == 1 {
            mesh.site(round).stop()?;
        } else {
            mesh.site(round).kill()?;
        }
        let others: Vec<usize> = (0..3).filter(|other| *other != round).collect();
        for other in &others {
            put(&mesh.sites()[*other], &format!("{name}/missed/{other}"), "1").await?;
        }
        let watcher = &mesh.sites()[others[0]];
        let peer =
            tells_of(watcher, name, |peer| peer.state() == PeerState::Unreachable && peer.records_behind >= Some(1))
                .await?;
        assert!(!peer.last_error.is_empty() && peer.lag_ms.is_some(), "{peer:?}");
        mesh.site(round).restart().await?;
        assert_eq!(mesh.status(round).await?.replica, identity);
        put(&mesh.sites()[round], &format!("{name}/back"), "1").await?;
        mesh.converge(PATIENCE).await?;
        for other in &others {
            assert!(has(&mesh.sites()[round], &format!("{name}/missed/{other}"), "1").await?);
            assert!(has(&mesh.sites()[*other], &format!("{name}/back"), "1").await?);
        }
    }
    assert_eq!(mesh.alarms().await?, [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_moves_is_found_at_its_new_address() -> Result<()> {
    let (mut host, joined) = pair().await?;
    tells_of(&joined, "factory", is_in_step).await?;
    host.stop()?;
    let moved = format!("127.0.0.1:{}", free_port()?);
    host.set("--listen-peer-urls", &format!("udp://{moved}"));
    host.set("--initial-advertise-peer-urls", &format!("udp://{moved}"));
    host.restart().await?;
    put(&host, "moved", "1").await?;
    sees(&joined, "moved", "1").await?;
    let mut mesh = MeshClient::new(joined.connect().await?.channel);
    let members = mesh.members(MeshMembersRequest {}).await?.into_inner().members;
    let factory = members.iter().find(|member| member.name == "factory").context("factory")?;
    assert_eq!(factory.peer_addresses, std::slice::from_ref(&moved));
    // Whoever starts now goes to the new place, not to the one on its ticket.
    tells_of(&joined, "factory", |peer| is_in_step(peer) && peer.address == moved).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_in_a_members_place_is_not_taken_for_it() -> Result<()> {
    let (mut host, joined) = pair().await?;
    put(&joined, "secret", "1").await?;
    tells_of(&joined, "factory", is_in_step).await?;
    let place = host.peer_address();
    host.stop()?;
    let url = format!("http://{place}");
    let stranger =
        launch().with("--listen-peer-urls", &url).with("--initial-advertise-peer-urls", &url).start().await?;
    let wrong =
        |peer: &Peer| peer.state() == PeerState::Unreachable && peer.last_error.contains("does not hold the key");
    tells_of(&joined, "factory", wrong).await?;
    let stranger_status = status(&stranger).await?;
    assert_eq!((stranger_status.records, stranger_status.peers.len()), (0, 0), "nothing came across");
    drop(stranger);
    host.restart().await?;
    tells_of(&joined, "factory", is_in_step).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_the_peer_port_harms_nobody() -> Result<()> {
    let (host, joined) = pair().await?;
    let noise = UdpSocket::bind("127.0.0.1:0")?;
    for round in 0..2_000_u32 {
        let bytes: Vec<u8> = (0..1_200_u32).map(|at| (at.wrapping_mul(round + 7) >> 3) as u8).collect();
        noise.send_to(&bytes[..(round as usize * 13) % 1_200 + 1], host.peer_address())?;
    }
    put(&joined, "k", "1").await?;
    sees(&host, "k", "1").await?;
    tells_of(&joined, "factory", is_in_step).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_of_each_peer() -> Result<()> {
    let (host, joined) = pair().await?;
    put(&host, "k", "1").await?;
    sees(&joined, "k", "1").await?;
    tells_of(&host, "ship", is_in_step).await?;
    let page = Page::get(host.address(), "/metrics")?.body;
    let ship = status(&joined).await?.replica;
    for line in [
        format!("tombolo_peer_connected{{peer=\"{ship:016x}\",site=\"ship\"}} 1"),
        format!("tombolo_peer_lag_records{{peer=\"{ship:016x}\",site=\"ship\"}} 0"),
        format!("tombolo_peer_digest_equal{{peer=\"{ship:016x}\",site=\"ship\"}} 1"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in {page}");
    }
    for name in ["etcd_network_peer_sent_bytes_total", "etcd_network_peer_received_bytes_total"] {
        let value = page.lines().find(|line| line.starts_with(name)).and_then(|line| line.rsplit(' ').next());
        assert!(value.is_some_and(|value| value.parse::<u64>().is_ok_and(|bytes| bytes > 100)), "{name}: {value:?}");
    }
    Ok(())
}
