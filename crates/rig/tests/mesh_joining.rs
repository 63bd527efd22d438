//! Coming into a mesh by ticket, and every way in which that must not happen: each refusal is named and changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{PutRequest, RangeRequest},
    v1::{
        MeshInviteRequest, MeshMembersRequest, MeshMembersResponse, MeshStatusRequest, MeshStatusResponse,
        mesh_client::MeshClient,
    },
};
use tombolo_rig::{
    folder,
    mesh::{Mesh, Shape},
    process::{Launch, Refusal, Server},
};
use tonic::{Code, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(20);

fn launch() -> Launch {
    Server::tombolo().in_memory().with("--log-level", "info")
}

async fn mesh_of(server: &Server) -> Result<MeshClient<Channel>> {
    Ok(MeshClient::new(server.connect().await?.channel))
}

async fn invite(server: &Server, ttl_s: u64) -> Result<String> {
    Ok(mesh_of(server).await?.invite(MeshInviteRequest { ttl_s }).await?.into_inner().ticket)
}

async fn members(server: &Server) -> Result<MeshMembersResponse> {
    Ok(mesh_of(server).await?.members(MeshMembersRequest {}).await?.into_inner())
}

async fn status(server: &Server) -> Result<MeshStatusResponse> {
    Ok(mesh_of(server).await?.status(MeshStatusRequest {}).await?.into_inner())
}

async fn put(server: &Server, key: &'static str, value: &'static str) -> Result<()> {
    let request = PutRequest { key: key.into(), value: value.into(), ..Default::default() };
    server.connect().await?.kv.put(request).await?;
    Ok(())
}

async fn get(server: &Server, key: &'static str) -> Result<Option<Bytes>> {
    let request = RangeRequest { key: key.into(), ..Default::default() };
    let answer = server.connect().await?.kv.range(request).await?.into_inner();
    Ok(answer.kvs.into_iter().next().map(|pair| pair.value))
}

/// Waits until `server` has this value.
async fn sees(server: &Server, key: &'static str, value: &'static str) -> Result<()> {
    let wait = async {
        while get(server, key).await?.as_deref() != Some(value.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("{key} never was {value}"))?
}

/// A server that is to join with a ticket and has not been started.
fn newcomer(ticket: &str) -> Result<Server> {
    launch().with("--join", ticket).prepare()
}

fn assert_refused(refusal: &Refusal, words: &[&str]) {
    assert!(!refusal.status.success(), "{refusal:?}");
    let line = refusal.output.lines().find(|line| line.starts_with("tombolod: ")).unwrap_or_default();
    for word in words {
        assert!(line.contains(word), "{word:?} is not said in {line:?}: {}", refusal.output);
    }
}

/// An `engine` that is no folder keeps the store from being made, as a crash just before that would.
fn obstruct(server: &Server) -> Result<PathBuf> {
    fs::create_dir_all(server.folder())?;
    let obstacle = server.folder().join("engine");
    fs::write(&obstacle, "")?;
    Ok(obstacle)
}

fn is_made(server: &Server) -> bool {
    server.folder().join("MANIFEST").exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_joins_has_what_was_written_before_and_both_have_what_is_written_after() -> Result<()> {
    let mut mesh = Mesh::prepare(&launch(), &["factory", "ship"], Shape::full(2), 1)?;
    mesh.site(0).restart().await?;
    put(&mesh.sites()[0], "before", "1").await?;
    mesh.start().await?;
    let [factory, ship] = mesh.sites() else { unreachable!("two sites") };
    sees(ship, "before", "1").await?;
    put(factory, "from/factory", "2").await?;
    put(ship, "from/ship", "3").await?;
    sees(ship, "from/factory", "2").await?;
    sees(factory, "from/ship", "3").await?;
    mesh.converge(PATIENCE).await?;
    assert_eq!(mesh.alarms().await?, [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joined_can_invite_and_all_agree_on_who_is_there() -> Result<()> {
    let mut mesh = Mesh::prepare(&launch(), &["factory", "ship", "office"], Shape::chain(3), 2)?;
    mesh.start().await?;
    for (site, key) in [(0, "a"), (1, "b"), (2, "c")] {
        put(&mesh.sites()[site], key, key).await?;
    }
    for site in mesh.sites() {
        for key in ["a", "b", "c"] {
            sees(site, key, key).await?;
        }
    }
    mesh.converge(PATIENCE).await?;
    let (mut first, mut last) = (mesh.members(0).await?, mesh.members(2).await?);
    for member in first.members.iter_mut().chain(&mut last.members) {
        // What each has heard of the others, and keeps for them, is its own.
        (member.held_commits, member.held_bytes, member.heard_ms) = (None, None, None);
    }
    assert_eq!((&first.members, &first.mesh), (&last.members, &last.mesh));
    let names: Vec<_> = first.members.iter().map(|member| member.name.as_str()).collect();
    assert!(["factory", "ship", "office"].iter().all(|name| names.contains(name)), "{names:?}");
    assert_ne!(first.replica, last.replica);
    let member = |name: &str| first.members.iter().find(|member| member.name == name).context("a member");
    assert_eq!(member("office")?.issuer, member("ship")?.replica, "who invites admits");
    assert_eq!(member("factory")?.issuer, member("factory")?.replica, "a founder admits itself");
    // What was handed down lies within what the issuer was given, and begins behind the issuer's own.
    let slots = |name: &str| member(name).map(|member| member.slots.unwrap_or_default());
    let (factory, ship, office) = (slots("factory")?, slots("ship")?, slots("office")?);
    assert_eq!((factory.first, factory.count), (0, 1 << 15));
    for (outer, inner) in [(factory, ship), (ship, office)] {
        assert!(inner.count > 0 && outer.first < inner.first, "{outer:?} {inner:?}");
        assert!(inner.first + inner.count <= outer.first + outer.count, "{outer:?} {inner:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_for_one_site_and_for_its_time() -> Result<()> {
    let host = launch().start().await?;
    let ticket = invite(&host, 60).await?;
    let mut first = newcomer(&ticket)?;
    first.restart().await?;
    let mut second = newcomer(&ticket)?;
    assert_refused(&second.refusal()?, &["redeemed by another replica", "mesh invite"]);
    assert!(!is_made(&second));
    assert_eq!(members(&host).await?.members.len(), 2);

    let ticket = invite(&host, 1).await?;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let mut late = newcomer(&ticket)?;
    assert_refused(&late.refusal()?, &["expired", "mesh invite"]);
    assert!(!is_made(&late));
    // What does not join makes no mesh of its own either, nor does it once the ticket is left out.
    let mut late_without = launch().with("--data-dir", &late.folder().display().to_string()).prepare()?;
    assert_refused(&late_without.refusal()?, &["about to join", "--join"]);
    // Another ticket takes it in.
    late.set("--join", &invite(&host, 60).await?);
    late.restart().await?;
    assert_eq!(members(&host).await?.members.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_ticket_is_told_why() -> Result<()> {
    let host = launch().start().await?;
    let ticket = invite(&host, 60).await?;
    let cut = ticket[..ticket.len() - 3].to_owned();
    for (join, words) in [
        ("hello", &["--join", "tmb1"][..]),
        (cut.as_str(), &["--join", "incomplete"]),
        ("@/no/such/file", &["--join", "/no/such/file"]),
    ] {
        let mut server = newcomer(join)?;
        assert_refused(&server.refusal()?, words);
        assert!(!is_made(&server));
    }
    let too_long = mesh_of(&host).await?.invite(MeshInviteRequest { ttl_s: u64::MAX }).await.err();
    assert_eq!(too_long.map(|status| status.code()), Some(Code::InvalidArgument));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_can_lie_in_a_file_and_stays_behind_without_harm() -> Result<()> {
    let host = launch().start().await?;
    put(&host, "k", "1").await?;
    let mut joined = launch().prepare()?;
    let file = joined.folder().with_extension("ticket");
    fs::write(&file, format!("{}\n", invite(&host, 60).await?))?;
    joined.set("--join", &format!("@{}", file.display()));
    joined.restart().await?;
    sees(&joined, "k", "1").await?;
    let replica = members(&joined).await?.replica;
    // The ticket is used up, and the folder is a member: it is ignored, and that is said.
    joined.stop()?;
    joined.restart().await?;
    assert_eq!(members(&joined).await?.replica, replica);
    assert!(joined.output().contains("--join is ignored"), "{}", joined.output());
    // Nor is it missed: a service keeps its command line for years.
    joined.stop()?;
    fs::remove_file(&file)?;
    joined.restart().await?;
    assert_eq!(members(&joined).await?.replica, replica);
    assert!(joined.output().contains("is gone"), "{}", joined.output());
    // Who has not joined needs it.
    let mut late = launch().with("--join", &format!("@{}", file.display())).prepare()?;
    assert_refused(&late.refusal()?, &["--join", "failed to read"]);
    assert!(!is_made(&late));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_mesh_or_of_strangers_files_does_not_join() -> Result<()> {
    let host = launch().start().await?;
    let ticket = invite(&host, 60).await?;
    let mut other = launch().start().await?;
    put(&other, "mine", "1").await?;
    let its_mesh = status(&other).await?.mesh;
    other.stop()?;
    other.set("--join", &ticket);
    let before = folder::contents(&other.folder())?;
    let names: String = its_mesh.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_refused(&other.refusal()?, &["--join", "belongs to mesh", &names, "--data-dir"]);
    assert_eq!(folder::contents(&other.folder())?, before);

    let mut strange = newcomer(&ticket)?;
    fs::create_dir_all(strange.folder())?;
    fs::write(strange.folder().join("thesis.txt"), "years of work")?;
    assert_refused(&strange.refusal()?, &["--join", "not empty", "thesis.txt"]);
    assert_eq!(fs::read_dir(strange.folder())?.count(), 1);
    // The ticket was not touched by any of that.
    let mut joined = newcomer(&ticket)?;
    joined.restart().await?;
    assert_eq!(members(&host).await?.members.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_admission_and_the_folder_is_gone_on_from() -> Result<()> {
    let host = launch().start().await?;
    put(&host, "k", "1").await?;
    let ticket = invite(&host, 60).await?;
    for goes_on_with_ticket in [true, false] {
        let ticket = if goes_on_with_ticket { ticket.clone() } else { invite(&host, 60).await? };
        let mut joining = newcomer(&ticket)?;
        let obstacle = obstruct(&joining)?;
        joining.refusal()?;
        assert!(!is_made(&joining) && joining.folder().join("MEMBERSHIP").exists());
        let admitted = members(&host).await?;
        fs::remove_file(obstacle)?;
        joining.set("--join", if goes_on_with_ticket { &ticket } else { "" });
        joining.restart().await?;
        sees(&joining, "k", "1").await?;
        let replica = members(&joining).await?.replica;
        assert!(admitted.members.iter().any(|member| member.replica == replica), "it came back as somebody else");
        assert_eq!(members(&host).await?.members.len(), admitted.members.len(), "nobody was admitted twice");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_lost_is_given_again() -> Result<()> {
    let mut host = launch().start().await?;
    let ticket = invite(&host, 60).await?;
    let mut joining = newcomer(&ticket)?;
    lose_the_answer(&mut host, &mut joining).await?;
    let admitted = members(&host).await?;
    joining.restart().await?;
    let replica = members(&joining).await?.replica;
    assert_eq!(admitted.members.len(), 2);
    assert!(admitted.members.iter().any(|member| member.replica == replica), "it came back as somebody else");
    assert_eq!(members(&host).await?.members.len(), 2, "nobody was admitted twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_admitted_without_hearing_of_it_comes_in_with_another_ticket() -> Result<()> {
    let mut host = launch().start().await?;
    put(&host, "k", "1").await?;
    let [first, second] = [invite(&host, 60).await?, invite(&host, 60).await?];
    let mut joining = newcomer(&first)?;
    lose_the_answer(&mut host, &mut joining).await?;
    joining.set("--join", &second);
    joining.restart().await?;
    sees(&joining, "k", "1").await?;
    assert_eq!(members(&host).await?.members.len(), 3, "the first name is nobody's any more");
    Ok(())
}

/// Has `joining` ask `host`, be admitted, and crash before it has written down the answer.
async fn lose_the_answer(host: &mut Server, joining: &mut Server) -> Result<()> {
    host.stop()?;
    // Nobody answers: the newcomer has written down under which name it asks, and is killed.
    let asked = joining.folder().join("MEMBERSHIP");
    let killed = tokio::time::timeout(Duration::from_secs(2), joining.restart()).await;
    assert!(killed.is_err(), "nobody could have answered");
    joining.kill()?;
    let question = fs::read(&asked)?;
    host.restart().await?;
    let obstacle = obstruct(joining)?;
    joining.refusal()?;
    assert_ne!(fs::read(&asked)?, question, "it was answered");
    fs::write(&asked, question)?;
    Ok(fs::remove_file(obstacle)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_key_or_has_anothers_is_refused() -> Result<()> {
    let host = launch().start().await?;
    let mut joined = newcomer(&invite(&host, 60).await?)?;
    joined.restart().await?;
    joined.stop()?;
    let key = joined.folder().join("KEY");
    let kept = fs::read(&key)?;
    fs::remove_file(&key)?;
    assert_refused(&joined.refusal()?, &["KEY", "has lost its own"]);
    fs::copy(host.folder().join("KEY"), &key)?;
    assert_refused(&joined.refusal()?, &["KEY", "has the key"]);
    cut_in_half(&key)?;
    assert_refused(&joined.refusal()?, &["KEY", "damaged"]);
    fs::write(&key, kept)?;
    joined.restart().await
}

fn cut_in_half(file: &Path) -> Result<()> {
    let bytes = fs::read(file)?;
    Ok(fs::write(file, &bytes[..bytes.len() / 2])?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_come_at_once_each_ticket_lets_one_in_and_no_slot_is_given_twice() -> Result<()> {
    let host = launch().start().await?;
    let shared = invite(&host, 60).await?;
    let mut tickets = vec![shared.clone(), shared.clone(), shared];
    for _ in 0..3 {
        tickets.push(invite(&host, 60).await?);
    }
    let starting: Vec<_> = tickets
        .into_iter()
        .map(|ticket| {
            tokio::spawn(async move {
                let mut server = newcomer(&ticket)?;
                server.restart().await.map(|()| server)
            })
        })
        .collect();
    let mut came = Vec::new();
    for started in starting {
        came.extend(started.await?.ok());
    }
    assert_eq!(came.len(), 4, "one of the three with the same ticket, and each of the others");
    let members = members(&host).await?.members;
    assert_eq!(members.len(), 5);
    let mut ranges: Vec<(u32, u32)> = members
        .iter()
        .filter(|member| member.replica != member.issuer)
        .filter_map(|member| member.slots.map(|slots| (slots.first, slots.first + slots.count)))
        .collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
    Ok(())
}
