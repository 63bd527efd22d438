//! What can go wrong between a caller and a server, in terms a program can branch on.
//!
//! The question that matters after a failure is whether the call may have taken effect: not when nobody could be
//! reached or the server refused it; possibly when the connection broke.

use std::{error::Error, fmt, io, sync::Arc};

use thiserror::Error;
use tonic::{Code, Status};

use crate::{Endpoint, EndpointError, TlsError};

/// Why a client could not be made or a call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An endpoint's text is not usable.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A client was asked for with no endpoint at all.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// An endpoint wants TLS, and the files for it are no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No endpoint accepted a connection. The call was not sent.
    #[error(transparent)]
    Unreachable(Unreachable),
    /// The server did not accept the credentials. The call was not sent.
    #[error(transparent)]
    NotSignedIn(NotSignedIn),
    /// The connection broke while the call was under way. It may or may not have taken effect.
    #[error("the connection broke: {reason}")]
    Disconnected {
        /// The transport's account of it.
        reason: String,
    },
    /// The server answered with an error. Unless the text says otherwise, the call changed nothing.
    #[error("{message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// The server's text; etcd's own where etcd has one.
        message: String,
    },
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        match status.source() {
            // What a server sends is code and text; only failures on this side have a source.
            None => Self::Refused { code: status.code(), message: status.message().to_owned() },
            Some(source) => {
                if let Some(unreachable) = source.downcast_ref::<Unreachable>() {
                    Self::Unreachable(unreachable.clone())
                } else if let Some(refused) = source.downcast_ref::<NotSignedIn>() {
                    Self::NotSignedIn(refused.clone())
                } else {
                    Self::Disconnected { reason: root_cause(source) }
                }
            }
        }
    }
}

/// No endpoint of the list accepted a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Each endpoint that was tried, in order, and why it failed.
    pub attempts: Vec<FailedAttempt>,
}

/// One endpoint that did not accept a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Where.
    pub endpoint: Endpoint,
    /// Why, in the operating system's words where it has some.
    pub reason: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot connect to ")?;
        for (index, attempt) in self.attempts.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({})", attempt.endpoint, attempt.reason)?;
        }
        Ok(())
    }
}

impl Error for Unreachable {}

/// A server's refusal to sign somebody in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct NotSignedIn {
    /// The gRPC code.
    pub code: Code,
    /// The server's text.
    pub message: String,
}

impl NotSignedIn {
    /// Marks a refusal as one of signing in. Failures on this side stay what they are.
    pub(crate) fn explain(status: Status) -> Status {
        if status.source().is_some() {
            return status;
        }
        let refused = Self { code: status.code(), message: status.message().to_owned() };
        let mut marked = Status::new(refused.code, refused.message.clone());
        marked.set_source(Arc::new(refused));
        marked
    }
}

/// The innermost cause: the outer ones only repeat that the transport failed.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// What the server said when it broke a handshake off, if that is what `error` is about. Nothing was asked of it then.
pub(crate) fn refused_handshake(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::{AlertDescription as Alert, Error::AlertReceived};
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An input or output error has the one that it wraps not as its source but inside.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(AlertReceived(alert)) = tls {
            let is_of_handshake = matches!(
                alert,
                Alert::AccessDenied
                    | Alert::BadCertificate
                    | Alert::CertificateExpired
                    | Alert::CertificateRequired
                    | Alert::CertificateRevoked
                    | Alert::CertificateUnknown
                    | Alert::DecryptError
                    | Alert::HandshakeFailure
                    | Alert::UnknownCA
                    | Alert::UnsupportedCertificate
            );
            return is_of_handshake.then(|| format!("the server breaks the handshake off: {alert:?}"));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_answer_keeps_its_code_and_text() {
        let error = ClientError::from(Status::out_of_range("etcdserver: mvcc: required revision has been compacted"));
        assert_eq!(error.to_string(), "etcdserver: mvcc: required revision has been compacted");
        assert!(matches!(error, ClientError::Refused { code: Code::OutOfRange, .. }));
    }

    #[test]
    fn a_failure_on_this_side_is_never_taken_for_a_server_s_answer() {
        let mut status = Status::unavailable("transport error");
        status.set_source(Arc::new(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer")));
        let error = ClientError::from(status);
        assert!(matches!(&error, ClientError::Disconnected { reason } if reason == "reset by peer"), "{error:?}");
    }

    #[test]
    fn a_refusal_to_sign_in_is_told_from_a_refusal_of_the_call() {
        let refused = Status::invalid_argument("etcdserver: authentication failed, invalid user ID or password");
        let error = ClientError::from(NotSignedIn::explain(refused));
        assert!(
            matches!(&error, ClientError::NotSignedIn(NotSignedIn { code: Code::InvalidArgument, .. })),
            "{error:?}"
        );
        assert_eq!(error.to_string(), "etcdserver: authentication failed, invalid user ID or password");
    }

    #[test]
    fn every_endpoint_that_was_tried_is_named() {
        let attempt = |endpoint: &str, reason: &str| FailedAttempt {
            endpoint: endpoint.parse().expect("an endpoint"),
            reason: reason.into(),
        };
        let attempts = vec![attempt("a:1", "connection refused"), attempt("b:2", "timed out")];
        let text = Unreachable { attempts }.to_string();
        assert_eq!(text, "cannot connect to a:1 (connection refused), b:2 (timed out)");
    }
}
