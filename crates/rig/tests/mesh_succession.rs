//! Sites that lose the end of their log, or are set back: they go on under other names, by themselves, with everything that was acknowledged.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tombolo_proto::{
    etcdserverpb::{
        Compare, LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
    },
    mvccpb::KeyValue,
    v1::{
        Member, MemberState, MeshAlarmKind, MeshInviteRequest, MeshMembersRequest, MeshRemoveRequest,
        MeshStatusRequest, MeshStatusResponse, mesh_client::MeshClient,
    },
};
use tombolo_rig::{
    folder,
    process::{Launch, Server},
    requirement,
};

#[path = "mesh_succession/copies.rs"]
mod copies;
#[path = "mesh_succession/third_parties.rs"]
mod third_parties;

const PATIENCE: Duration = Duration::from_secs(20);

fn launch() -> Launch {
    Server::tombolo().in_memory()
}

/// A host and a site that has joined it.
async fn pair(joining: Launch) -> Result<(Server, Server)> {
    let host = launch().with("--name", "factory").start().await?;
    let ticket = invite(&host).await?;
    let joined = joining.with("--name", "ship").with("--join", &ticket).start().await?;
    Ok((host, joined))
}

async fn invite(host: &Server) -> Result<String> {
    let mut mesh = MeshClient::new(host.connect().await?.channel);
    Ok(mesh.invite(MeshInviteRequest { ttl_s: 60 }).await?.into_inner().ticket)
}

async fn put(server: &Server, key: &str, value: &str) -> Result<i64> {
    let request = PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() };
    let answer = server.connect().await?.kv.put(request).await?.into_inner();
    Ok(answer.header.context("a header")?.revision)
}

async fn get(server: &Server, key: &str) -> Result<Option<KeyValue>> {
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    Ok(server.connect().await?.kv.range(request).await?.into_inner().kvs.into_iter().next())
}

/// Writes a key that hangs on a lease of ten minutes.
async fn hold(server: &Server, lease: i64, key: &str) -> Result<()> {
    let mut connection = server.connect().await?;
    connection.lease.lease_grant(LeaseGrantRequest { id: lease, ttl: 600 }).await?;
    let request = PutRequest { key: key.to_owned().into(), value: "1".into(), lease, ..Default::default() };
    connection.kv.put(request).await?;
    Ok(())
}

/// Runs the command line to its end.
fn tombolo(words: &[&str]) -> Result<Output> {
    Ok(Command::new(requirement::tombolo()).args(words).output()?)
}

/// Writes if the key was last written at this revision.
async fn swap(server: &Server, key: &str, revision: i64) -> Result<bool> {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Default::default()
    };
    let write = PutRequest { key: key.to_owned().into(), value: "swapped".into(), ..Default::default() };
    let success = vec![RequestOp { request: Some(Request::RequestPut(write)) }];
    let request = TxnRequest { compare: vec![compare], success, failure: Vec::new() };
    Ok(server.connect().await?.kv.txn(request).await?.into_inner().succeeded)
}

async fn status(server: &Server) -> Result<MeshStatusResponse> {
    let mut mesh = MeshClient::new(server.connect().await?.channel);
    Ok(mesh.status(MeshStatusRequest {}).await?.into_inner())
}

async fn members(server: &Server) -> Result<Vec<Member>> {
    let mut mesh = MeshClient::new(server.connect().await?.channel);
    Ok(mesh.members(MeshMembersRequest {}).await?.into_inner().members)
}

/// Waits until something holds; a server that is just starting again answers nothing.
async fn until<F: Future<Output = Result<bool>>>(what: &str, holds: impl Fn() -> F) -> Result<()> {
    let wait = async {
        while !holds().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("never: {what}"))
}

async fn in_step(one: &Server, other: &Server) -> Result<()> {
    until("the two are in step", || async {
        let (one, other) = (status(one).await?, status(other).await?);
        Ok(one.frontier == other.frontier && one.digest == other.digest)
    })
    .await
}

