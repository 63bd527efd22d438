//! Runs a command: checks its arguments, calls the server, prints the answer.

use tokio::runtime;

use crate::{
    args::{Cli, Command},
    context::Context,
    exit::{Exit, Failure},
};

pub(crate) mod alarm;
pub(crate) mod auth;
pub(crate) mod compaction;
pub(crate) mod completion;
pub(crate) mod defrag;
pub(crate) mod del;
pub(crate) mod elect;
pub(crate) mod endpoint;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod lease;
mod line;
pub(crate) mod lock;
pub(crate) mod member;
pub(crate) mod mesh;
pub(crate) mod move_leader;
pub(crate) mod put;
pub(crate) mod role;
mod selection;
pub(crate) mod snapshot;
pub(crate) mod txn;
pub(crate) mod user;
pub(crate) mod version;
pub(crate) mod watch;

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Version => return version::run(),
        Command::Completion(args) => return completion::run(args),
        _ => {}
    }
    let context = cli.globals.context()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Error, format!("cannot start: {error}")))?;
    runtime.block_on(dispatch(cli.command, context))
}

async fn dispatch(command: Command, context: Context) -> Result<(), Failure> {
    match command {
        Command::Get(args) => get::run(context, &args).await,
        Command::Put(args) => put::run(&context, &args).await,
        Command::Del(args) => del::run(&context, &args).await,
        Command::Txn(args) => txn::run(&context, &args).await,
        Command::Compaction(args) => compaction::run(&context, &args).await,
        Command::Endpoint(args) => endpoint::run(&context, &args).await,
        Command::Watch(args) => watch::run(&context, &args).await,
        Command::Lease(command) => lease::run(&context, &command).await,
        Command::Member(command) => member::run(&context, &command).await,
        Command::Mesh(command) => mesh::run(&context, &command).await,
        Command::Import(args) => import::run(&context, &args).await,
        Command::Snapshot(command) => snapshot::run(&context, &command).await,
        Command::User(command) => user::run(&context, &command).await,
        Command::Role(command) => role::run(&context, &command).await,
        Command::Auth(command) => auth::run(&context, &command).await,
        Command::Alarm(command) => alarm::run(&context, &command).await,
        Command::Defrag(args) => defrag::run(&context, &args).await,
        Command::MoveLeader(args) => move_leader::run(&context, &args).await,
        Command::Lock(args) => lock::run(&context, &args).await,
        Command::Elect(args) => elect::run(&context, &args).await,
        Command::Completion(args) => completion::run(&args),
        Command::Version => version::run(),
    }
}
