//! Where a server listens and whether TLS is spoken there, out of listening URLs.
//!
//! `http://` and `https://` with one address share a port, as in etcd: the first byte of a connection tells which of the two it is.

use super::url::Url;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// `host:port`.
    pub socket: String,
    /// What is spoken there.
    pub security: Security,
}

/// Whether connections have TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// None has.
    Plain,
    /// All have.
    Tls,
    /// Each as its client likes.
    Either,
}

impl Security {
    /// Whether TLS is spoken at all.
    pub fn has_tls(self) -> bool {
        self != Self::Plain
    }

    fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Either }
    }
}

/// The addresses of the URLs, each once.
pub(super) fn addresses(urls: &[Url]) -> Vec<ListenAddress> {
    let mut addresses: Vec<ListenAddress> = Vec::new();
    for url in urls {
        let security = if url.is_tls() { Security::Tls } else { Security::Plain };
        let socket = url.socket();
        match addresses.iter_mut().find(|known| known.socket == socket) {
            Some(known) => known.security = known.security.and(security),
            None => addresses.push(ListenAddress { socket, security }),
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_of_one_address_share_its_port() {
        let urls = ["http://a:1", "https://b:2", "https://a:1", "https://b:2"].map(|url| url.parse().unwrap());
        let wanted = [("a:1", Security::Either), ("b:2", Security::Tls)];
        let wanted = wanted.map(|(socket, security)| ListenAddress { socket: socket.to_owned(), security });
        assert_eq!(addresses(&urls), wanted);
    }
}
