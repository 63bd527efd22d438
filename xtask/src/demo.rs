//! `demo`: one replica tells its story, and is held to it.
//!
//! A real `tombolod` on a free port and a temporary folder; a handful of clients; a kill -9 in the middle of their
//! writes. Each line is something that was done and checked. The exit code is 0 only if all of it held, and 7 if
//! something did not, with the place of the logs. It needs no network, no root, and leaves nothing behind.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tokio::runtime;

use crate::{
    process::{Program, Server},
    project::{build_release, tombolod},
};

use narrator::Narrator;

mod burst;
mod client;
mod continuity;
mod follower;
mod narrator;
mod story;

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
    /// Leave the server running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let programs = build_release()?;
    let program = Program::find("tombolod", tombolod(&programs)?)?;
    let home = tempfile::Builder::new().prefix("tombolo-demo-").tempdir().context("make a temporary folder")?;
    let mut server = Server::prepare(&program, home.path())?;
    let mut narrator = Narrator::new(options);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(story::tell(&mut server, &mut narrator));
    narrator.finish(&server, told.as_ref().err());
    if told.is_err() {
        // The logs are wanted now: the folder stays.
        let _ = home.keep();
        return Ok(ExitCode::from(BROKEN));
    }
    if options.keep {
        runtime.block_on(tokio::signal::ctrl_c()).context("wait for Ctrl-C")?;
    }
    server.stop().context("stop the server")?;
    Ok(ExitCode::SUCCESS)
}
