//! Imports: an etcd with some history, what `tombolo import` says, and whether two servers tell the same of the past.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tombolo_proto::{
    etcdserverpb::{
        HashKvRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, SnapshotRequest, WatchCreateRequest,
        WatchResponse,
    },
    mvccpb::Event,
};

use crate::{
    connect::Connection,
    process::Server,
    request::{generate::Generator, world::World},
    requirement,
    watching::stream::WatchStream,
};

/// Where a store stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its revision.
    pub revision: i64,
    /// The revision of its last compaction, 0 before the first.
    pub compacted: i64,
}

/// What `tombolo import` came to.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub is_success: bool,
    /// Standard output.
    pub told: String,
    /// Standard error.
    pub complained: String,
}

/// Gives a server some history from a seed, compactions and leases included. Returns the requests' generator, to go on with.
///
/// # Errors
///
/// When the server does not answer.
pub async fn fill(server: &Server, seed: u64, steps: usize) -> Result<Generator> {
    let mut connection = server.connect().await?;
    let mut generator = Generator::new(seed);
    for _ in 0..steps {
        let request = generator.request();
        let answer = request.send(&mut connection).await?;
        generator.world.observe(&request, &answer);
    }
    // A compaction that was refused says nothing; the place of the last one that was not is what counts.
    Ok(generator)
}

/// Where a generator's server stands.
#[must_use]
pub const fn place(world: &World) -> Place {
    Place { revision: world.revision, compacted: world.compacted }
}

/// Saves a snapshot as `etcdctl snapshot save` does: all that the stream holds, the checksum at its end included.
///
/// # Errors
///
/// When the server does not give one.
pub async fn snapshot(server: &Server, folder: &TempDir) -> Result<PathBuf> {
    let mut stream = server.connect().await?.maintenance.snapshot(SnapshotRequest {}).await?.into_inner();
    let mut content = Vec::new();
    while let Some(part) = stream.message().await? {
        content.extend_from_slice(&part.blob);
    }
    let path = folder.path().join("snapshot.db");
    std::fs::write(&path, content)?;
    Ok(path)
}

/// `tombolo import` with these words, into a server.
///
/// # Errors
///
/// When the program cannot be run.
pub fn run(into: &Server, words: &[&str]) -> Result<Said> {
    let output = command(into, words).stdin(Stdio::null()).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { is_success: output.status.success(), told: text(output.stdout), complained: text(output.stderr) })
}

/// The same, expecting success.
///
/// # Errors
///
/// When it fails, with what it said.
pub fn expect(into: &Server, words: &[&str]) -> Result<String> {
    let said = run(into, words)?;
    ensure!(said.is_success, "tombolo import {words:?}: {said:?}");
    Ok(said.told)
}

/// The command itself, not started.
#[must_use]
pub fn command(into: &Server, words: &[&str]) -> Command {
    let mut command = Command::new(requirement::tombolo());
    command.args(["--endpoints", &into.endpoint(), "--command-timeout", "20s", "import"]).args(words);
    command
}

/// The word for a path on a command line.
///
/// # Errors
///
/// When it is no text.
pub fn word(path: &Path) -> Result<&str> {
    path.to_str().context("temporary folders have names of text")
}

/// Compares two servers that were compacted at the same revision, and what they answer about the past below it.
///
/// # Errors
///
/// At the first difference.
pub async fn compare(left: &Server, right: &Server, place: Place) -> Result<()> {
    if place.compacted > 1 {
        for server in [left, right] {
            let below = state(&mut server.connect().await?, place.compacted - 1).await?;
            ensure!(below.is_err(), "revision {} is compacted: {below:?}", place.compacted - 1);
        }
    }
    compare_from(left, right, place).await
}

/// Compares two servers from a revision on: state at every one, every event with what was there before it, leases with their keys.
///
/// # Errors
///
/// At the first difference.
pub async fn compare_from(left: &Server, right: &Server, place: Place) -> Result<()> {
    let (mut left, mut right) = (left.connect().await?, right.connect().await?);
    let Place { revision, compacted } = place;
    for at in compacted.max(1)..=revision {
        let (expected, got) = (state(&mut left, at).await?, state(&mut right, at).await?);
        ensure!(expected == got, "at revision {at}:\n{expected:?}\n{got:?}");
    }
    // A removal at the compaction itself is kept by some releases of etcd and not by others.
    let (expected, got) =
        (events(&left, compacted + 1, revision).await?, events(&right, compacted + 1, revision).await?);
    ensure!(expected.len() == got.len(), "{} events, and {}", expected.len(), got.len());
    for (expected, got) in expected.iter().zip(&got) {
        ensure!(expected == got, "an event:\n{expected:?}\n{got:?}");
    }
    let (expected, got) = (leases(&mut left).await?, leases(&mut right).await?);
    ensure!(expected == got, "leases:\n{expected:?}\n{got:?}");
    Ok(())
}

/// The hashes of both servers' histories up to a revision.
///
/// # Errors
///
/// When one is refused.
pub async fn hashes(left: &Server, right: &Server, revision: i64) -> Result<(u32, u32)> {
    let request = HashKvRequest { revision };
    let left = left.connect().await?.maintenance.hash_kv(request).await?.into_inner();
    let right = right.connect().await?.maintenance.hash_kv(request).await?.into_inner();
    Ok((left.hash, right.hash))
}

/// Everything at a revision, or the refusal.
async fn state(
    server: &mut Connection,
    revision: i64,
) -> Result<Result<(Vec<tombolo_proto::mvccpb::KeyValue>, i64, Option<i64>), String>> {
    let request = RangeRequest { key: ZERO, range_end: ZERO, revision, ..Default::default() };
    Ok(match server.kv.range(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            Ok((answer.kvs, answer.count, answer.header.map(|header| header.revision)))
        }
        Err(status) => Err(status.message().to_owned()),
    })
}

/// The events from one revision to another, each with the pair before it.
async fn events(server: &Connection, from: i64, to: i64) -> Result<Vec<Event>> {
    if from > to {
        return Ok(Vec::new());
    }
    let mut stream = WatchStream::open(server);
    let create =
        WatchCreateRequest { key: ZERO, range_end: ZERO, start_revision: from, prev_kv: true, ..Default::default() };
    stream.create(create).await?;
    let revision = |event: &Event| event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
    let all = |responses: &[WatchResponse]| responses.iter().flat_map(|r| &r.events).any(|e| revision(e) >= to);
    stream.wait(all).await?;
    Ok(stream.responses().into_iter().flat_map(|response| response.events).filter(|e| revision(e) <= to).collect())
}

/// The leases by number: the time granted, and the keys.
async fn leases(server: &mut Connection) -> Result<Vec<(i64, i64, Vec<Bytes>)>> {
    let listed = server.lease.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases;
    let mut leases = Vec::new();
    for id in listed.into_iter().map(|lease| lease.id) {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let mut answer = server.lease.lease_time_to_live(request).await?.into_inner();
        answer.keys.sort_unstable();
        leases.push((id, answer.granted_ttl, answer.keys));
    }
    leases.sort_unstable();
    Ok(leases)
}

const ZERO: Bytes = Bytes::from_static(b"\0");
