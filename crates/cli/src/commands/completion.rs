//! `completion`: a script that teaches a shell this program's commands and flags.

use std::io::{self, Write as _};

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};

use crate::{
    args::{Cli, habits},
    exit::Failure,
};

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "bash|zsh|fish|powershell")]
    args: Vec<String>,
}

pub(crate) fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let [shell] = args.args.as_slice() else {
        return Err(Failure::arguments("completion command needs the name of one shell"));
    };
    let shell = Shell::from_str(shell, false).map_err(|_| {
        Failure::arguments(format!("invalid shell {shell:?}: it is one of bash, zsh, fish, powershell"))
    })?;
    let mut script = Vec::new();
    generate(shell, &mut habits::like_etcdctl(Cli::command()), "tombolo", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