/// The journal's bytes that were ever written.
fn written(journal: &Path) -> Result<u64> {
    let content = fs::read(journal)?;
    Ok(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
}

fn journal(server: &Server) -> Result<std::path::PathBuf> {
    let files = folder::files(&server.folder().join("engine"))?;
    let found = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    found.context("the engine has a journal")
}

fn member(members: &[Member], replica: u64) -> Result<&Member> {
    members.iter().find(|member| member.replica == replica).context("a member")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_lost_the_end_of_its_log_goes_on_with_everything_that_was_acknowledged() -> Result<()> {
    let (host, mut joined) = pair(launch()).await?;
    let kept = put(&joined, "kept", "1").await?;
    in_step(&host, &joined).await?;
    let end = written(&journal(&joined)?)?;
    let mut lost = 0;
    for n in 0..20 {
        lost = put(&joined, "lost", &n.to_string()).await?;
    }
    in_step(&host, &joined).await?;
    let old = status(&joined).await?.replica;
    // The fence follows the log within a fraction of a second.
    tokio::time::sleep(Duration::from_millis(150)).await;
    joined.kill()?;
    fs::File::options().write(true).open(journal(&joined)?)?.set_len(end)?;
    joined.restart().await?;
    let new = status(&joined).await?.replica;
    assert_ne!(new, old);
    in_step(&host, &joined).await?;
    let back = get(&joined, "lost").await?.context("what was lost is back")?;
    assert_eq!(back.value, "19");
    assert!(back.mod_revision > lost, "{} after {lost}", back.mod_revision);
    // Old revisions of what is certain compare as before, those that are lost do not.
    assert!(!swap(&joined, "lost", lost).await?);
    assert!(swap(&joined, "kept", kept).await? && swap(&joined, "lost", back.mod_revision).await?);
    in_step(&host, &joined).await?;
    for site in [&host, &joined] {
        let members = members(site).await?;
        let (before, after) = (member(&members, old)?, member(&members, new)?);
        assert_eq!((before.state(), before.successor), (MemberState::Succeeded, new));
        assert_eq!((after.state(), after.predecessor, after.name.as_str()), (MemberState::Active, old, "ship"));
        assert_eq!(status(site).await?.alarms, []);
        assert_eq!(status(site).await?.peers.len(), 1);
    }
    let log = joined.output();
    assert!(log.contains("commit") && log.contains(&format!("{old:016x}")) && log.contains(&format!("{new:016x}")));
    // The name stays, and others can still be let in by either.
    joined.restart().await?;
    assert_eq!(status(&joined).await?.replica, new);
    in_step(&host, &joined).await?;
    let ticket = invite(&joined).await?;
    let third = launch().with("--name", "office").with("--join", &ticket).start().await?;
    in_step(&host, &third).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_the_record_of_its_founding_is_known_all_the_same() -> Result<()> {
    let (mut host, joined) = pair(launch()).await?;
    put(&host, "k", "1").await?;
    put(&joined, "l", "1").await?;
    in_step(&host, &joined).await?;
    let old = status(&host).await?.replica;
    tokio::time::sleep(Duration::from_millis(150)).await;
    host.kill()?;
    // Nothing is left of the journal but how it begins.
    let journal = journal(&host)?;
    let length = written(&journal)?;
    fs::File::options().write(true).open(&journal)?.set_len(length.min(8))?;
    // Nobody is known there any more who might have what is gone: an operator has to say so.
    let refusal = host.refusal()?;
    assert!(!refusal.status.success() && refusal.output.contains("--sole"), "{}", refusal.output);
    host.set("--sole", "true");
    host.restart().await?;
    assert_ne!(status(&host).await?.replica, old);
    in_step(&host, &joined).await?;
    ensure!(get(&host, "k").await?.is_some() && get(&host, "l").await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_killed_under_a_weak_durability_comes_back_as_somebody_else() -> Result<()> {
    let (host, mut joined) = pair(launch().with("--durability", "os")).await?;
    let mut names = Vec::new();
    for round in 0..3 {
        put(&joined, &format!("round{round}"), "1").await?;
        in_step(&host, &joined).await?;
        names.push(status(&joined).await?.replica);
        joined.kill()?;
        put(&host, &format!("meanwhile{round}"), "1").await?;
        joined.restart().await?;
    }
    in_step(&host, &joined).await?;
    names.push(status(&joined).await?.replica);
    names.dedup();
    assert_eq!(names.len(), 4, "{names:?}");
    let listed = members(&host).await?;
    assert_eq!(listed.iter().filter(|member| member.state() == MemberState::Succeeded).count(), 3);
    for (old, new) in names.iter().zip(&names[1..]) {
        assert_eq!(member(&listed, *old)?.successor, *new);
    }
    Ok(())
}

/// Puts what the store had written in the place of what it has written since, as a restored disk image would.
fn set_back(server: &Server, earlier: &Path) -> Result<()> {
    let folder = server.folder();
    fs::remove_dir_all(folder.join("engine"))?;
    folder::copy(&earlier.join("engine"), &folder.join("engine"))?;
    Ok(fs::write(folder.join("FENCE"), fs::read(earlier.join("FENCE"))?)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_was_set_back_learns_it_from_a_peer_and_goes_on_while_it_runs() -> Result<()> {
    let (host, mut joined) = pair(launch()).await?;
    put(&joined, "kept", "1").await?;
    in_step(&host, &joined).await?;
    joined.stop()?;
    let earlier = joined.folder().with_extension("earlier");
    folder::copy(&joined.folder(), &earlier)?;
    joined.restart().await?;
    let old = status(&joined).await?.replica;
    let lost = put(&joined, "lost", "1").await?;
    in_step(&host, &joined).await?;
    joined.stop()?;
    set_back(&joined, &earlier)?;
    joined.restart().await?;
    let process = joined.process_id();
    until("it goes on under another name", || async { Ok(status(&joined).await?.replica != old) }).await?;
    assert_eq!(joined.process_id(), process);
    in_step(&host, &joined).await?;
    assert_eq!(get(&joined, "lost").await?.context("it came back")?.value, "1");
    let kept = get(&joined, "kept").await?.context("it was kept")?;
    assert!(put(&joined, "again", "1").await? > lost);
    assert!(!swap(&joined, "lost", lost).await?, "that number is nobody's");
    assert!(swap(&joined, "kept", kept.mod_revision).await?);
    in_step(&host, &joined).await?;
    assert_eq!((status(&host).await?.alarms, status(&joined).await?.alarms), (vec![], vec![]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_of_ones_own_records_is_set_aside_and_entered_again() -> Result<()> {
    let (mut host, mut joined) = pair(launch()).await?;
    put(&joined, "kept", "1").await?;
    hold(&joined, 4711, "held before").await?;
    in_step(&host, &joined).await?;
    joined.stop()?;
    let earlier = joined.folder().with_extension("earlier");
    folder::copy(&joined.folder(), &earlier)?;
    joined.restart().await?;
    let old = status(&joined).await?.replica;
    for n in 0..5 {
        put(&joined, "mesh", &n.to_string()).await?;
    }
    in_step(&host, &joined).await?;
    joined.stop()?;
    host.stop()?;
    set_back(&joined, &earlier)?;
    // Nobody is there who knows better: it goes on writing, under names that are used.
    joined.restart().await?;
    let mut forked = 0;
    for n in 0..7 {
        forked = put(&joined, &format!("fork{n}"), "1").await?;
    }
    hold(&joined, 4712, "held after").await?;
    put(&joined, "kept", "2").await?;
    host.restart().await?;
    until("it goes on under another name", || async { Ok(status(&joined).await?.replica != old) }).await?;
    in_step(&host, &joined).await?;
    for site in [&host, &joined] {
        assert_eq!(get(site, "mesh").await?.context("the mesh's copy stands")?.value, "4");
        assert_eq!(get(site, "kept").await?.context("it was kept")?.value, "2");
        for n in 0..7 {
            assert_eq!(get(site, &format!("fork{n}")).await?.context("it was entered again")?.value, "1");
        }
        assert_eq!(status(site).await?.alarms, []);
    }
    assert!(put(&joined, "after", "1").await? > forked);
    assert!(!swap(&joined, "fork6", forked).await?);
    let files = folder::files(&joined.folder())?;
    let tail =
        files.into_iter().find(|file| file.to_string_lossy().contains("/TAIL-")).context("there is a file of it")?;
    let tail = tail.to_str().context("a name")?.to_owned();
    let shown = tombolo(&["mesh", "tail", &tail])?;
    assert_eq!(String::from_utf8(shown.stdout)?.lines().filter(|line| line.contains(" put ")).count(), 9);
    // What the server has entered by itself an operator may enter again, here and there.
    for site in [&host, &joined] {
        let (frontier, digest) = (status(site).await?.frontier, status(site).await?.digest);
        let again = tombolo(&["--endpoints", &site.endpoint(), "mesh", "enter", &tail, "-w", "json"])?;
        let told = String::from_utf8(again.stdout)?;
        assert!(told.contains("\"was_entered\":true"), "{told} {}", String::from_utf8(again.stderr)?);
        let after = status(site).await?;
        assert_eq!((after.frontier, after.digest), (frontier, digest));
    }
    // Whoever held a lease holds it still, whether it was granted before the folder was set back or after.
    for (id, key) in [(4711, "held before"), (4712, "held after")] {
        let left = joined.connect().await?.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await?;
        let left = left.into_inner();
        assert!(left.ttl > 0 && left.keys == [key.as_bytes()], "{left:?}");
    }
    let log = joined.output() + &host.output();
    assert!(log.contains("FORKED") && log.contains(&format!("{old:016x}")), "{log}");
    // It is done once.
    joined.restart().await?;
    in_step(&host, &joined).await?;
    assert_eq!(get(&joined, "fork0").await?.context("fork0")?.version, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_folder_that_was_cloned_one_goes_on_and_the_other_is_told() -> Result<()> {
    let (host, mut joined) = pair(launch().with("--durability", "os")).await?;
    put(&joined, "k", "1").await?;
    in_step(&host, &joined).await?;
    let old = status(&joined).await?.replica;
    joined.kill()?;
    // A clone of the device: every byte is the original's, down to the manifest's birth. Here the same folder plays both, one after the other.
    let before = joined.folder().with_extension("before");
    folder::copy(&joined.folder(), &before)?;
    joined.restart().await?;
    in_step(&host, &joined).await?;
    let first = status(&joined).await?.replica;
    joined.stop()?;
    let manifest = fs::read_to_string(joined.folder().join("MANIFEST"))?;
    set_back(&joined, &before)?;
    // The clone's manifest is the old one, with the birth that this file has.
    fs::write(
        joined.folder().join("MANIFEST"),
        old_manifest(&manifest, &fs::read_to_string(before.join("MANIFEST"))?)?,
    )?;
    let refusal = joined.start_without_waiting();
    refusal?;
    until("the host names both", || async {
        let alarms = status(&host).await?.alarms;
        Ok(alarms.iter().any(|alarm| alarm.text.contains(&format!("{first:016x}"))))
    })
    .await
    .or_else(|_| {
        // Or the clone has heard of it in time and does not start.
        ensure!(joined.output().contains("successor"), "{}", joined.output());
        Ok(())
    })?;
    assert_ne!(first, old);
    let members = members(&host).await?;
    assert_eq!(member(&members, old)?.successor, first, "the first one counts");
    put(&host, "goes/on", "1").await.map(drop)
}

/// The text of one manifest with the birth of another.
fn old_manifest(newer: &str, older: &str) -> Result<String> {
    let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    let (inode, born) = (line(newer, "inode ").context("inode")?, line(newer, "born ").context("born")?);
    let mut text = String::new();
    for found in older.lines().filter(|line| !line.starts_with("hash ")) {
        let found = match found {
            _ if found.starts_with("inode ") => &inode,
            _ if found.starts_with("born ") => &born,
            _ => found,
        };
        text.push_str(found);
        text.push('\n');
    }
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    Ok(format!("{text}hash {hash:016x}\n"))
}
