//! The same calls on both servers, one after the other, with the same answers: keys, revisions, codes and texts.

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{LeaseLeasesRequest, LeaseTimeToLiveRequest, PutRequest, ResponseHeader},
    v3electionpb::{LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest},
};
use tombolo_rig::process::{Launch, Server};
use tonic::Status;

use super::site::Site;

/// What a server answered, in order.
struct Transcript {
    site: Site,
    lines: Vec<String>,
}

impl Transcript {
    fn add<T: std::fmt::Debug>(&mut self, call: &str, answer: Result<(Option<ResponseHeader>, T), Status>) {
        self.lines.push(match answer {
            Ok((header, rest)) => {
                let revision = header.map(|header| header.revision);
                format!("{call}: at {revision:?}: {rest:?}")
            }
            Err(status) => format!("{call}: {:?}: {}", status.code(), status.message()),
        });
    }

    async fn lock(&mut self, name: &'static str, lease: i64) {
        let answer = self.site.lock(name, lease).await.map(|answer| (answer.header, answer.key));
        self.add(&format!("lock {name} {lease}"), answer);
    }

    async fn unlock(&mut self, key: &'static str) {
        let request = tombolo_proto::v3lockpb::UnlockRequest { key: key.into() };
        let answer = self.site.lock.unlock(request).await.map(|answer| (answer.into_inner().header, ()));
        self.add(&format!("unlock {key}"), answer);
    }

    async fn campaign(&mut self, name: &'static str, lease: i64, value: &'static str) -> Option<LeaderKey> {
        let answer = self.site.campaign(name, lease, value).await;
        let leader = answer.as_ref().ok().and_then(|answer| answer.leader.clone());
        self.add(&format!("campaign {name} {lease} {value}"), answer.map(|answer| (answer.header, answer.leader)));
        leader
    }

    async fn proclaim(&mut self, leader: Option<LeaderKey>, value: Bytes) {
        let call = format!("proclaim {leader:?} of {} bytes", value.len());
        let answer = self.site.election.proclaim(ProclaimRequest { leader, value }).await;
        self.add(&call, answer.map(|answer| (answer.into_inner().header, ())));
    }

    async fn resign(&mut self, leader: Option<LeaderKey>) {
        let call = format!("resign {leader:?}");
        let answer = self.site.election.resign(ResignRequest { leader }).await;
        self.add(&call, answer.map(|answer| (answer.into_inner().header, ())));
    }

    async fn leader(&mut self, name: &'static str) {
        let answer = self.site.election.leader(LeaderRequest { name: name.into() }).await;
        let answer = answer.map(tonic::Response::into_inner).map(|answer| (answer.header, answer.kv));
        self.add(&format!("leader {name}"), answer);
    }

    async fn keys(&mut self) -> Result<()> {
        let pairs = self.site.pairs("").await?;
        self.lines.push(format!("keys: {pairs:?}"));
        Ok(())
    }
}

async fn locks(launch: Launch) -> Result<Vec<String>> {
    let server = launch.in_memory().start().await?;
    let site = Site::of(&server).await?;
    for lease in [1, 2, 0xabc] {
        site.grant(lease, 600).await?;
    }
    let mut transcript = Transcript { site, lines: Vec::new() };
    for (name, lease) in [("a", 1), ("a", 1), ("b", 1), ("b", 1), ("", 2), ("", 2), ("c/", 0xabc), ("d", 7), ("d", -1)]
    {
        transcript.lock(name, lease).await;
    }
    // A name that is the beginning of another one has the other's waiters in its line.
    transcript.lock("a/x", 1).await;
    for key in ["a/1", "a/1", "", "nothing", "/2", "b/1"] {
        transcript.unlock(key).await;
    }
    transcript.lock("a/x/y", 2).await;
    transcript.keys().await?;
    Ok(transcript.lines)
}

