//! What a caller may choose about connections.

use std::time::Duration;

use crate::{Credentials, TlsOptions};

/// How a [`Client`](crate::Client) connects. The defaults are etcd's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long one endpoint may take to accept a connection before the next is tried.
    pub connect_timeout: Duration,
    /// How long a connection with open calls may be silent before the server is pinged; at least 10 s are used.
    pub keep_alive_time: Duration,
    /// How long the answer to that ping may take before the connection counts as broken.
    pub keep_alive_timeout: Duration,
    /// What to speak TLS with, to endpoints whose scheme is `https`.
    pub tls: TlsOptions,
    /// Whether TLS is spoken to endpoints without a scheme too.
    pub tls_without_scheme: bool,
    /// Who calls; nobody in particular unless the server asks for it.
    pub credentials: Option<Credentials>,
}

impl ClientOptions {
    /// etcd closes connections that ping more often than every 5 s (`too_many_pings`), and gRPC clients therefore agree
    /// on 10 s as the least.
    const KEEP_ALIVE_TIME_MIN: Duration = Duration::from_secs(10);

    pub(crate) fn ping_interval(&self) -> Duration {
        self.keep_alive_time.max(Self::KEEP_ALIVE_TIME_MIN)
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            keep_alive_time: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(6),
            tls: TlsOptions::default(),
            tls_without_scheme: false,
            credentials: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_never_frequent_enough_for_a_server_to_object() {
        let eager = ClientOptions { keep_alive_time: Duration::from_secs(2), ..Default::default() };
        assert_eq!(eager.ping_interval(), Duration::from_secs(10));
        let calm = ClientOptions { keep_alive_time: Duration::from_secs(30), ..Default::default() };
        assert_eq!(calm.ping_interval(), Duration::from_secs(30));
    }
}
