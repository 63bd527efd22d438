//! `watch -i`: several watches on one stream, started by lines of standard input.
//!
//! A line is `watch` with the words and flags of the command, or `progress`. A line that is neither is reported and
//! passed over; the end of input ends the command.

use std::{
    ffi::OsString,
    io::{self, BufRead},
    thread,
};

use clap::{CommandFactory, FromArgMatches, Parser};
use tokio::sync::mpsc;

use super::{Environment, WatchArgs, stream::Watches};
use crate::{args::habits, exit::Failure, script::words};

#[derive(Debug, Parser)]
#[command(name = "watch", disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    watch: WatchArgs,
}

/// Reads lines and shows events until the input ends.
pub(super) async fn run(mut watches: Watches<'_>, environment: &Environment) -> Result<(), Failure> {
    let mut lines = read_lines();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(Ok(line)) => obey(&mut watches, environment, &line).await?,
                Some(Err(error)) => return Err(unreadable(&error.to_string())),
                None => return Err(unreadable("EOF")),
            },
            answer = watches.answer() => watches.take(answer).await?,
        }
    }
}

/// Reads the words of a `watch` line, the first of which is `watch`.
pub(super) fn parse(words: &[OsString]) -> Result<WatchArgs, Failure> {
    let matches = habits::like_etcdctl(Line::command()).try_get_matches_from(words);
    let line = matches.and_then(|matches| Line::from_arg_matches(&matches));
    line.map(|line| line.watch).map_err(|error| Failure::arguments(summary(&error)))
}

async fn obey(watches: &mut Watches<'_>, environment: &Environment, line: &str) -> Result<(), Failure> {
    let words = words::split(line)?;
    let command = words.first();
    if command.is_none() {
        eprintln!("Invalid command: {line} (watch and progress supported)");
    } else if words::is(command, "progress") {
        watches.request_progress().await;
    } else if !words::is(command, "watch") {
        eprintln!("Invalid command {line} (only support watch)");
    } else if words.len() < 2 && environment.key.is_empty() {
        eprintln!("Invalid command {line} (command type or key is not provided)");
    } else {
        let args = parse(&words)?;
        let keys = args.keys(environment, words.last())?;
        match args.subscription(&keys) {
            Ok(subscription) => watches.add(subscription).await?,
            Err(failure) => eprintln!("Invalid command {line} ({failure})"),
        }
    }
    Ok(())
}

/// Standard input line by line, read by a thread that may wait for it. Text after the last line's end is no line.
fn read_lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            let line = match input.read_line(&mut line) {
                Ok(_) => match line.strip_suffix('\n') {
                    Some(line) => Ok(line.to_owned()),
                    None => return,
                },
                Err(error) => Err(error),
            };
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    receiver
}

fn unreadable(reason: &str) -> Failure {
    Failure::input(format!("error reading watch request line: {reason}"))
}

/// The first line of clap's account; the rest is a usage text for a terminal.
fn summary(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}
