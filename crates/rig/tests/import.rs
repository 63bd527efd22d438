//! `tombolo import` beside a real etcd: what was moved reads as it did there, at every revision that is still known.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tombolo_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, AuthenticateRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    },
    v1::{ImportStatusRequest, MeshInviteRequest, import_client::ImportClient, mesh_client::MeshClient},
};
use tombolo_rig::{
    differential::judge,
    import::{self, Place, command, compare, compare_from, expect, fill, place, run, snapshot, word},
    load,
    process::{Launch, Server},
    random::{seeds, size},
};

const STEPS: usize = 400;

fn etcd() -> Option<Launch> {
    Some(Server::etcd()?.in_memory())
}

async fn tombolo() -> Result<Server> {
    Server::tombolo().in_memory().start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_with_history_reads_as_its_etcd_and_goes_on_as_it_would() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    for seed in seeds(&[1, 2, 3]) {
        let (source, target, folder) = (etcd.clone().start().await?, tombolo().await?, TempDir::new()?);
        let mut generator = fill(&source, seed, size("TOMBOLO_STEPS", STEPS)).await?;
        let file = snapshot(&source, &folder).await?;
        let told = expect(&target, &["--from-snapshot", word(&file)?, "--history"])?;
        ensure!(told.contains("with the revisions that they have"), "{told}");
        compare(&source, &target, place(&generator.world)).await.with_context(|| format!("seed {seed}"))?;
        let (mut left, mut right) = (source.connect().await?, target.connect().await?);
        for _ in 0..200 {
            let request = generator.request();
            let (expected, got) = (request.send(&mut left).await?, request.send(&mut right).await?);
            let found = judge(&request, expected.clone(), got);
            ensure!(found.is_empty(), "seed {seed}, after the import: {request:?}: {found:?}");
            generator.world.observe(&request, &expected);
        }
        compare(&source, &target, place(&generator.world)).await.with_context(|| format!("seed {seed}, after more"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_etcd_with_history_reads_as_it_does_also_after_a_kill() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    for seed in seeds(&[4, 5, 6]) {
        let (source, mut target) = (etcd.clone().start().await?, tombolo().await?);
        let generator = fill(&source, seed, size("TOMBOLO_STEPS", STEPS)).await?;
        expect(&target, &["--from-endpoints", &source.endpoint(), "--history"])?;
        compare(&source, &target, place(&generator.world)).await.with_context(|| format!("seed {seed}"))?;
        target.restart().await?;
        compare(&source, &target, place(&generator.world)).await.with_context(|| format!("seed {seed}, killed"))?;
    }
    Ok(())
}

/// Which change of its transaction each one was is known from a file, so that even the hash of a history is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hash_of_an_imported_history_is_that_of_its_etcd() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    for seed in seeds(&[7, 8]) {
        let (source, target, folder) = (etcd.clone().start().await?, tombolo().await?, TempDir::new()?);
        let generator = fill(&source, seed, size("TOMBOLO_STEPS", STEPS)).await?;
        let file = snapshot(&source, &folder).await?;
        expect(&target, &["--from-snapshot", word(&file)?, "--history"])?;
        let (expected, got) = import::hashes(&source, &target, generator.world.revision).await?;
        ensure!(expected == got, "seed {seed}: {expected:08x} and {got:08x}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_history_the_present_is_kept_and_the_past_is_compacted() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (source, folder) = (etcd.start().await?, TempDir::new()?);
    let generator = fill(&source, 9, STEPS).await?;
    let file = snapshot(&source, &folder).await?;
    let revision = generator.world.revision;
    let present = Place { revision, compacted: revision };
    for words in [["--from-snapshot", word(&file)?], ["--from-endpoints", &source.endpoint()]] {
        let target = tombolo().await?;
        expect(&target, &words)?;
        compare(&target, &target, present).await.context("below it nothing is known")?;
        compare_from(&source, &target, present).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_of_a_stopped_member_is_a_source_too() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (mut source, target) = (etcd.start().await?, tombolo().await?);
    let generator = fill(&source, 10, STEPS).await?;
    // etcd forgets the lease with the highest number when it starts again.
    let highest = LeaseRevokeRequest { id: i64::MAX };
    let revoked = source.connect().await?.lease.lease_revoke(highest).await.ok();
    let header = revoked.and_then(|response| response.into_inner().header);
    let revision = header.map_or(generator.world.revision, |header| header.revision);
    source.stop()?;
    let file = source.folder().join("member/snap/db");
    expect(&target, &["--from-snapshot", word(&file)?, "--history"])?;
    source.restart().await?;
    compare(&source, &target, Place { revision, ..place(&generator.world) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_in_use_gives_new_revisions_and_says_so() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (source, target) = (etcd.start().await?, tombolo().await?);
    let (mut from, mut to) = (source.connect().await?, target.connect().await?);
    let put = |key: &'static str, value: &'static str| PutRequest {
        key: key.into(),
        value: value.into(),
        ..PutRequest::default()
    };
    for key in ["a", "b", "c"] {
        from.kv.put(put(key, "theirs")).await?;
    }
    to.kv.put(put("b", "ours")).await?;
    to.kv.put(put("c", "theirs")).await?;
    let endpoint = source.endpoint();
    let live = ["--from-endpoints", endpoint.as_str()];
    let with =
        |more: &[&'static str]| -> Vec<String> { live.iter().chain(more).map(|word| (*word).to_owned()).collect() };
    let call = |words: Vec<String>| run(&target, &words.iter().map(String::as_str).collect::<Vec<_>>());

    let said = call(with(&["--history"]))?;
    ensure!(!said.is_success && said.complained.contains("empty replica"), "{said:?}");
    let said = call(with(&["--dry-run"]))?;
    ensure!(said.told.contains("nothing was written: it would have imported 1 pairs under new revisions"), "{said:?}");
    ensure!(value(&target, "a").await?.is_none(), "a rehearsal wrote something");
    let said = call(with(&[]))?;
    ensure!(!said.is_success && said.told.contains("imported 1 pairs under new revisions"), "{said:?}");
    ensure!(
        said.told.contains("1 keys hold the same already") && said.told.contains("something else:\n  b"),
        "{said:?}"
    );
    ensure!(value(&target, "b").await?.as_deref() == Some(b"ours"), "a key was overwritten unasked");
    let said = call(with(&["--overwrite"]))?;
    ensure!(said.is_success && said.told.contains("2 keys hold the same already"), "{said:?}");
    ensure!(value(&target, "b").await?.as_deref() == Some(b"theirs"), "a key was not overwritten");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_killed_shows_nothing_and_is_gone_on_with() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (source, folder) = (etcd.start().await?, TempDir::new()?);
    load::fill(&source.connect().await?, 40_000).await?;
    let generator = fill(&source, 11, 100).await?;
    let file = snapshot(&source, &folder).await?;
    let words = ["--from-snapshot", word(&file)?, "--history"];
    // A machine that does other things meanwhile may be too late with its kill: then the import had ended.
    let mut tries = 0;
    let target = loop {
        if let Some(target) = interrupted(&words).await? {
            break target;
        }
        tries += 1;
        ensure!(tries < 10, "no import was ever interrupted");
    };
    let mut connection = target.connect().await?;
    let read = connection.kv.range(RangeRequest { key: "a".into(), ..RangeRequest::default() }).await;
    let refused = read.err().context("half of an import was shown")?;
    ensure!(refused.message().contains("an import is under way"), "{refused:?}");
    let put = connection.kv.put(PutRequest { key: "a".into(), ..PutRequest::default() }).await;
    ensure!(put.is_err(), "a write came between");
    let other = run(&target, &["--from-snapshot", word(&file)?])?;
    ensure!(!other.is_success && other.complained.contains("another import was interrupted"), "{other:?}");
    expect(&target, &words)?;
    let end = place(&generator.world);
    let last = Place { compacted: end.compacted.max(end.revision - 50), ..end };
    compare_from(&source, &target, last).await
}

/// A server that was killed in the middle of an import and is there again; `None` when the import was faster.
async fn interrupted(words: &[&str]) -> Result<Option<Server>> {
    let mut target = tombolo().await?;
    let mut first = command(&target, words).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = status(&target).await?;
        if now.under_way.is_some() || !now.keeps_numbers {
            break;
        }
        ensure!(Instant::now() < deadline, "the import does not begin");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    target.kill()?;
    first.wait()?;
    target.start_without_waiting()?;
    let half = loop {
        match status(&target).await {
            Ok(status) => break status,
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error),
        }
    };
    let is_half = half.under_way.is_some();
    ensure!(is_half || half.revision > 1, "nothing is left of what was under way: {half:?}");
    ensure!(half.keeps_numbers == is_half, "{half:?}");
    Ok(is_half.then_some(target))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_peer_has_what_was_imported() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (source, target, folder) = (etcd.start().await?, tombolo().await?, TempDir::new()?);
    let generator = fill(&source, 12, STEPS).await?;
    expect(&target, &["--from-snapshot", word(&snapshot(&source, &folder).await?)?])?;
    let mut mesh = MeshClient::new(target.connect().await?.channel);
    let ticket = mesh.invite(MeshInviteRequest { ttl_s: 60 }).await?.into_inner().ticket;
    let peer = Server::tombolo().in_memory().with("--join", &ticket).start().await?;
    ensure!(generator.world.revision > 10, "there is nothing to send");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (expected, got) = (pairs(&target).await?, pairs(&peer).await?);
        if expected == got {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the peer has {got:?} and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_refused_before_anything_is_sent() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (source, target, folder) = (etcd.start().await?, tombolo().await?, TempDir::new()?);
    fill(&source, 13, 50).await?;
    let file = snapshot(&source, &folder).await?;
    let whole = std::fs::read(&file)?;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (content, words) in [
        (flipped, "checksum"),
        (whole[..whole.len() / 2].to_vec(), ""),
        (whole[..4096].to_vec(), ""),
        (b"no database at all".to_vec(), "not a bbolt file"),
        (Vec::new(), "not a bbolt file"),
    ] {
        std::fs::write(&file, content)?;
        let said = run(&target, &["--from-snapshot", word(&file)?])?;
        ensure!(!said.is_success && said.complained.contains(words), "{words}: {said:?}");
        ensure!(status(&target).await?.keeps_numbers, "something was written");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_snapshot_sign_in_with_the_passwords_they_have() -> Result<()> {
    let Some(etcd) = etcd() else { return Ok(()) };
    let (mut source, target) = (etcd.start().await?, tombolo().await?);
    let mut auth = source.connect().await?.auth;
    let perm = Permission { perm_type: Type::Read.into(), key: "a".into(), range_end: "b".into() };
    auth.role_add(AuthRoleAddRequest { name: "reader".into() }).await?;
    auth.role_grant_permission(AuthRoleGrantPermissionRequest { name: "reader".into(), perm: Some(perm) }).await?;
    for (name, role) in [("root", "root"), ("alice", "reader")] {
        let add = AuthUserAddRequest { name: name.into(), password: format!("{name}'s"), ..Default::default() };
        auth.user_add(add).await?;
        auth.user_grant_role(AuthUserGrantRoleRequest { user: name.into(), role: role.into() }).await?;
    }
    auth.auth_enable(AuthEnableRequest {}).await?;
    source.stop()?;
    let file = source.folder().join("member/snap/db");
    let told = expect(&target, &["--from-snapshot", word(&file)?, "--auth"])?;
    ensure!(told.contains("2 users and 1 roles were made"), "{told}");

    let connection = target.connect().await?;
    let read = |key: &'static str| RangeRequest { key: key.into(), ..RangeRequest::default() };
    ensure!(connection.kv.clone().range(read("a")).await.is_err(), "nobody in particular reads");
    let sign_in = |password: &str| AuthenticateRequest { name: "alice".into(), password: password.into() };
    ensure!(connection.auth.clone().authenticate(sign_in("root's")).await.is_err(), "another's password is taken");
    let token = connection.auth.clone().authenticate(sign_in("alice's")).await?.into_inner().token;
    let with_token = |key| -> Result<tonic::Request<RangeRequest>> {
        let mut request = tonic::Request::new(read(key));
        request.metadata_mut().insert("token", token.parse()?);
        Ok(request)
    };
    connection.kv.clone().range(with_token("a")?).await?;
    let refused = connection.kv.clone().range(with_token("b")?).await.err().context("she reads what she may not")?;
    ensure!(refused.message() == "etcdserver: permission denied", "{refused:?}");
    Ok(())
}

async fn status(server: &Server) -> Result<tombolo_proto::v1::ImportStatusResponse> {
    let mut client = ImportClient::new(server.connect().await?.channel);
    Ok(client.status(ImportStatusRequest {}).await?.into_inner())
}

async fn value(server: &Server, key: &'static str) -> Result<Option<Bytes>> {
    let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
    Ok(server.connect().await?.kv.range(request).await?.into_inner().kvs.pop().map(|pair| pair.value))
}

/// Keys and values; revisions are each replica's own.
async fn pairs(server: &Server) -> Result<Vec<(Bytes, Bytes)>> {
    let request = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let pairs = server.connect().await?.kv.range(request).await?.into_inner().kvs;
    Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}
