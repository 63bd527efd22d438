//! Why a peer is not connected.

use quinn::{ConnectionError, TransportErrorCode};
use thiserror::Error;
use tombolo_crdt::{DecodeError, ReplicaId};

use crate::{Fault, Refusal, framing::FrameTooLarge, printable::printable};

/// Why a peer could not be reached, or a connection to it ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// Nobody knows where it is.
    #[error("it has announced no address")]
    NoAddress,
    /// None of its addresses could be resolved to one that this node's socket reaches.
    #[error("`{address}` resolves to no address that can be dialed from here: {cause}")]
    Unresolved {
        /// The address.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// Nobody answers there.
    #[error("no answer from {address}")]
    NoAnswer {
        /// The address that was tried last.
        address: String,
    },
    /// Somebody else answers there: the key is not the one the peer is known by.
    #[error("whoever answers at {address} does not hold the key of this peer")]
    WrongKey {
        /// The address.
        address: String,
    },
    /// Somebody with the right key says that it is another replica.
    #[error("it says that it is {found}")]
    OtherReplica {
        /// Who it says it is.
        found: ReplicaId,
    },
    /// It did not let us in.
    #[error("it refused us: {0}")]
    RefusedUs(Refusal),
    /// It did not greet in time.
    #[error("it took too long to greet")]
    SlowHandshake,
    /// Its greeting is none.
    #[error("its greeting cannot be read: {0}")]
    BadHandshake(DecodeError),
    /// Its greeting is too long.
    #[error("its greeting is none: {0}")]
    LongHandshake(FrameTooLarge),
    /// It said something else than a greeting.
    #[error("it answered our greeting with something else")]
    NoGreeting,
    /// The session ended.
    #[error("{0}")]
    Session(Fault),
    /// The stream ended without a word.
    #[error("it ended the stream without a word")]
    StreamEnded,
    /// It closed the connection.
    #[error("it closed the connection with code {code}: {text}")]
    Closed {
        /// Its code.
        code: u64,
        /// Its words.
        text: String,
    },
    /// Nothing was heard for too long: the link is cut, or the peer is gone.
    #[error("nothing was heard from it for too long")]
    TimedOut,
    /// This node is going down.
    #[error("this node is going down")]
    Stopping,
    /// The transport failed.
    #[error("the connection failed: {cause}")]
    Transport {
        /// What went wrong.
        cause: String,
    },
}

impl PeerError {
    /// Why dialing `address` led to no connection.
    pub(crate) fn of_dial(error: ConnectionError, address: &str) -> Self {
        match error {
            // Raised by our own verifier: the pin.
            ConnectionError::TransportError(error) if error.code == TransportErrorCode::crypto(ACCESS_DENIED) => {
                Self::WrongKey { address: address.to_owned() }
            }
            ConnectionError::TimedOut => Self::NoAnswer { address: address.to_owned() },
            error => error.into(),
        }
    }
}

impl From<ConnectionError> for PeerError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Closed {
                code: close.error_code.into_inner(),
                text: printable(&String::from_utf8_lossy(&close.reason)),
            },
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::Stopping,
            error => Self::Transport { cause: printable(&error.to_string()) },
        }
    }
}

impl From<FrameTooLarge> for PeerError {
    fn from(error: FrameTooLarge) -> Self {
        Self::LongHandshake(error)
    }
}

/// The TLS alert that a verifier's refusal of a key becomes.
const ACCESS_DENIED: u8 = 49;
