//! `storm`: kills random sites with -9 under load, round after round, while links come and go, and holds every site to what it has acknowledged.
//!
//! The rounds are a test of the rig, of which continuous integration runs a few; here they are as many as one wants, with a skip being a failure.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::project::{build, cargo};

/// What to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Rounds: in each, links change and sites are killed several times; then all must be equal and nothing lost.
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Where the sites are.
    #[arg(long, value_enum, default_value_t = Place::Loopback)]
    on: Place,
    /// What the weather is drawn from: a number replays it, `random` takes a new one.
    #[arg(long, default_value = "1")]
    seed: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Place {
    /// On this machine, with a relay that cuts, delays, loses, doubles and reorders packets.
    Loopback,
    /// On hosts of their own, which are network namespaces: a packet filter cuts and loses, a token bucket paces, a relay delays. It needs root.
    Hosts,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build(&["--package", "tombolo-server"])?;
    let (test, name) = match options.on {
        Place::Loopback => ("mesh_kill", "three_sites_in_a_storm_under_kill_lose_nothing_and_converge"),
        Place::Hosts => ("mesh_hosts", "three_hosts_behind_a_packet_filter_lose_nothing_and_converge"),
    };
    let status = cargo()
        .args(["test", "--package", "tombolo-rig", "--test", test, "--", "--exact", name, "--nocapture"])
        .env("TOMBOLO_KILL_ROUNDS", options.rounds.to_string())
        .env("TOMBOLO_SEED", &options.seed)
        .env("TOMBOLO_REQUIRE", "netns")
        .status()
        .context("start cargo test")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
