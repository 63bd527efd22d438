//! `sim`: builds the simulator as it is shipped, runs seeds in it, and keeps the time, which the simulator cannot know.
//!
//! What was violated, and the command that shows it again, the simulator prints itself. The exit code is 0 when nothing was.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{paint::Paint, project::build};

/// What to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// Run this one alone, and print everything that happens and the history of its clients.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Keep the rows of so many seeds in a hundred in folders, by the product's engine.
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=100))]
    fjall_share: u64,
    /// Plant a bug, which is to be found; `list` names them.
    #[arg(long, value_name = "NAME")]
    plant: Option<String>,
    /// Go on after a violation, and name every seed that has one.
    #[arg(long, conflicts_with = "seed")]
    all: bool,
    /// Run each seed twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Write the history of the seed's clients to a file, in the text that other checkers of weak isolation read.
    #[arg(long, value_name = "FILE", requires = "seed")]
    history: Option<PathBuf>,
    /// Stop after so many seconds, whatever is left; a violation found by then counts.
    #[arg(long, value_name = "SECONDS", conflicts_with = "seed")]
    budget: Option<u64>,
    /// Seeds run side by side; what each does is the same.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: u32,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    // Bugs inside the product can be planted in a build of their own, and in no other.
    let features: &[&str] = if options.plant.is_some() { &["--features", "museum"] } else { &[] };
    let programs = build(&[&["--release", "--package", "tombolo-sim"], features].concat())?;
    let program = programs.get("tombolo-sim").context("the build made no `tombolo-sim`")?;
    let began = Instant::now();
    let input = if options.budget.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    let mut child = command.args(options.words()).stdin(input).stderr(Stdio::piped()).spawn().context("start it")?;
    if let (Some(budget), Some(leash)) = (options.budget, child.stdin.take()) {
        // It stops when its input ends; the thread ends with this process at the latest.
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(budget));
            drop(leash);
        });
    }
    let progress = child.stderr.take().context("the simulator has no standard error")?;
    let reader = thread::spawn(move || {
        let mut has_progressed = false;
        for line in BufReader::new(progress).lines().map_while(std::result::Result::ok) {
            match progressed(&line) {
                Some(seeds) => {
                    has_progressed = true;
                    eprint!("\r{}", rate(seeds, began));
                }
                None => eprintln!("{line}"),
            }
        }
        if has_progressed {
            eprintln!();
        }
    });
    let status = child.wait().context("wait for the simulator")?;
    drop(reader.join());
    let took = began.elapsed().as_secs_f64();
    println!("{}", Paint::for_stdout().bold(format_args!("sim: {took:.1} s")));
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    /// The simulator's own arguments.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["--fjall-share".to_owned(), self.fjall_share.to_string()];
        match self.seed {
            Some(seed) => words.extend(["--seed".to_owned(), seed.to_string()]),
            None => {
                let pairs = [("--from", self.from), ("--seeds", self.seeds), ("--threads", self.threads.into())];
                words.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]));
            }
        }
        words.extend(self.plant.iter().flat_map(|plant| ["--plant".to_owned(), plant.clone()]));
        let history = self.history.iter().map(|path| path.display().to_string());
        words.extend(history.flat_map(|path| ["--history".to_owned(), path]));
        words.extend(self.budget.map(|_| "--until-input-ends".to_owned()));
        let flags = [(self.all, "--all"), (self.twice, "--twice")];
        words.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag.to_owned()));
        words
    }
}

/// How many seeds are done, when the line says so.
fn progressed(line: &str) -> Option<u64> {
    line.strip_prefix("progress ")?.strip_suffix(" seeds")?.parse().ok()
}

fn rate(seeds: u64, began: Instant) -> String {
    let took = began.elapsed().as_secs_f64().max(0.001);
    format!("{seeds} seeds in {took:.1} s, {:.0} a second ", seeds as f64 / took)
}

#[cfg(test)]
mod tests {
    use super::{Options, progressed};

    fn options() -> Options {
        Options {
            seeds: 7,
            from: 3,
            seed: None,
            fjall_share: 2,
            plant: None,
            all: false,
            twice: false,
            history: None,
            budget: None,
            threads: 2,
        }
    }

    #[test]
    fn a_seed_is_run_alone_and_seeds_side_by_side() {
        let words = |options: Options| options.words().join(" ");
        assert_eq!(words(options()), "--fjall-share 2 --from 3 --seeds 7 --threads 2");
        let one = Options { seed: Some(5), plant: Some("torn-watch".to_owned()), twice: true, ..options() };
        assert_eq!(words(one), "--fjall-share 2 --seed 5 --plant torn-watch --twice");
        let kept = Options { seed: Some(5), history: Some("h.txt".into()), ..options() };
        assert_eq!(words(kept), "--fjall-share 2 --seed 5 --history h.txt");
        let whole = Options { all: true, ..options() };
        assert_eq!(words(whole), "--fjall-share 2 --from 3 --seeds 7 --threads 2 --all");
        let timed = Options { budget: Some(60), ..options() };
        assert_eq!(words(timed), "--fjall-share 2 --from 3 --seeds 7 --threads 2 --until-input-ends");
    }

    #[test]
    fn progress_is_told_from_everything_else() {
        assert_eq!(progressed("progress 40 seeds"), Some(40));
        assert_eq!(progressed("warning: progress 40 seeds"), None);
    }
}
