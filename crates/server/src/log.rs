//! The log. Nothing is logged for each request at `info`; `RUST_LOG`, when set, has the last word.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    Failure,
    config::{Config, LogFormat, LogOutput},
};

/// Begins to log. Called once; later calls do nothing.
///
/// # Errors
///
/// A file of `--log-outputs` cannot be written.
pub fn begin(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&config.log_level));
    let outputs = Outputs::open(&config.keeper.log_outputs)?;
    let is_terminal = outputs.are_terminals();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(outputs);
    // A failure means that somebody logs already, such as another server in the same test.
    let _ = match config.log_format {
        LogFormat::Console => log.with_ansi(is_terminal).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Where each line goes, all of them.
struct Outputs(Vec<Output>);

enum Output {
    Stderr,
    Stdout,
    File(File),
}

impl Outputs {
    fn open(outputs: &[LogOutput]) -> Result<Self, Failure> {
        let opened = outputs.iter().map(|output| match output {
            LogOutput::Stderr => Ok(Output::Stderr),
            LogOutput::Stdout => Ok(Output::Stdout),
            LogOutput::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                file.map(Output::File).map_err(|source| Failure::Log { path: path.clone(), source })
            }
        });
        opened.collect::<Result<_, _>>().map(Self)
    }

    fn are_terminals(&self) -> bool {
        self.0.iter().all(|output| match output {
            Output::Stderr => io::stderr().is_terminal(),
            Output::Stdout => io::stdout().is_terminal(),
            Output::File(_) => false,
        })
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// A line is written to each output as one piece. One that fails does not keep it from the others.
impl Write for &Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut outcome = Ok(line.len());
        for output in &self.0 {
            let written = match output {
                Output::Stderr => io::stderr().write_all(line),
                Output::Stdout => io::stdout().write_all(line),
                Output::File(file) => (&*file).write_all(line),
            };
            if let Err(why) = written {
                outcome = Err(why);
            }
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_to_every_file_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a.log", "b.log"].map(|name| folder.path().join(name));
        std::fs::write(&files[1], "before\n").unwrap();
        let outputs = Outputs::open(&files.clone().map(LogOutput::File)).unwrap();
        assert!(!outputs.are_terminals());
        outputs.make_writer().write_all(b"line\n").unwrap();
        let read = files.map(|file| std::fs::read_to_string(file).unwrap());
        assert_eq!(read, ["line\n", "before\nline\n"]);
        let nowhere = Outputs::open(&[LogOutput::File(folder.path().join("no/such"))]);
        assert!(nowhere.is_err_and(|failure| failure.to_string().contains("no/such")));
    }
}
