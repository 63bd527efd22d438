//! Members that lie about their state, over real connections and to real servers: nothing of it is shown, the lie has a name, and the state is taken as soon
//! as somebody gives it as it is.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tombolo_crdt::ReplicaId;
use tombolo_net::KeyPair;
use tombolo_proto::{
    etcdserverpb::{PutRequest, RangeRequest},
    v1::{MeshAlarm, MeshAlarmKind, MeshInviteRequest, MeshStatusRequest, MeshStatusResponse, mesh_client::MeshClient},
};
use tombolo_rig::{
    http::Page,
    process::{Launch, Server},
    requirement,
};

use self::member::{Bend, ELEMENTS, Member, come_in};

#[path = "mesh_liars/member.rs"]
mod member;

const PATIENCE: Duration = Duration::from_secs(30);
/// Few enough that a seq has one byte.
const KEYS: usize = 100;

fn launch() -> Launch {
    Server::tombolo().in_memory()
}

async fn invite(server: &Server) -> Result<String> {
    let mut mesh = MeshClient::new(server.connect().await?.channel);
    Ok(mesh.invite(MeshInviteRequest { ttl_s: 60 }).await?.into_inner().ticket)
}

async fn status(server: &Server) -> Result<MeshStatusResponse> {
    let mut mesh = MeshClient::new(server.connect().await?.channel);
    Ok(mesh.status(MeshStatusRequest {}).await?.into_inner())
}

fn pairs(of: &str) -> Vec<(String, String)> {
    (0..KEYS).map(|number| (format!("{of}/{number:03}"), format!("the value of {of}/{number:03}"))).collect()
}

/// What a site has below a prefix.
async fn shown(server: &Server, of: &str) -> Result<Vec<(String, String)>> {
    let (key, range_end) = (format!("{of}/").into(), format!("{of}0").into());
    let answer = server.connect().await?.kv.range(RangeRequest { key, range_end, ..Default::default() }).await?;
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    Ok(answer.into_inner().kvs.into_iter().map(|pair| (text(pair.key), text(pair.value))).collect())
}

async fn put(server: &Server, key: &str) -> Result<i64> {
    let put = PutRequest { key: key.to_owned().into(), value: "1".into(), ..Default::default() };
    Ok(server.connect().await?.kv.put(put).await?.into_inner().header.context("a header")?.revision)
}

fn metric(server: &Server, name: &str) -> Result<u64> {
    let page = Page::get(server.address(), "/metrics")?.body;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
}

/// Transfers that were joined.
fn joined(server: &Server) -> Result<u64> {
    let of = |kind: &str| metric(server, &format!("tombolo_transfers_joined_total{{kind=\"{kind}\"}}"));
    Ok(of("checkpoint")? + of("delta")?)
}

