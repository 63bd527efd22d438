//! Makes clap read a command line as etcdctl's users are used to.
//!
//! Four habits: a switch may be given its value (`--prefix=false`), a flag takes the next word even if it begins with a
//! dash (`--rev -1`), of a repeated flag the last counts, and a command may be abbreviated. And every global flag has a
//! name in the environment.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, builder::ValueParser};

/// Applies the habits to a command and all its subcommands.
pub(crate) fn like_etcdctl(command: Command) -> Command {
    command.infer_subcommands(true).args_override_self(true).mut_args(read_like_etcdctl).mut_subcommands(like_etcdctl)
}

/// Gives each global flag the value that the environment has for it, in place of its default. An empty variable counts
/// as absent.
///
/// `TOMBOLO_` outranks `ETCDCTL_`, which is there so that shells set up for etcdctl work unchanged.
pub(crate) fn with_environment(command: Command, lookup: impl Fn(&str) -> Option<OsString>) -> Command {
    command.mut_args(|arg| {
        let Some(name) = arg.get_long().filter(|_| arg.is_global_set()) else { return arg };
        let suffix = name.to_uppercase().replace('-', "_");
        let variables = [format!("TOMBOLO_{suffix}"), format!("ETCDCTL_{suffix}")];
        let set = variables.iter().filter_map(|variable| lookup(variable)).find(|value| !value.is_empty());
        match set {
            Some(value) => arg.default_value(value),
            None => arg,
        }
    })
}

fn read_like_etcdctl(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .hide_default_value(true)
            .value_name("BOOL")
            .value_parser(ValueParser::new(switch)),
        ArgAction::Set | ArgAction::Append if !arg.is_positional() => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

/// The spellings that Go's flags know.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false"),
    }
}
