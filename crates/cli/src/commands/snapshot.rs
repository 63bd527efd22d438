//! `snapshot`: takes a copy of a replica, looks at one, and makes a replica of one.
//!
//! A copy is Tombolo's own, with everything that a replica holds; with `--database` it is a database file of etcd's, with what etcd has words for. Looking
//! knows both. Only here does this program touch data itself, where no server runs.

use clap::Subcommand;

use crate::{context::Context, exit::Failure};

mod bar;
mod restore;
mod save;
mod status;

pub(crate) use status::SnapshotFacts;

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Stores a snapshot of a replica in a file, or writes it to standard output
    Save(save::SaveArgs),
    /// Checks a snapshot file, Tombolo's or etcd's, and says what it is of
    Status(status::StatusArgs),
    /// Makes the data folder of a new replica, in a mesh of its own, from a snapshot file
    Restore(restore::RestoreArgs),
}

/// Runs what asks a server.
pub(crate) async fn run(context: &Context, command: &SnapshotCommand) -> Result<(), Failure> {
    match command {
        SnapshotCommand::Save(args) => save::run(context, args).await,
        SnapshotCommand::Status(args) => status::run(&context.printer, args),
        SnapshotCommand::Restore(args) => restore::run(args),
    }
}
