//! What is told about TLS.

use std::sync::atomic::{AtomicI64, Ordering};

use super::Counter;

/// Counts of handshakes and files, and how long certificates last.
#[derive(Default)]
pub(crate) struct TlsCounts {
    pub(crate) handshakes_failed: Counter,
    pub(crate) reloads_failed: Counter,
    cert_expiry: AtomicI64,
    crl_next_update: AtomicI64,
}

impl TlsCounts {
    /// Takes note of material that is in use from now on. Times are in seconds since the epoch.
    pub(crate) fn tell(&self, cert_expiry: i64, crl_next_update: Option<i64>) {
        self.cert_expiry.store(cert_expiry, Ordering::Relaxed);
        self.crl_next_update.store(crl_next_update.unwrap_or(0), Ordering::Relaxed);
    }

    /// When the first certificate of the server's chain runs out; `None` without TLS.
    pub(crate) fn cert_expiry(&self) -> Option<i64> {
        Some(self.cert_expiry.load(Ordering::Relaxed)).filter(|time| *time != 0)
    }

    /// When the list of revoked certificates should be replaced; `None` without a list.
    pub(crate) fn crl_next_update(&self) -> Option<i64> {
        Some(self.crl_next_update.load(Ordering::Relaxed)).filter(|time| *time != 0)
    }
}
