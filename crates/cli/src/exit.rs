//! How a command ends: etcd's exit codes with one of our own, and one line on standard error.
//!
//! A failure says what failed, in the server's words where the server spoke, then where, then what to try.

use std::{fmt, io, process::ExitCode};

use clap::error::ErrorKind;

pub(crate) mod hint;

/// etcd's exit codes (0 is success), and what etcd has no code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command failed: the server refused it, or did not answer in time.
    Error = 1,
    /// No server could be reached, or the connection broke.
    BadConnection = 2,
    /// What was read from standard input is malformed.
    InvalidInput = 3,
    /// A valid flag has a value that is not supported.
    BadFeature = 4,
    /// The server ended a watch.
    Interrupted = 5,
    /// Standard output could not be written.
    Io = 6,
    /// `mesh status --wait` has waited in vain.
    NotConverged = 7,
    /// The command line is wrong.
    BadArguments = 128,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    place: Option<String>,
    hint: Option<&'static str>,
    /// The exit code of a command that this one ran.
    code: Option<u8>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), place: None, hint: None, code: None }
    }

    /// The command line is wrong.
    pub(crate) fn arguments(message: impl Into<String>) -> Self {
        Self::new(Exit::BadArguments, message)
    }

    /// Standard input is wrong.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Exit::InvalidInput, message)
    }

    pub(crate) fn at(self, place: impl Into<String>) -> Self {
        Self { place: Some(place.into()), ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<Option<&'static str>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    pub(crate) fn exits(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Ends with the exit code of a command that was run.
    pub(crate) fn exits_as(self, code: u8) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Puts etcdctl's words around the message: `failed to grant lease (…)`.
    pub(crate) fn wrapped(self, what: &str) -> Self {
        Self { message: format!("{what} ({})", self.message), ..self }
    }

    /// Puts etcdctl's words before the message.
    pub(crate) fn prefixed(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The bare message, for outputs that have a field for it.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(place) = &self.place {
            write!(f, " [at {place}]")?;
        }
        if let Some(hint) = self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Io, format!("cannot write standard output: {error}"))
    }
}

/// Reports a failure and gives its exit code.
pub(crate) fn failed(failure: &Failure) -> ExitCode {
    eprintln!("Error: {failure}");
    ExitCode::from(failure.code.unwrap_or(failure.exit as u8))
}

/// Reports what clap has to say: help and version succeed, everything else is a bad argument.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is no reason to fail while failing.
    let _ = match error.kind() {
        // etcdctl shows its help and succeeds when only half a command is given.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => print_help(error),
        _ => error.print(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(Exit::BadArguments as u8),
    }
}

fn print_help(error: &clap::Error) -> io::Result<()> {
    use io::Write as _;
    write!(io::stdout(), "{}", error.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_where_and_what_to_try_on_one_line() {
        let failure = Failure::new(Exit::Error, "etcdserver: requested lease not found")
            .at("127.0.0.1:2379")
            .wrapped("failed to revoke lease")
            .hint("see `tombolo lease list`");
        let text = "failed to revoke lease (etcdserver: requested lease not found) [at 127.0.0.1:2379]; see `tombolo lease list`";
        assert_eq!(failure.to_string(), text);
    }

    #[test]
    fn exit_codes_are_etcd_s_and_one_of_our_own() {
        let codes = [
            Exit::Error,
            Exit::BadConnection,
            Exit::InvalidInput,
            Exit::BadFeature,
            Exit::Interrupted,
            Exit::Io,
            Exit::NotConverged,
            Exit::BadArguments,
        ];
        assert_eq!(codes.map(|exit| exit as u8), [1, 2, 3, 4, 5, 6, 7, 128]);
    }
}
