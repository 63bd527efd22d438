//! `test`: builds what the tests need and runs every one of them.
//!
//! nextest runs them when it is installed, cargo's own runner otherwise. Tests that need a real etcd or its client are
//! skipped where there is none; what was skipped is listed at the end with the way to have it, so that a green run says
//! how much it proved. `TOMBOLO_REQUIRE=etcd,etcdctl` makes such a skip a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    project::{build, cargo, target_folder, tombolod},
    steps::{Steps, minutes, succeeds},
};

/// How much to test.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// How often the kill rig kills the server; the rig knows its usual number.
    #[arg(long, value_name = "ROUNDS")]
    kill_rounds: Option<u32>,
    /// Fewer kills, fewer random cases: minutes instead of a quarter of an hour.
    #[arg(long)]
    quick: bool,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    add_steps(&mut steps, options)?;
    Ok(steps.finish("test"))
}

/// Adds the steps of this task to another one's.
pub(crate) fn add_steps(steps: &mut Steps, options: &Options) -> Result<()> {
    let skips = Skips::new(&target_folder()?)?;
    let mut server = PathBuf::new();
    // Programs and tests together: asked for apart, cargo would choose other features and compile much of it twice.
    let built = steps.run("build", minutes(12), || {
        tombolod(&build(&["--workspace", "--bins", "--tests"])?)?.clone_into(&mut server);
        Ok(true)
    });
    if !built {
        return Ok(());
    }
    let environment = options.environment(&server, &skips.path);
    let nextest = has_nextest();
    steps.run("tests", minutes(18), || {
        let mut command = cargo();
        if nextest {
            command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
        } else {
            command.args(["test", "--workspace", "--tests", "--no-fail-fast"]);
        }
        succeeds(command.envs(environment))
    });
    steps.run("doc tests", None, || succeeds(cargo().args(["test", "--workspace", "--doc", "--quiet"])));
    skips.print();
    Ok(())
}

impl Options {
    /// What the rigs read from their environment. A variable that the caller has set is left alone.
    fn environment(&self, server: &Path, skips: &Path) -> Vec<(&'static str, String)> {
        let mut wanted =
            vec![("TOMBOLO_TOMBOLOD", server.display().to_string()), ("TOMBOLO_SKIPS", skips.display().to_string())];
        if self.quick {
            wanted.extend([
                ("PROPTEST_CASES", "32".to_owned()),
                ("TOMBOLO_KILL_ROUNDS", "5".to_owned()),
                ("TOMBOLO_STEPS", "300".to_owned()),
            ]);
        }
        wanted.retain(|(name, _)| std::env::var_os(name).is_none());
        if let Some(rounds) = self.kill_rounds {
            wanted.retain(|(name, _)| *name != "TOMBOLO_KILL_ROUNDS");
            wanted.push(("TOMBOLO_KILL_ROUNDS", rounds.to_string()));
        }
        wanted
    }
}

/// The file to which rigs add a line when they skip.
struct Skips {
    path: PathBuf,
}

impl Skips {
    fn new(target: &Path) -> Result<Self> {
        let path = target.join("skipped.txt");
        fs::create_dir_all(target).and_then(|()| fs::write(&path, "")).context("begin the list of skipped tests")?;
        Ok(Self { path })
    }

    fn print(&self) {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        for line in summary(&text) {
            println!("{line}");
        }
    }
}

/// Each reason once, with how often it was given, and one line on how to skip nothing.
fn summary(text: &str) -> Vec<String> {
    let mut reasons: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    reasons.sort_unstable();
    let mut lines: Vec<String> = reasons
        .chunk_by(|left, right| left == right)
        .filter_map(|same| same.first().map(|reason| format!("   skipped {:>2} × {reason}", same.len())))
        .collect();
    if !lines.is_empty() {
        lines.push(
            "   to skip nothing: install etcd and etcdctl (Debian: etcd-server, etcd-client), or name them in"
                .to_owned(),
        );
        lines.push("   TOMBOLO_ETCD and TOMBOLO_ETCDCTL\n".to_owned());
    }
    lines
}

fn has_nextest() -> bool {
    let mut probe = Command::new("cargo-nextest");
    probe.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Options, summary};

    #[test]
    fn what_was_skipped_is_counted_by_reason_and_followed_by_the_way_to_have_it() {
        let lines = summary("no etcd found\nno etcdctl found\nno etcd found\n");
        assert_eq!(lines[0], "   skipped  2 × no etcd found");
        assert_eq!(lines[1], "   skipped  1 × no etcdctl found");
        assert!(lines[2].contains("etcd-client"));
    }

    #[test]
    fn nothing_skipped_prints_nothing() {
        assert!(summary("\n").is_empty());
    }

    #[test]
    fn rounds_that_were_asked_for_win_over_those_of_a_quick_run() {
        let options = Options { kill_rounds: Some(60), quick: true };
        let environment = options.environment(Path::new("tombolod"), Path::new("skips"));
        let rounds: Vec<_> = environment.iter().filter(|(name, _)| *name == "TOMBOLO_KILL_ROUNDS").collect();
        assert_eq!(rounds, [&("TOMBOLO_KILL_ROUNDS", "60".to_owned())]);
    }
}
