//! Catching up: a site that was away while others wrote comes back and is brought what it lacks.
//!
//! How quickly is compared with how quickly a store takes the same records in by itself, without a network, a server or anybody else on the machine, which
//! is the most that it could be; and what its own clients notice of it, with what they notice otherwise. Both sites and the clients share the
//! processors here, which they would not do elsewhere.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::runtime;
use tombolo_rig::{
    mesh::{Mesh, Shape},
    process::{Launch, Server},
};

use super::{Effort, load::Load, report::Report, series::Row};

use away::Away;
use client::Client;
use ingest::Alone;

mod away;
mod client;
mod ingest;

/// What catching up came to in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    /// Records that the site lacked.
    pub(crate) records: u64,
    /// Puts a second that the other site took meanwhile, over gRPC.
    pub(crate) written_per_s: f64,
    /// Records a second that a store alone takes in.
    pub(crate) ingested_per_s: f64,
    /// Records a second from the first that came to the last.
    pub(crate) caught_up_per_s: f64,
    /// Milliseconds from the connection to the first record.
    pub(crate) first_ms: f64,
    /// Bytes of a record in `zstd -3` of all of them in one piece.
    pub(crate) packed_bytes: f64,
    /// Bytes sent for each record.
    pub(crate) sent_bytes: f64,
    /// The same when the site was killed halfway and came back.
    pub(crate) sent_bytes_cut: f64,
    /// Milliseconds in which nearly all puts of a client of that site were answered meanwhile.
    pub(crate) put_p99_ms: f64,
    /// The same while nothing came in.
    pub(crate) idle_put_p99_ms: f64,
}

/// The least share of a lone store's rate at which a site is to catch up.
pub(crate) const GOAL: f64 = 0.5;

/// Measures it round by round.
pub(crate) fn measure(tombolod: &Path, folder: &Path, effort: Effort, report: &Report<'_>) -> Result<()> {
    let home = tempfile::tempdir_in(folder)?;
    let launch = Server::tombolo_at(tombolod).at_home_in(home.path());
    let mut row = Row::new("one site away");
    for number in 0..effort.rounds as u64 {
        let load = Load { seed: (number + 1) << 32, ..Load::put_each(effort.restart_keys) };
        let alone = ingest::measure(home.path(), load)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        row.rounds.push(runtime.block_on(round(&launch, load, alone))?);
    }
    report.catch_up(&row)
}

async fn round(launch: &Launch, load: Load, alone: Alone) -> Result<Round> {
    let mut mesh = Mesh::prepare(launch, &["author", "away"], Shape::full(2), 1)?;
    mesh.without_relay();
    mesh.start().await?;
    let idle_put_p99_ms = Client::at(&mesh, 1).await?.p99_ms().await?;
    let mut away = Away::begin(mesh, load).await?;
    let written_per_s = away.written_per_s;
    let whole = away.back().await?;
    away.leave_again().await?;
    let cut = away.back_with_a_kill().await?;
    Ok(Round {
        records: load.operations,
        written_per_s,
        ingested_per_s: alone.records_per_s,
        caught_up_per_s: whole.records_per_s,
        first_ms: whole.first_ms,
        packed_bytes: alone.packed_bytes,
        sent_bytes: whole.sent_bytes,
        sent_bytes_cut: cut.sent_bytes,
        put_p99_ms: whole.put_p99_ms.context("no client has written meanwhile")?,
        idle_put_p99_ms,
    })
}
