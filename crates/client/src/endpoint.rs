//! An endpoint: where one server listens, as a person writes it.
//!
//! `host:port`, `http://host:port` and `https://host:port` are accepted, alone or in a comma list. The text is kept as it
//! was written, since that is what the user recognises in a message.

use std::{fmt, str::FromStr};

use thiserror::Error;
use tonic::codegen::http::Uri;

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    written: String,
    uri: Uri,
    scheme: Scheme,
}

/// As written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// None: the client's options decide.
    Open,
    Http,
    Https,
}

impl Endpoint {
    /// Parses a comma list of endpoints. Spaces around each are ignored.
    ///
    /// # Errors
    /// The error of the first endpoint that is not one; an empty list is one empty endpoint.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
        text.split(',').map(str::parse).collect()
    }

    /// Whether TLS is spoken to it, if it is to those without a scheme.
    pub(crate) fn is_secure(&self, without_scheme: bool) -> bool {
        match self.scheme {
            Scheme::Open => without_scheme,
            Scheme::Http => false,
            Scheme::Https => true,
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let written = text.trim();
        if written.is_empty() {
            return Err(EndpointError::Empty);
        }
        let (scheme, authority) = parts(written)?;
        let malformed = || EndpointError::Malformed { endpoint: written.to_owned() };
        let prefix = if scheme == Scheme::Https { "https" } else { "http" };
        let uri: Uri = format!("{prefix}://{authority}").parse().map_err(|_| malformed())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        if host == authority {
            return Err(EndpointError::NoPort { endpoint: written.to_owned() });
        }
        // Nothing but a port may follow the host: no path, no query; and no user may precede it.
        let port = authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
        port.and_then(|port| port.parse::<u16>().ok()).ok_or_else(malformed)?;
        Ok(Self { written: written.to_owned(), uri, scheme })
    }
}

/// Why a text is not an endpoint this client can use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Nothing stands between two commas, or nothing at all.
    #[error("an endpoint is empty")]
    Empty,
    /// The text is not `host:port`.
    #[error("endpoint {endpoint:?} is not host:port")]
    Malformed {
        /// The endpoint as written.
        endpoint: String,
    },
    /// The host has no port, and there is no default that would be right for every server.
    #[error("endpoint {endpoint:?} has no port")]
    NoPort {
        /// The endpoint as written.
        endpoint: String,
    },
    /// The scheme is known, and this client cannot speak it yet.
    #[error("endpoint {endpoint:?}: {scheme} is not supported yet")]
    NotSupportedYet {
        /// The endpoint as written.
        endpoint: String,
        /// Its scheme.
        scheme: &'static str,
    },
    /// The scheme is none that etcd knows.
    #[error("endpoint {endpoint:?} has an unknown scheme")]
    UnknownScheme {
        /// The endpoint as written.
        endpoint: String,
    },
}

fn parts(written: &str) -> Result<(Scheme, &str), EndpointError> {
    for scheme in ["unixs", "unix"] {
        if written.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':') && !is_port(&rest[1..])) {
            return Err(EndpointError::NotSupportedYet { endpoint: written.to_owned(), scheme });
        }
    }
    let bare = |rest: &'_ str| rest.strip_suffix('/').unwrap_or(rest).len();
    match written.split_once("://") {
        None => Ok((Scheme::Open, written)),
        Some(("http", rest)) => Ok((Scheme::Http, &rest[..bare(rest)])),
        Some(("https", rest)) => Ok((Scheme::Https, &rest[..bare(rest)])),
        Some(_) => Err(EndpointError::UnknownScheme { endpoint: written.to_owned() }),
    }
}

/// A host may be called `unix`: `unix:2379` is then an address and not a socket's path.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }

    #[test]
    fn host_and_port_are_kept_as_written() {
        for text in ["127.0.0.1:2379", "http://127.0.0.1:2379", "[::1]:2379", "edge.example:1", "http://h:2379/"] {
            assert_eq!(parsed(text).to_string(), text);
        }
        assert_eq!(parsed("http://[::1]:2379").uri().authority().map(|a| a.as_str()), Some("[::1]:2379"));
    }

    #[test]
    fn a_comma_list_ignores_spaces_and_refuses_gaps() {
        let list = Endpoint::parse_list("a:1, http://b:2 ,c:3").expect("three endpoints");
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "http://b:2", "c:3"]);
        assert_eq!(Endpoint::parse_list("a:1,,b:2"), Err(EndpointError::Empty));
        assert_eq!(Endpoint::parse_list(""), Err(EndpointError::Empty));
    }

    #[test]
    fn the_scheme_says_whether_tls_is_spoken_and_without_one_the_options_do() {
        for (text, with, without) in [("https://a:1", true, true), ("http://a:1", false, false), ("a:1", true, false)] {
            assert_eq!((parsed(text).is_secure(true), parsed(text).is_secure(false)), (with, without), "{text}");
        }
        assert_eq!(parsed("https://[::1]:1/").to_string(), "https://[::1]:1/");
    }

    #[test]
    fn local_sockets_are_named_as_not_supported_yet() {
        for (text, scheme) in
            [("unix:///run/etcd.sock", "unix"), ("unix:/run/etcd.sock", "unix"), ("unixs://x", "unixs")]
        {
            let expected = EndpointError::NotSupportedYet { endpoint: text.into(), scheme };
            assert_eq!(text.parse::<Endpoint>(), Err(expected));
        }
        assert_eq!(parsed("unix:2379").to_string(), "unix:2379");
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in
            ["a b:1", ":2379", "a:1/path", "a:1?q", "a:99999999", "a:x", "a:", "user@a:1", "http://", "https://"]
        {
            assert!(matches!(text.parse::<Endpoint>(), Err(EndpointError::Malformed { .. })), "{text}");
        }
        for text in ["localhost", "http://localhost", "[::1]"] {
            assert!(matches!(text.parse::<Endpoint>(), Err(EndpointError::NoPort { .. })), "{text}");
        }
        assert!(matches!("ftp://a:1".parse::<Endpoint>(), Err(EndpointError::UnknownScheme { .. })));
    }
}