async fn elections(launch: Launch) -> Result<Vec<String>> {
    let server = launch.in_memory().start().await?;
    let site = Site::of(&server).await?;
    for lease in [1, 2] {
        site.grant(lease, 600).await?;
    }
    let mut transcript = Transcript { site, lines: Vec::new() };
    transcript.leader("e").await;
    transcript.campaign("e", 9, "nobody").await;
    let leader = transcript.campaign("e", 1, "first").await.context("a leader")?;
    transcript.leader("e").await;
    transcript.campaign("e", 1, "first").await;
    transcript.campaign("e", 1, "changed").await;
    transcript.leader("e").await;
    transcript.proclaim(None, Bytes::new()).await;
    transcript.proclaim(Some(leader.clone()), "proclaimed".into()).await;
    transcript.leader("e").await;
    let wrong = [
        LeaderKey { rev: leader.rev + 1, ..leader.clone() },
        LeaderKey { rev: 0, ..leader.clone() },
        LeaderKey { key: Bytes::new(), ..leader.clone() },
        LeaderKey { key: "other".into(), ..leader.clone() },
        LeaderKey { lease: 9, ..leader.clone() },
        LeaderKey::default(),
    ];
    for leader in &wrong {
        transcript.proclaim(Some(leader.clone()), "usurped".into()).await;
    }
    // A key that is not there has the revision 0, so this one is made.
    let made = LeaderKey { key: "e/made".into(), rev: 0, lease: 2, ..leader.clone() };
    transcript.proclaim(Some(made.clone()), "made".into()).await;
    transcript.proclaim(Some(leader.clone()), vec![7; 1_600_000].into()).await;
    transcript.resign(None).await;
    for leader in &wrong {
        transcript.resign(Some(LeaderKey { lease: 1, ..leader.clone() })).await;
    }
    transcript.leader("e").await;
    transcript.resign(Some(leader.clone())).await;
    transcript.resign(Some(leader.clone())).await;
    transcript.proclaim(Some(leader), "too late".into()).await;
    transcript.leader("e").await;
    transcript.unlock("e/made").await;
    transcript.leader("e").await;
    transcript.keys().await?;
    Ok(transcript.lines)
}

/// Without a lease the server finds one: for a minute, on the key, and for nobody to renew.
async fn sessions(launch: Launch) -> Result<Vec<String>> {
    let server = launch.in_memory().start().await?;
    let mut site = Site::of(&server).await?;
    site.grant(1, 600).await?;
    let locked = site.lock("l", 0).await?;
    let elected = site.campaign("e", 0, "v").await?.leader.context("a leader")?;
    let kept = site.campaign("k", 1, "v").await?.leader.context("a leader")?;
    let proclaim = ProclaimRequest { leader: Some(LeaderKey { lease: 0, ..kept.clone() }), value: "w".into() };
    site.election.proclaim(proclaim).await?;
    site.election.resign(ResignRequest { leader: Some(LeaderKey { lease: 0, ..kept }) }).await?;
    let mut lines = Vec::new();
    for (name, key) in [("l", locked.key), ("e", elected.key.clone())] {
        let pair = site.pairs(&format!("{name}/")).await?.pop().context("a key")?;
        assert_eq!((pair.key.clone(), pair.key), (key, format!("{name}/{:x}", pair.lease).into()));
        let ask = LeaseTimeToLiveRequest { id: pair.lease, keys: false };
        let time = site.connection.lease.lease_time_to_live(ask).await?.into_inner();
        lines.push(format!("{name}: {} {:?}", time.granted_ttl, pair.value));
    }
    assert_eq!(elected.key, format!("e/{:x}", elected.lease));
    let leases = site.connection.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    lines.push(format!("{} leases", leases.len()));
    // An ordinary write beside them counts as it always does.
    site.connection.kv.put(PutRequest { key: "l/0".into(), ..Default::default() }).await?;
    lines.push(format!("{:?}", site.election.leader(LeaderRequest { name: "k".into() }).await.err().map(|s| s.code())));
    Ok(lines)
}

async fn beside_etcd<F: Future<Output = Result<Vec<String>>>>(script: impl Fn(Launch) -> F) -> Result<()> {
    let found = script(Server::tombolo()).await?;
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let expected = script(etcd).await?;
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_are_answered_as_etcd_answers_them() -> Result<()> {
    beside_etcd(locks).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elections_are_answered_as_etcd_answers_them() -> Result<()> {
    beside_etcd(elections).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_no_lease_gets_a_session_as_from_etcd() -> Result<()> {
    beside_etcd(sessions).await
}
