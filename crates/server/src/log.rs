//! The log, on standard error. Nothing is logged for each request at `info`; `RUST_LOG`, when set, has the last word.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Begins to log. Called once; later calls do nothing.
pub fn begin(config: &Config) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&config.log_level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A failure means that somebody logs already, such as another server in the same test.
    let _ = match config.log_format {
        LogFormat::Console => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
