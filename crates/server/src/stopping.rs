//! The news that the server stops, for everything that would otherwise go on for ever.

use tokio::sync::watch;

/// Tells that the server stops.
pub(crate) struct Stop(watch::Sender<bool>);

/// Learns that the server stops.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn new() -> (Self, Stopping) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stopping(receiver))
    }

    pub(crate) fn tell(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Returns when the server stops.
    pub(crate) async fn told(&mut self) {
        // An error means that the server is gone already.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
