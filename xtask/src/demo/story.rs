//! The story: what is done, in which order, and what must hold each time.
//!
//! A step that does not hold ends it with an error that says what was seen instead.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tombolo_proto::mvccpb::KeyValue;

use super::{
    burst::{WRITERS, until_killed},
    client::{Client, revision},
    continuity::{self, Acknowledged},
    follower::{Follower, Seen},
    narrator::Narrator,
};
use crate::process::Server;

/// Longer than any step takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest lease that etcd grants too.
const LEASE_S: i64 = 2;

/// Tells it from the first start to the resumed watch.
pub(crate) async fn tell(server: &mut Server, narrator: &mut Narrator) -> Result<()> {
    narrator.title(server);
    let mut client = start(server, narrator).await?;
    write(&mut client, narrator).await?;
    let mut follower = watch(&mut client, narrator).await?;
    lease(&mut client, &mut follower, narrator).await?;
    compare_and_swap(&mut client, narrator).await?;
    let acknowledged = kill(server, narrator).await?;
    let before = follower.into_seen().await;
    let mut client = restart(server, &acknowledged, narrator).await?;
    resume(&mut client, &before, &acknowledged, narrator).await
}

async fn start(server: &mut Server, narrator: &mut Narrator) -> Result<Client> {
    narrator.begin("start");
    let started = Instant::now();
    server.start()?;
    server.wait_until_listening(PATIENCE)?;
    let mut client = Client::connect(&server.url()).await?;
    let first = client.put("/harbour/light", "on").await?;
    let took = millis(started);
    ensure!(first == 2, "the first write of an empty store took revision {first}, not 2");
    narrator.tell(&format!("an empty folder; the first put was answered {took} after the start"), "");
    Ok(client)
}

async fn write(client: &mut Client, narrator: &mut Narrator) -> Result<()> {
    narrator.begin("put");
    let started = Instant::now();
    let ferry = client.put("/harbour/ferry", "06:12").await?;
    let took = millis(started);
    let pilot = client.put("/harbour/pilot", "ashore").await?;
    ensure!(pilot == ferry + 1, "two writes took revisions {ferry} and {pilot}");
    narrator.tell(&format!("/harbour/ferry = 06:12   revision {ferry}, {took}"), "on disk before it is answered");

    narrator.begin("get");
    let pair = client.get("/harbour/ferry").await?.context("/harbour/ferry is not there")?;
    ensure!(pair.value == "06:12" && pair.mod_revision == ferry, "/harbour/ferry reads {}", shown(&pair));
    narrator.tell(
        &format!("/harbour/ferry → 06:12   written at revision {}, version {}", pair.mod_revision, pair.version),
        "",
    );

    narrator.begin("prefix");
    let answer = client.prefix("/harbour/").await?;
    let keys: Vec<_> = answer.kvs.iter().map(|pair| String::from_utf8_lossy(&pair.key).into_owned()).collect();
    ensure!(keys == ["/harbour/ferry", "/harbour/light", "/harbour/pilot"], "/harbour/ holds {keys:?}");
    narrator.tell(&format!("/harbour/ → {} keys at revision {}, in order", keys.len(), revision(answer.header)), "");
    Ok(())
}

async fn watch(client: &mut Client, narrator: &mut Narrator) -> Result<Follower> {
    narrator.begin("watch");
    let mut follower = Follower::start(client.channel.clone(), 2).await?;
    follower.reach(4, PATIENCE).await?;
    let replayed = follower.seen().len();
    ensure!(replayed == 3, "of three writes the watcher was told {replayed}");
    client.put("/harbour/pilot", "aboard").await?;
    let removal = client.delete("/harbour/light").await?;
    follower.reach(removal, PATIENCE).await?;
    let live: Vec<_> = follower.seen()[replayed..].iter().map(event).collect();
    ensure!(live == ["put /harbour/pilot = aboard", "delete /harbour/light"], "the watcher was told {live:?}");
    let line = format!("from revision 2: {replayed} events of history, then live: {}", live.join(", "));
    narrator.tell(&line, "");
    Ok(follower)
}

async fn lease(client: &mut Client, follower: &mut Follower, narrator: &mut Narrator) -> Result<()> {
    narrator.begin("lease");
    let lease = client.grant(LEASE_S).await?;
    let granted = Instant::now();
    client.put_with_lease("/harbour/berth", "taken", lease).await?;
    let put = follower.next_of("/harbour/berth", PATIENCE).await?;
    ensure!(put.value.is_some(), "the leased key was removed before it was written");
    let gone = follower.next_of("/harbour/berth", PATIENCE).await?;
    let lived = granted.elapsed();
    ensure!(gone.value.is_none(), "the leased key was written again");
    ensure!(lived >= Duration::from_secs(2), "the lease of {LEASE_S} s ended after {lived:?}");
    ensure!(client.get("/harbour/berth").await?.is_none(), "the lease has ended and its key is still there");
    let lived = lived.as_secs_f64();
    narrator.tell(&format!("{LEASE_S} s for /harbour/berth; nobody kept it alive: gone after {lived:.1} s"), "");
    Ok(())
}

