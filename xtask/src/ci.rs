//! `ci`: everything a change must pass, in the order in which it is cheap to find out.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    project::cargo,
    steps::{Steps, minutes, succeeds},
    test, tidy,
};

/// Runs every step, also after one has failed.
pub(crate) fn run(options: &test::Options) -> Result<ExitCode> {
    let mut steps = Steps::default();
    steps.run("tidy", None, tidy::passes);
    steps.run("format", None, || succeeds(cargo().args(["fmt", "--all", "--check"])));
    steps.run("clippy", minutes(8), || {
        succeeds(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    });
    test::add_steps(&mut steps, options)?;
    steps.run("documentation", minutes(4), || {
        succeeds(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings"))
    });
    Ok(steps.finish("ci"))
}
