//! Listening URLs: `http://host:port` or `https://host:port`, and for peers also `udp://host:port`.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// A listening URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Why a text is no listening URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum UrlError {
    #[error("a URL must begin with http:// or https://")]
    Scheme,
    #[error("a URL must end with a port, as in http://127.0.0.1:2379")]
    Port,
    #[error("a URL must have a host and no path")]
    Host,
}

impl Url {
    /// `host:port`, with an IPv6 host in brackets.
    pub(super) fn socket(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether it stands for every address of the machine, so that nobody can connect to it by that name.
    pub(super) fn is_unspecified(&self) -> bool {
        self.host().parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }

    /// The URL of a listener for peers, whose `http://` or `https://` is a habit from etcd: what is spoken there is QUIC.
    pub(super) fn of_peer(text: &str) -> Result<Self, UrlError> {
        text.strip_prefix("udp://").map_or_else(|| text.parse(), |rest| format!("http://{rest}").parse())
    }

    /// Whether TLS is spoken there.
    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// The name or address alone, without brackets.
    pub(super) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether only this machine can connect.
    pub(super) fn is_loopback(&self) -> bool {
        let bare = self.host();
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err(UrlError::Scheme),
        };
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or(UrlError::Port)?;
        let port = port.parse().map_err(|_| UrlError::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let sound = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', '[', ']', '@', '?', '#']),
        };
        if sound { Ok(Self { scheme, host: host.to_owned(), port }) } else { Err(UrlError::Host) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.socket())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, socket, loopback) in [
            ("http://127.0.0.1:2379", "127.0.0.1:2379", true),
            ("http://127.8.0.1:1/", "127.8.0.1:1", true),
            ("http://[::1]:2379", "[::1]:2379", true),
            ("http://localhost:2379", "localhost:2379", true),
            ("http://0.0.0.0:2379", "0.0.0.0:2379", false),
            ("http://[::]:2379", "[::]:2379", false),
            ("http://etcd.example:2379", "etcd.example:2379", false),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.socket().as_str(), url.is_loopback()), (socket, loopback), "{text}");
            assert!(!url.is_tls());
            let secure: Url = text.replace("http:", "https:").parse().unwrap();
            assert!(secure.is_tls() && secure.socket() == socket && secure.to_string().starts_with("https://"));
        }
        for bad in ["", "http://", "http://a", "http://:1", "http://a:b", "http://a/b:1", "http://::1:1", "unix://a:1"]
        {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