async fn compare_and_swap(client: &mut Client, narrator: &mut Narrator) -> Result<()> {
    narrator.begin("txn");
    let read = client.get("/harbour/pilot").await?.context("/harbour/pilot is not there")?.mod_revision;
    let first = client.swap("/harbour/pilot", read, "to the ferry").await?;
    let second = client.swap("/harbour/pilot", read, "to the barge").await?;
    ensure!(first && !second, "of two swaps from one revision the first answered {first}, the second {second}");
    let pair = client.get("/harbour/pilot").await?.context("/harbour/pilot is not there")?;
    ensure!(pair.value == "to the ferry", "/harbour/pilot reads {}", shown(&pair));
    let line = "two clients swap /harbour/pilot from one revision: the first may, the second is told no";
    narrator.tell(line, "within this replica, that is");
    Ok(())
}

async fn kill(server: &mut Server, narrator: &mut Narrator) -> Result<Vec<Acknowledged>> {
    narrator.begin("kill -9");
    let acknowledged = until_killed(server, Duration::from_millis(1500)).await?;
    narrator.tally(acknowledged.len(), acknowledged.len());
    ensure!(acknowledged.len() >= WRITERS, "only {} puts were acknowledged", acknowledged.len());
    narrator.tell(&format!("under {WRITERS} writers, after {} acknowledged puts", acknowledged.len()), "");
    Ok(acknowledged)
}

async fn restart(server: &mut Server, acknowledged: &[Acknowledged], narrator: &mut Narrator) -> Result<Client> {
    narrator.begin("restart");
    let started = Instant::now();
    server.start()?;
    server.wait_until_listening(PATIENCE)?;
    let mut client = Client::connect(&server.url()).await?;
    let newest = revision(client.prefix("/harbour/").await?.header);
    let took = millis(started);
    let boats = client.prefix("/boats/").await?.kvs;
    let boats: HashMap<&[u8], &KeyValue> = boats.iter().map(|pair| (pair.key.as_ref(), pair)).collect();
    let is_there = |write: &&Acknowledged| boats.get(write.key.as_bytes()).is_some_and(|pair| holds(pair, write));
    let lost: Vec<_> = acknowledged.iter().filter(|write| !is_there(write)).collect();
    narrator.tally(acknowledged.len(), lost.len());
    ensure!(lost.is_empty(), "{} acknowledged puts are gone, the first is {:?}", lost.len(), lost[0]);
    let highest = acknowledged.iter().map(|write| write.revision).max().unwrap_or(0);
    ensure!(newest >= highest, "the revision went back from {highest} to {newest}");
    let line = format!("first read after {took}; all {} are there; revision {newest}, never back", acknowledged.len());
    narrator.tell(&line, "");
    Ok(client)
}

async fn resume(
    client: &mut Client,
    before: &[Seen],
    acknowledged: &[Acknowledged],
    narrator: &mut Narrator,
) -> Result<()> {
    narrator.begin("resume");
    let last = before.last().map_or(0, |event| event.revision);
    let end = client.put("/harbour/light", "on again").await?;
    let mut follower = Follower::start(client.channel.clone(), last + 1).await?;
    follower.reach(end, PATIENCE).await?;
    continuity::check(before, follower.seen(), acknowledged)?;
    let line = format!(
        "the watcher had seen up to revision {last}, and goes on to {end}: {} events, no gap, none twice",
        before.len() + follower.seen().len()
    );
    narrator.tell(&line, "");
    Ok(())
}

fn holds(pair: &KeyValue, write: &Acknowledged) -> bool {
    pair.value == write.value && pair.mod_revision == write.revision
}

fn event(seen: &Seen) -> String {
    match &seen.value {
        Some(value) => format!("put {} = {value}", seen.key),
        None => format!("delete {}", seen.key),
    }
}

fn shown(pair: &KeyValue) -> String {
    format!("{} of revision {}", String::from_utf8_lossy(&pair.value), pair.mod_revision)
}

fn millis(since: Instant) -> String {
    format!("{:.1} ms", since.elapsed().as_secs_f64() * 1000.0)
}
