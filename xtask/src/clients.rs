//! `clients`: the test suites of clients that nobody here wrote, on one replica and on one real etcd, side by side.
//!
//! The scripts in `crates/rig/clients` fetch and run them, and note the outcome of each test; this builds the server, starts
//! the scripts and compares. It needs the registries, so it is no part of `ci`. Both servers are given the same suite: what
//! fails on etcd may fail on Tombolo, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    paint::Paint,
    project::{build, root, tombolod},
};

/// The scripts, without their ending.
const SUITES: [&str; 5] = ["aetcd", "etcd3gw", "etcetra", "python-etcd3", "rust-etcd-client"];

/// What to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Run this suite alone; may be given again.
    #[arg(long, value_name = "NAME", value_parser = SUITES)]
    suite: Vec<String>,
    /// Use the server of a release build.
    #[arg(long)]
    release: bool,
}

/// The outcome of each test, by its name: passed, failed or skipped.
type Outcomes = BTreeMap<String, String>;

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let release = options.release.then_some("--release");
    let arguments: Vec<&str> = release.into_iter().chain(["--package", "tombolo-server"]).collect();
    let programs = build(&arguments)?;
    let server = tombolod(&programs)?;
    let mut table = Vec::new();
    let mut are_equal = true;
    for suite in SUITES {
        if !options.suite.is_empty() && !options.suite.iter().any(|name| name == suite) {
            continue;
        }
        let [etcd, tombolo] = [outcomes(suite, "etcd", server)?, outcomes(suite, "tombolo", server)?];
        table.push(format!("{suite:<20}{:<34}{}", numbers(&etcd), numbers(&tombolo)));
        for line in differences(&etcd, &tombolo) {
            are_equal = false;
            table.push(format!("  {line}"));
        }
    }
    let paint = Paint::for_stdout();
    println!("{}", paint.bold(format_args!("{:<20}{:<34}tombolo", "suite", "etcd")));
    println!("{}", table.join("\n"));
    Ok(if are_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a suite on one kind of server. A script that fails itself ran nothing, which is no result.
fn outcomes(suite: &str, kind: &str, server: &Path) -> Result<Outcomes> {
    let noted = tempfile::NamedTempFile::new().context("make a file for the outcomes")?;
    let script = root().join("crates/rig/clients").join(suite).with_extension("sh");
    let mut command = Command::new(&script);
    command.arg(kind).env("TOMBOLO_CLIENTS_OUTCOMES", noted.path());
    if env::var_os("TOMBOLO_TOMBOLOD").is_none() {
        command.env("TOMBOLO_TOMBOLOD", server);
    }
    let status = command.status().with_context(|| format!("start {}", script.display()))?;
    if !status.success() {
        bail!("the suite {suite} did not run on {kind}");
    }
    Ok(read(&fs::read_to_string(noted.path()).context("read the outcomes")?))
}

/// Reads lines of an outcome and a name.
fn read(lines: &str) -> Outcomes {
    let pairs = lines.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(outcome, name)| (name.to_owned(), outcome.to_owned())).collect()
}

fn numbers(outcomes: &Outcomes) -> String {
    let count = |kind: &str| outcomes.values().filter(|outcome| *outcome == kind).count();
    format!("{} passed, {} failed, {} skipped", count("passed"), count("failed"), count("skipped"))
}

/// One line for each test whose outcome is not the same, or that only one of the two has.
fn differences(etcd: &Outcomes, tombolo: &Outcomes) -> Vec<String> {
    let names: BTreeSet<&String> = etcd.keys().chain(tombolo.keys()).collect();
    let of = |outcomes: &Outcomes, name: &String| outcomes.get(name).map_or_else(|| "absent".to_owned(), String::clone);
    let differ = |name: &&String| etcd.get(*name) != tombolo.get(*name);
    let line = |name: &String| format!("{name}: {} on etcd, {} on tombolo", of(etcd, name), of(tombolo, name));
    names.into_iter().filter(differ).map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{SUITES, differences, numbers, read};
    use crate::project::root;

    #[test]
    fn every_script_is_a_suite_and_every_suite_a_script() {
        let mut scripts = Vec::new();
        for entry in fs::read_dir(root().join("crates/rig/clients")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            scripts.extend(name.strip_suffix(".sh").filter(|stem| *stem != "lib").map(str::to_owned));
        }
        scripts.sort();
        assert_eq!(scripts, SUITES);
    }

    #[test]
    fn numbers_that_are_the_same_do_not_hide_tests_that_are_not() {
        let [etcd, tombolo] = [read("passed a\nfailed b\nskipped c c\n"), read("failed a\npassed b\nskipped c c\n")];
        assert_eq!(numbers(&etcd), "1 passed, 1 failed, 1 skipped");
        assert_eq!(numbers(&etcd), numbers(&tombolo));
        assert_eq!(differences(&etcd, &etcd), Vec::<String>::new());
        assert_eq!(
            differences(&etcd, &tombolo),
            ["a: passed on etcd, failed on tombolo", "b: failed on etcd, passed on tombolo"]
        );
    }

    #[test]
    fn a_test_that_one_server_never_ran_is_a_difference() {
        let lines = differences(&read("passed a\n"), &read(""));
        assert_eq!(lines, ["a: passed on etcd, absent on tombolo"]);
    }
}
