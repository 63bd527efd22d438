//! The signals that stop a server (the first asks, the second insists), and the one that has it read its certificates again.

use std::{future::Future, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use crate::{failure::Failure, tls::Tls};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|source| Failure::System { action: "listen for signals", source });
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Returns at the next of the signals.
    pub(super) async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// From the moment it is made, SIGHUP ends nothing. Without TLS there is nothing to read either.
pub(super) fn reload_on_hangup(tls: Option<Arc<Tls>>) -> Result<impl Future<Output = ()> + Send, Failure> {
    let hangup = signal(SignalKind::hangup());
    let mut hangup = hangup.map_err(|source| Failure::System { action: "listen for signals", source })?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            match &tls {
                Some(tls) => tls.reload().await,
                None => info!("there are no certificates to read again; other settings take a restart"),
            }
        }
    })
}

/// Ends the process without ceremony. What was acknowledged is durable; the next start recovers the folder.
pub(super) fn exit_at_once() -> ! {
    std::process::exit(1)
}
