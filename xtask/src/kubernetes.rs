//! `kubernetes`: runs a real control plane on the store, from programs that it builds where they are not there yet.
//!
//! The steps are tests of the rig, which skip themselves without the programs; here a skip is a failure. Building takes Debian's package archive and a
//! quarter of an hour, so it is no part of continuous integration.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::project::{build, cargo, root, target_folder};

/// What to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The folder with kube-apiserver, kube-controller-manager and kubectl; they are built into it when it lacks one.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// What the control plane stands on: an etcd shows what the steps themselves are worth.
    #[arg(long, value_enum, default_value_t = Store::Tombolo)]
    store: Store,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Tombolo,
    Etcd,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let programs =
        options.programs.clone().map_or_else(|| Ok(target_folder()?.join("kubernetes")), Ok::<_, anyhow::Error>)?;
    if !["kube-apiserver", "kube-controller-manager", "kubectl"].iter().all(|name| programs.join(name).is_file()) {
        let script = root().join("crates/rig/kubernetes/build.sh");
        let built = Command::new(script).arg(&programs).status().context("start the build of Kubernetes")?;
        ensure!(built.success(), "Kubernetes was not built");
    }
    build(&["--package", "tombolo-server"])?;
    let store = if options.store == Store::Etcd { "etcd" } else { "tombolo" };
    // Two at a time: each is a control plane of its own.
    let status = cargo()
        .args(["test", "--package", "tombolo-rig", "--test", "kubernetes", "--", "--test-threads", "2"])
        .env("TOMBOLO_KUBERNETES", std::path::absolute(&programs)?)
        .env("TOMBOLO_KUBERNETES_STORE", store)
        .env("TOMBOLO_REQUIRE", "kubernetes")
        .status()
        .context("start cargo test")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
