//! `demo`: three sites tell what happens when the link to one of them is cut, and are held to it.
//!
//! Real `tombolod` processes on free ports and in temporary folders, joined by ticket, with a relay between them that can
//! cut a link. Each line is something that was done and checked. The exit code is 0 only if all of it held, and 7 if
//! something did not, with the place of the logs. It needs no network and no root, and leaves nothing behind.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use tokio::runtime;
use tombolo_rig::{
    mesh::{Mesh, Shape},
    process::Server,
};

use crate::project::{Programs, build_release, tombolod};

use cast::Cast;
use narrator::Narrator;
use story::Story;

mod acknowledged;
mod burst;
mod cast;
mod client;
mod follower;
mod judge;
mod keep;
mod narrator;
mod story;
mod wording;

/// The exit code of a story that did not hold.
const BROKEN: u8 = 7;

/// How to tell it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Print one JSON object instead of the story.
    #[arg(long)]
    json: bool,
    /// Wait for Enter before each step.
    #[arg(long)]
    step: bool,
    /// Leave the sites running at the end, until Ctrl-C; Enter then cuts the link and brings it back.
    #[arg(long)]
    keep: bool,
    /// Sites.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u8).range(2..=7))]
    sites: u8,
    /// How long the link stays cut: 8s, 500ms.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    partition: Duration,
    /// The seed of the links.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let programs = build_release()?;
    let launch = Server::tombolo_at(tombolod(&programs)?).with("--log-level", "info");
    let cast = Cast::of(options.sites.into());
    let mut mesh = Mesh::prepare(&launch, cast.names(), Shape::full(cast.names().len()), options.seed)?;
    let mut narrator = Narrator::new(options, &mesh, cast, tool(&programs));
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(Story::new(&mut mesh, cast, &mut narrator, options.partition).tell());
    narrator.finish(told.as_ref().err());
    if told.is_err() {
        // The logs are wanted now.
        mesh.keep_homes();
        return Ok(ExitCode::from(BROKEN));
    }
    if options.keep {
        runtime.block_on(keep::until_interrupted(&mesh, cast))?;
    }
    mesh.stop().context("stop the sites")?;
    Ok(ExitCode::SUCCESS)
}

/// The command line as one types it here.
fn tool(programs: &Programs) -> String {
    let Some(path) = programs.get("tombolo") else { return "tombolo".to_owned() };
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// Reads `8s`, `500ms`, `1m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let number: f64 = digits.parse().with_context(|| format!("`{text}` is not a time such as 8s"))?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        unit => bail!("`{unit}` is no unit: ms, s or m"),
    };
    let longest = Duration::from_secs(3600);
    let duration = Duration::try_from_secs_f64(number * unit).context("a time is not negative")?;
    if duration > longest { bail!("longer than an hour") } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn times_are_read_with_and_without_a_unit_and_never_negative() {
        assert_eq!(duration("8s").unwrap(), Duration::from_secs(8));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2").unwrap(), Duration::from_secs(2));
        for wrong in ["", "-1s", "8h", "s", "infs", "nan", "2h", "99m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
