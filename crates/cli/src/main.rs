//! `tombolo`: the command line of Tombolo, in etcdctl's words.
//!
//! It is a client and nothing more. Every command but those below `mesh` is a call of etcd's v3 API, so it drives any server that
//! speaks it, and what goes to standard output is byte for byte what etcdctl prints. Errors and hints go to standard error, one
//! line each.

use std::process::ExitCode;

mod args;
mod commands;
mod context;
mod exit;
mod notation;
mod output;
mod prompt;
mod script;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(usage) => return exit::usage(&usage),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit::failed(&failure),
    }
}
