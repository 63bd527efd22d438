//! `lock`: holds a named lock, until a signal comes or for as long as a command runs.
//!
//! **A lock holds within the replica that is asked.** Another site may lock the same name at the same time.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
};

use clap::Args;
use tokio::task;

use super::line::{Place, Session, Signals, found};
use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::quote::Quoted,
    output::Answer,
};

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Name of the lock, and a command to run while it is held
    #[arg(value_name = "NAME [COMMAND [ARG]...]")]
    args: Vec<String>,
    /// Timeout for session
    #[arg(long, default_value_t = 10)]
    ttl: i64,
}

pub(crate) async fn run(context: &Context, args: &LockArgs) -> Result<(), Failure> {
    let [name, command @ ..] = args.args.as_slice() else {
        return Err(Failure::arguments("lock takes a lock name argument and an optional command to execute"));
    };
    if command.is_empty() {
        context.printer.refuse_table()?;
    }
    let mut signals = Signals::new()?;
    // A time that is none is etcd's default for sessions.
    let mut session = Session::begin(context, if args.ttl > 0 { args.ttl } else { 60 }).await?;
    let place = Place::enter(context, name, session.lease, "").await?;
    place.turn(context, &mut signals).await?;
    let revision = held_at(context, &place).await?;
    match command.split_first() {
        Some((program, args)) => {
            let ended = run_command(program, args, &place, revision).await;
            let left = place.leave(context).await;
            ended.and(left)
        }
        None => hold(context, &place, &mut session, &mut signals).await,
    }
}

/// The revision at which the lock is known to be held. A lease may end while its holder waits.
async fn held_at(context: &Context, place: &Place) -> Result<i64, Failure> {
    if let Some(header) = place.first {
        return Ok(header.revision);
    }
    let answer = place.read(context).await?;
    match found(&answer) {
        Some(_) => Ok(answer.header.unwrap_or_default().revision),
        None => Err(Failure::new(Exit::Error, "mutex: session is expired")),
    }
}

async fn hold(context: &Context, place: &Place, session: &mut Session, signals: &mut Signals) -> Result<(), Failure> {
    let answer = place.read(context).await?;
    if found(&answer).is_none() {
        return Err(Failure::new(Exit::Error, "lock lost on init"));
    }
    context.printer.print(&Answer::Get(&answer))?;
    tokio::select! {
        () = signals.wanted() => place.leave(context).await,
        () = session.ended() => Err(Failure::new(Exit::Error, "session expired")),
    }
}

async fn run_command(program: &str, args: &[String], place: &Place, revision: i64) -> Result<(), Failure> {
    let mut process = Command::new(program);
    process.args(args).stdin(Stdio::null());
    process.env("ETCD_LOCK_KEY", &*String::from_utf8_lossy(&place.key)).env("ETCD_LOCK_REV", revision.to_string());
    // The wait must not keep the lease from being renewed.
    match task::spawn_blocking(move || process.status()).await {
        Ok(Ok(status)) => outcome(status),
        Ok(Err(error)) => Err(Failure::new(Exit::Error, format!("exec: {}: {error}", Quoted(program.as_bytes())))),
        Err(error) => Err(Failure::new(Exit::Error, error.to_string())),
    }
}

/// The command's exit code becomes this program's.
fn outcome(status: ExitStatus) -> Result<(), Failure> {
    let (message, code) = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => (format!("exit status {code}"), u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => (format!("signal: {signal}"), u8::MAX),
        (None, None) => (status.to_string(), u8::MAX),
    };
    Err(Failure::new(Exit::Error, message).exits_as(code))
}
