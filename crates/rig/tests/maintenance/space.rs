//! A quota that is used up, seen by etcdctl; what gives it back; and history that is compacted without being asked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest, StatusRequest,
};
use tombolo_rig::{
    connect::Connection,
    etcdctl::{Etcdctl, first_difference, wanted},
    http::Page,
    process::{Launch, Server},
};
use tonic::{Code, Status};

async fn put(connection: &mut Connection, key: String, bytes: usize) -> Result<(), Status> {
    let value = Bytes::from(vec![7; bytes]);
    connection.kv.put(PutRequest { key: key.into(), value, ..Default::default() }).await.map(drop)
}

/// Puts until there is no room, and returns how many there were, and the refusal.
async fn fill(connection: &mut Connection, bytes: usize) -> Result<(usize, Status)> {
    for number in 0..10_000 {
        if let Err(refused) = put(connection, format!("key{number}"), bytes).await {
            return Ok((number, refused));
        }
    }
    anyhow::bail!("there is always room")
}

/// Waits until `is_so`.
async fn wait(what: &str, patience: Duration, mut is_so: impl AsyncFnMut() -> bool) -> Result<Duration> {
    let started = Instant::now();
    while !is_so().await {
        ensure!(started.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(started.elapsed())
}

fn sample(server: &Server, line: &str) -> Result<f64> {
    let page = Page::get(server.metrics_address(), "/metrics")?.body;
    let found = page.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    found.with_context(|| format!("no {line}"))?.parse().context("a number")
}

const FULL: &str = "
$ put more and-more
! etcdserver: mvcc: database space exceeded
? 1
$ lease grant 60
! etcdserver: mvcc: database space exceeded
? 1
$ alarm list
memberID:<n> alarm:NOSPACE
";

/// Plays a scenario; the decimal id in alarms is hidden.
fn play(server: &Server, scenario: &str) -> Result<()> {
    let Some(mut etcdctl) = Etcdctl::of(server) else { return Ok(()) };
    let hide = |line: String| match line.split_once("memberID:").and_then(|(_, rest)| rest.split_once(' ')) {
        Some((id, rest)) if id.bytes().all(|byte| byte.is_ascii_digit()) => format!("memberID:<n> {}", rest.trim()),
        _ if line.starts_with("! failed to grant lease (etcdserver: mvcc: database space exceeded)") => {
            "! etcdserver: mvcc: database space exceeded".to_owned()
        }
        _ => line,
    };
    let played: Vec<String> = etcdctl.play(scenario)?.into_iter().map(hide).collect();
    match first_difference(&wanted(scenario), &played) {
        Some(difference) => anyhow::bail!("{difference}\n{}", played.join("\n")),
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_is_told_as_by_etcd() -> Result<()> {
    let quota = |launch: Launch| launch.in_memory().with("--quota-backend-bytes", "2000000").start();
    let mut servers = vec![quota(Server::tombolo()).await?];
    if let Some(etcd) = Server::etcd() {
        servers.push(quota(etcd).await?);
    }
    for server in servers {
        let mut connection = server.connect().await?;
        let (_, refused) = fill(&mut connection, 100_000).await?;
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
        );
        play(&server, FULL)?;
        assert_eq!(Page::get(server.address(), "/health")?.status, 503);
        let status = connection.maintenance.status(StatusRequest {}).await?.into_inner();
        assert!(status.errors.len() == 1 && status.errors[0].ends_with("alarm:NOSPACE "), "{:?}", status.errors);
    }
    Ok(())
}

/// It takes half a minute: so long does compaction leave rows alone, for readers that have begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_is_given_back_by_deleting_and_compacting_without_a_disarm() -> Result<()> {
    const QUOTA: usize = 8_000_000;
    let mut server = Server::tombolo().with("--quota-backend-bytes", &QUOTA.to_string()).start().await?;
    let mut connection = server.connect().await?;
    for number in 0..60 {
        put(&mut connection, format!("early{number}"), 100_000).await?;
    }
    assert_eq!(sample(&server, "etcd_server_quota_backend_bytes")?, QUOTA as f64);
    assert_eq!(sample(&server, "tombolo_quota_high")?, 0.0);
    let (more, _) = fill(&mut connection, 100_000).await?;
    assert!((15..25).contains(&more), "{more} more of 100 kB after 60, in 8 MB");
    assert_eq!(sample(&server, "tombolo_quota_high")?, 1.0);
    assert_eq!(sample(&server, "tombolo_shortage{cause=\"quota\"}")?, 1.0);
    let health = Page::get(server.metrics_address(), "/health?verbose&exclude=NOSPACE")?;
    assert_eq!(health.status, 200, "it can be excluded by name");
    assert!(health.body.contains("of the quota are in use"), "{}", health.body);
    // The server is as full after a restart, and has said once that it is.
    server.restart().await?;
    let mut connection = server.connect().await?;
    assert!(put(&mut connection, "key0".to_owned(), 100_000).await.is_err());
    wait("the log", Duration::from_secs(5), async || server.output().contains("bytes of the quota are in use")).await?;

    let all = DeleteRangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let revision = connection.kv.delete_range(all).await?.into_inner().header.unwrap().revision;
    assert!(put(&mut connection, "key0".to_owned(), 100_000).await.is_err(), "history takes room, too");
    connection.kv.compact(CompactionRequest { revision, physical: false }).await?;
    let freed =
        wait("room", Duration::from_secs(60), async || put(&mut connection, "key0".to_owned(), 100_000).await.is_ok());
    println!("there was room again after {:?}", freed.await?);
    play(&server, "$ alarm list\n$ alarm disarm\n$ put a b\nOK\n")?;
    assert_eq!(Page::get(server.address(), "/health")?.status, 200);

    // Writes go on while what is not in use any more is given back to the disk.
    let mut writing = server.connect().await?;
    let (defragmented, written) =
        tokio::join!(connection.maintenance.defragment(DefragmentRequest {}), put(&mut writing, "b".to_owned(), 10));
    defragmented?;
    written?;
    server.restart().await?;
    let answer = server.connect().await?.kv.range(RangeRequest { key: "key0".into(), ..Default::default() }).await?;
    assert_eq!(answer.into_inner().kvs[0].value.len(), 100_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_compacted_without_being_asked_as_by_etcd() -> Result<()> {
    let launch = |launch: Launch| launch.in_memory().with("--auto-compaction-retention", "1s").start();
    let mut servers = vec![launch(Server::tombolo()).await?];
    if let Some(etcd) = Server::etcd() {
        servers.push(launch(etcd).await?);
    }
    for server in servers {
        let mut connection = server.connect().await?;
        for number in 0..20 {
            put(&mut connection, format!("key{number}"), 10).await?;
        }
        let at_two = async || {
            let query = RangeRequest { key: "key0".into(), revision: 2, ..Default::default() };
            connection.clone().kv.range(query).await.is_err_and(|status| status.code() == Code::OutOfRange)
        };
        let waited = wait("compaction", Duration::from_secs(8), at_two).await?;
        println!("compacted after {waited:?}");
        let now = RangeRequest { key: "key19".into(), ..Default::default() };
        assert_eq!(connection.kv.range(now).await?.into_inner().kvs.len(), 1);
    }
    Ok(())
}