async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let wait = async {
        loop {
            match found().await? {
                Some(found) => return anyhow::Ok(found),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("never: {what}"))?
}

async fn alarm(server: &Server, kind: MeshAlarmKind, peer: ReplicaId) -> Result<Option<MeshAlarm>> {
    let alarms = status(server).await?.alarms.into_iter();
    Ok(alarms.into_iter().find(|alarm| alarm.kind() == kind && alarm.peer == peer.get()))
}

fn straight() -> Bend {
    Box::new(|page| page)
}

/// Changes the last place in pages of elements where `from` is.
fn replacing(from: Vec<u8>, to: Vec<u8>) -> Bend {
    Box::new(move |page| {
        let found = page.windows(from.len()).rposition(|part| part == from);
        match found.filter(|_| page.get(1) == Some(&ELEMENTS)) {
            Some(at) => [&page[..at], &to, &page[at + from.len()..]].concat().into(),
            None => page,
        }
    })
}

/// The name of one of the replica's records, as it is written.
fn dot(replica: ReplicaId, seq: usize) -> Vec<u8> {
    [&replica.get().to_be_bytes()[..], &[seq as u8]].concat()
}

/// A site, and a member that gives it a state that is bent. The site says so in these words, and shows and counts nothing of it.
async fn refused(bend: impl FnOnce(ReplicaId) -> Bend, words: &str) -> Result<(Server, Member)> {
    let server = launch().start().await?;
    let before = put(&server, "own").await?;
    let name = come_in(&invite(&server).await?).await?;
    let bend = bend(name.replica);
    let liar = name.appear(&pairs("state"), Vec::new(), bend)?;
    until(words, async || Ok(server.output().contains(words).then_some(()))).await?;
    ensure!(liar.pulled(ELEMENTS) > 0, "it has been asked for all of it");
    nothing_is_shown(&server, before).await?;
    Ok((server, liar))
}

async fn nothing_is_shown(server: &Server, before: i64) -> Result<()> {
    ensure!(shown(server, "state").await?.is_empty() && shown(server, "forged").await?.is_empty());
    let status = status(server).await?;
    ensure!(status.frontier.iter().all(|entry| entry.replica == status.replica), "{:?}", status.frontier);
    ensure!(joined(server)? == 0);
    ensure!(put(server, "own").await? == before + 1, "a revision was taken for it");
    Ok(())
}

async fn until_taken(server: &Server, from: &Member) -> Result<()> {
    until("the state is taken", async || Ok((joined(server)? == 1).then_some(()))).await?;
    ensure!(shown(server, "state").await? == pairs("state"));
    let is_equal = async || {
        let status = status(server).await?;
        let frontier: Vec<_> = status.frontier.iter().map(|entry| (entry.replica, entry.seq)).collect();
        Ok((frontier == from.frontier().iter().map(|dot| (dot.replica.get(), dot.seq)).collect::<Vec<_>>())
            .then_some(()))
    };
    until("both have applied the same", is_equal).await
}

async fn altered() -> Result<()> {
    let bend = |_| replacing(b"the value of state/050".into(), b"the VALUE of state/050".into());
    let (server, liar) = refused(bend, "what came adds up to").await?;
    let corrupt = alarm(&server, MeshAlarmKind::Corrupt, liar.name.replica).await?.context("an alarm")?;
    ensure!(corrupt.text.contains("its state was not taken"), "{corrupt:?}");
    liar.bend(straight());
    until_taken(&server, &liar).await?;
    until("the alarm ends", async || Ok(status(&server).await?.alarms.is_empty().then_some(()))).await
}

async fn torn() -> Result<()> {
    let bend: Bend = Box::new(|page| if page.get(1) == Some(&ELEMENTS) { page.slice(..page.len() - 1) } else { page });
    let (server, liar) = refused(|_| bend, "the bytes are no body of a transfer").await?;
    ensure!(status(&server).await?.alarms.is_empty(), "that may be a fault of the line");
    liar.bend(straight());
    until_taken(&server, &liar).await
}

async fn above_the_vector() -> Result<()> {
    let bend = |name| replacing(dot(name, KEYS), dot(name, KEYS + 1));
    let (server, liar) = refused(bend, "is outside of what was asked for").await?;
    let text = alarm(&server, MeshAlarmKind::Quarantined, liar.name.replica).await?.context("an alarm")?.text;
    ensure!(text.contains(&format!("{}:{}/0 is outside", liar.name.replica, KEYS + 1)), "{text}");
    // It goes on lying, and another one has the same.
    let honest = come_in(&invite(&server).await?).await?.appear(&[], vec![liar.records()?], straight())?;
    until_taken(&server, &honest).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_bent_on_its_way_is_refused_by_name_and_taken_when_it_is_straight() -> Result<()> {
    tokio::try_join!(altered(), torn(), above_the_vector()).map(drop)
}

fn tombolo(server: &Server, words: &[&str]) -> Result<String> {
    let output = Command::new(requirement::tombolo()).args(["--endpoints", &server.endpoint()]).args(words).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Where an operator looks, and what clients get, while a member is quarantined.
async fn is_quarantined(server: &Server, liar: &Member, why: &str) -> Result<()> {
    let name = liar.name.replica;
    let alarm = until(why, async || alarm(server, MeshAlarmKind::Quarantined, name).await).await?;
    let parts = [why, "1 times lately, and is not spoken with for 5s; `tombolo mesh remove` ends it for good"];
    ensure!(parts.iter().all(|part| alarm.text.contains(part)), "{alarm:?}");
    let told = tombolo(server, &["mesh", "status"])?;
    let line = told.lines().find(|line| line.contains("QUARANTINED")).context("a line")?;
    ensure!(line.contains(&format!("{:016x}", name.get())) && line.contains(why), "{told}");
    ensure!(metric(server, "tombolo_mesh_alarms{kind=\"QUARANTINED\"}")? == 1);
    // It is the other one's doing: this site is as well as ever.
    for path in ["/readyz", "/livez", "/health"] {
        ensure!(Page::get(server.address(), path)?.status == 200, "{path}");
    }
    put(server, "meanwhile").await?;
    until("its connection is closed", async || Ok((!liar.is_connected()).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_what_another_did_not_sign_is_quarantined_before_it_is_asked_for_and_let_in_again() -> Result<()> {
    let mut server = launch().start().await?;
    let before = put(&server, "own").await?;
    // Somebody who is a member, whom nobody has heard of lately.
    let silent = come_in(&invite(&server).await?).await?;
    let name = come_in(&invite(&server).await?).await?;
    let forged = member::write(name.ticket.mesh, silent.replica, &pairs("forged"), &name.key);
    let liar = name.clone().appear(&pairs("state"), vec![forged], straight())?;
    is_quarantined(&server, &liar, &format!("{}:{KEYS}", silent.replica)).await?;
    ensure!(liar.pulled(1) > 0 && liar.pulled(ELEMENTS) == 0, "of a forged header nothing more is wanted");
    nothing_is_shown(&server, before + 1).await?;
    drop(liar);
    // Having mended its ways it is let in by and by. That it was shut out is told for as long as it counts.
    let mended = name.appear(&pairs("state"), Vec::new(), straight())?;
    until_taken(&server, &mended).await?;
    ensure!(shown(&server, "forged").await?.is_empty());
    ensure!(alarm(&server, MeshAlarmKind::Quarantined, mended.name.replica).await?.is_some());
    server.restart().await?;
    until("it is there at once", async || Ok(mended.is_connected().then_some(()))).await?;
    ensure!(status(&server).await?.alarms.is_empty());
    ensure!(shown(&server, "state").await? == pairs("state"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_records_of_somebody_that_nobody_let_in_is_quarantined_and_can_be_removed() -> Result<()> {
    let server = launch().start().await?;
    let before = put(&server, "own").await?;
    let name = come_in(&invite(&server).await?).await?;
    let (stranger, (_, hand)) = (ReplicaId::new(0xbad).context("a name")?, KeyPair::generate()?);
    let strange = member::write(name.ticket.mesh, stranger, &pairs("forged"), &hand);
    let liar = name.appear(&pairs("state"), vec![strange], straight())?;
    is_quarantined(&server, &liar, &stranger.to_string()).await?;
    ensure!(liar.pulled(ELEMENTS) > 0, "who an author is may be told by the state itself");
    nothing_is_shown(&server, before + 1).await?;
    let id = format!("{:016x}", liar.name.replica.get());
    tombolo(&server, &["mesh", "remove", &id])?;
    until("the alarm ends", async || Ok(status(&server).await?.alarms.is_empty().then_some(()))).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(!liar.is_connected() && shown(&server, "state").await?.is_empty(), "it is out for good");
    Ok(())
}
