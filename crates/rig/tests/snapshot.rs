//! Snapshots: what a real etcd and its tools make of ours, and the replica that is restored from one.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tombolo_proto::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RangeResponse,
    },
    mvccpb::KeyValue,
};
use tombolo_rig::{
    import::{compare, fill, place, word},
    process::Server,
    random::size,
    requirement::{self, Tool},
};

const STEPS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_reads_what_the_snapshot_holds() -> Result<()> {
    let (Some(etcd), Some(etcdctl)) = (Server::etcd_in_path(), Tool::Etcdctl.find_in_path()) else { return Ok(()) };
    for seed in [11, 12] {
        let (ours, folder) = (Server::tombolo().in_memory().start().await?, TempDir::new()?);
        let generator = fill(&ours, seed, size("TOMBOLO_STEPS", STEPS)).await?;
        let file = folder.path().join("snapshot.db");
        let path = word(&file)?;
        let saved = v3(&etcdctl, &["--endpoints", &ours.endpoint(), "snapshot", "save", path])?;
        ensure!(saved.status.success(), "{saved:?}");
        // Both tools say the same of the file.
        let told = v3(&etcdctl, &["snapshot", "status", path, "-w", "json"])?;
        let ours_told = tombolo(&["snapshot", "status", path, "-w", "json"])?;
        ensure!(text(&told.stdout).trim() == text(&ours_told.stdout).trim(), "{told:?}\n{ours_told:?}");

        let mut restored = etcd.clone().prepare()?;
        let peer = format!("http://{}", restored.peer_address());
        let data = restored.folder();
        let (cluster, data) = (format!("rig={peer}"), word(&data)?.to_owned());
        let words = ["snapshot", "restore", path, "--data-dir", &data, "--name", "rig", "--initial-cluster"];
        let made = v3(&etcdctl, &[&words[..], &[&cluster, "--initial-advertise-peer-urls", &peer]].concat())?;
        ensure!(made.status.success(), "{made:?}");
        restored.restart().await?;
        compare(&ours, &restored, place(&generator.world)).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_replica_has_the_same_past_and_is_somebody_else() -> Result<()> {
    let (ours, folder) = (Server::tombolo().in_memory().start().await?, TempDir::new()?);
    let generator = fill(&ours, 21, size("TOMBOLO_STEPS", STEPS)).await?;
    let lease = LeaseGrantRequest { ttl: 600, id: 4711 };
    ours.connect().await?.lease.lease_grant(lease).await?;
    let file = folder.path().join("copy");
    let path = word(&file)?;
    let saved = tombolo(&["--endpoints", &ours.endpoint(), "snapshot", "save", path])?;
    ensure!(text(&saved.stdout) == format!("Snapshot saved at {path}\n"), "{saved:?}");
    // The same to standard output, but for the moment it was made at.
    let piped = tombolo(&["--endpoints", &ours.endpoint(), "snapshot", "save", "-"])?;
    ensure!(piped.stdout.len() == std::fs::read(&file)?.len(), "a copy on standard output is another one");
    let status = tombolo(&["snapshot", "status", path])?;
    let revision = generator.world.revision;
    ensure!(text(&status.stdout).contains(&format!(", {revision}, ")), "{status:?}");

    let mut heir = Server::tombolo().in_memory().prepare()?;
    let data = heir.folder();
    let data = word(&data)?;
    let made = tombolo(&["snapshot", "restore", path, "--data-dir", data])?;
    ensure!(made.status.success(), "{made:?}");
    let again = tombolo(&["snapshot", "restore", path, "--data-dir", data])?;
    ensure!(!again.status.success() && text(&again.stderr).contains("there is a store already"), "{again:?}");
    heir.restart().await?;

    let from = generator.world.compacted.max(1);
    for at in from..=revision {
        ensure!(pairs(&ours, at).await?.kvs == pairs(&heir, at).await?.kvs, "at revision {at}");
    }
    let (was, now) = (pairs(&ours, 0).await?, pairs(&heir, 0).await?);
    let (was, now) = (was.header.context("a header")?, now.header.context("a header")?);
    ensure!(was.member_id != now.member_id && was.cluster_id != now.cluster_id && now.revision > was.revision);
    let leases = heir.connect().await?.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    ensure!(leases.iter().any(|lease| lease.id == 4711), "{leases:?}");
    let put = PutRequest { key: "after".into(), value: "restoring".into(), lease: 4711, ..Default::default() };
    let put = heir.connect().await?.kv.put(put).await?.into_inner().header.context("a header")?;
    ensure!(put.revision == now.revision + 1, "{put:?} after {now:?}");
    heir.connect().await?.lease.lease_revoke(LeaseRevokeRequest { id: 4711 }).await?;
    ensure!(find(&pairs(&heir, 0).await?, "after").is_none(), "a lease that was inherited did not end");
    heir.restart().await?;
    ensure!(pairs(&heir, from).await?.kvs == pairs(&ours, from).await?.kvs, "after a restart");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_cut_or_touched_is_refused_by_name() -> Result<()> {
    let (ours, folder) = (Server::tombolo().in_memory().start().await?, TempDir::new()?);
    fill(&ours, 31, 50).await?;
    let file = folder.path().join("copy");
    let path = word(&file)?;
    tombolo(&["--endpoints", &ours.endpoint(), "snapshot", "save", path])?;
    let whole = std::fs::read(&file)?;
    let mut touched = whole.clone();
    touched[whole.len() / 2] ^= 1;
    let empty = folder.path().join("data");
    for (content, named) in
        [(&whole[..whole.len() - 9], "ends early"), (&touched, "damaged"), (b"nothing of the kind", "copy")]
    {
        std::fs::write(&file, content)?;
        let status = tombolo(&["snapshot", "status", path])?;
        ensure!(!status.status.success() && text(&status.stderr).contains(named), "{named}: {status:?}");
        let made = tombolo(&["snapshot", "restore", path, "--data-dir", word(&empty)?])?;
        ensure!(!made.status.success() && !empty.join("MANIFEST").exists(), "{named}: {made:?}");
    }
    Ok(())
}

async fn pairs(server: &Server, revision: i64) -> Result<RangeResponse> {
    let zero = Bytes::from_static(b"\0");
    let request = RangeRequest { key: zero.clone(), range_end: zero, revision, ..Default::default() };
    Ok(server.connect().await?.kv.range(request).await?.into_inner())
}

fn find<'a>(answer: &'a RangeResponse, key: &str) -> Option<&'a KeyValue> {
    answer.kvs.iter().find(|pair| pair.key == key)
}

fn tombolo(words: &[&str]) -> Result<Output> {
    Ok(Command::new(requirement::tombolo()).args(words).output()?)
}

fn v3(program: &Path, words: &[&str]) -> Result<Output> {
    Ok(Command::new(program).env("ETCDCTL_API", "3").args(words).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
