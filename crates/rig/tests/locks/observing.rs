//! Following an election: every proclamation that comes while one listens, in order, and whoever leads next.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};
use tombolo_proto::v3electionpb::{LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest};
use tombolo_rig::process::{Launch, Server};
use tonic::Code;

use super::site::{Site, still_waits};

/// An observer and what it hears.
struct Observer(mpsc::UnboundedReceiver<Result<LeaderResponse, tonic::Status>>);

impl Observer {
    async fn of(site: &Site, name: &'static str) -> Result<Self> {
        let mut site = site.clone();
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // A server may answer the call only with the first of what it says.
            let stream = site.election.observe(LeaderRequest { name: name.into() }).await;
            let mut stream = match stream {
                Ok(stream) => stream.into_inner(),
                Err(why) => return drop(sender.send(Err(why))),
            };
            while let Some(said) = stream.message().await.transpose() {
                if sender.send(said).is_err() {
                    return;
                }
            }
        });
        // It listens from the moment the server has its request.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(Self(heard))
    }

    async fn hear(&mut self) -> Result<(Bytes, Bytes, i64)> {
        let said = timeout(Duration::from_secs(10), self.0.recv()).await?.context("the stream ended")??;
        let (header, pair) = (said.header.context("a header")?, said.kv.context("a pair")?);
        ensure!(header.revision >= pair.mod_revision, "the header is older than what it carries: {header:?} {pair:?}");
        Ok((pair.key, pair.value, pair.mod_revision))
    }
}

async fn proclaim(site: &mut Site, leader: &LeaderKey, value: String) -> Result<()> {
    site.election.proclaim(ProclaimRequest { leader: Some(leader.clone()), value: value.into() }).await?;
    Ok(())
}

async fn follow(launch: Launch) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let mut site = Site::of(&server).await?;
    for lease in [1, 2] {
        site.grant(lease, 600).await?;
    }
    let mut early = Observer::of(&site, "captain").await?;
    let leader = site.campaign("captain", 1, "one").await?.leader.context("a leader")?;
    assert_eq!(early.hear().await?.1, "one");
    let waiting = site.wait_to_lead("captain", 2).await?;
    assert!(still_waits(&waiting).await);
    for round in 0..50 {
        proclaim(&mut site, &leader, format!("{round}")).await?;
    }
    let mut last = 0;
    for round in 0..50 {
        let (key, value, revision) = early.hear().await?;
        assert_eq!((key, value), ("captain/1".into(), format!("{round}").into()));
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
    let mut late = Observer::of(&site, "captain").await?;
    assert_eq!(late.hear().await?.1, "49");
    site.election.resign(ResignRequest { leader: Some(leader) }).await?;
    let second = waiting.await??.leader.context("a leader")?;
    for observer in [&mut early, &mut late] {
        let (key, value, _) = observer.hear().await?;
        assert_eq!((key, value), ("captain/2".into(), "waiter".into()));
    }
    // Nobody leads for a while; what matters to another election does not matter here.
    site.election.resign(ResignRequest { leader: Some(second) }).await?;
    site.grant(3, 600).await?;
    site.campaign("captain2", 3, "another").await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    site.campaign("captain", 3, "three").await?;
    for observer in [&mut early, &mut late] {
        assert_eq!(observer.hear().await?.1, "three");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_hear_everything_in_order() -> Result<()> {
    follow(Server::tombolo()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_hear_everything_in_order_from_etcd_too() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    follow(etcd).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observing_ends_with_the_server() -> Result<()> {
    let mut server = Server::tombolo().in_memory().start().await?;
    let site = Site::of(&server).await?;
    site.grant(1, 600).await?;
    site.campaign("captain", 1, "one").await?;
    let mut observer = Observer::of(&site, "captain").await?;
    observer.hear().await?;
    server.stop()?;
    let end = timeout(Duration::from_secs(10), observer.0.recv()).await?.context("a last word")?;
    let end = end.err().context("an error")?;
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "etcdserver: server stopped"));
    Ok(())
}
