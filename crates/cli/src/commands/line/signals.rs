//! The signals with which somebody ends a lock or a candidacy in good order.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// Takes the signals that would end the program.
#[derive(Debug)]
pub(in super::super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(in super::super) fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::new(Exit::Error, error.to_string()));
        Ok(Self { interrupt: take(SignalKind::interrupt())?, terminate: take(SignalKind::terminate())? })
    }

    /// Returns when one of them has come.
    pub(in super::super) async fn wanted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
