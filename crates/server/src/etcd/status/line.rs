//! What goes wrong with a lock or an election, in etcd's words.
//!
//! etcd's own service is a client of the server it runs in, and on that way errors lose their codes: nearly all are `Unknown`, whatever
//! they are elsewhere. What tells a client to try again keeps its code.

use thiserror::Error;
use tonic::{Code, Status};

use super::Fault;

/// Why a call of the lock or election service failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum LineFault {
    #[error("mutex: session is expired")]
    SessionExpired,
    #[error("election: not leader")]
    NotLeader,
    #[error("election: no leader")]
    NoLeader,
    #[error("\"leader\" field must be provided")]
    NoLeaderKey,
    #[error("context canceled")]
    CallerGone,
    #[error("tombolo: {max} calls wait for locks and elections already")]
    TooManyWaiting { max: usize },
    #[error(transparent)]
    Server(#[from] Fault),
}

impl LineFault {
    fn code(&self) -> Code {
        match self {
            Self::SessionExpired | Self::NotLeader | Self::NoLeader | Self::NoLeaderKey => Code::Unknown,
            Self::CallerGone => Code::Cancelled,
            Self::TooManyWaiting { .. } => Code::ResourceExhausted,
            Self::Server(fault) if fault.code() == Code::Unavailable => Code::Unavailable,
            Self::Server(_) => Code::Unknown,
        }
    }
}

impl From<LineFault> for Status {
    fn from(fault: LineFault) -> Self {
        Self::new(fault.code(), fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_get_lost_but_for_those_that_say_try_again() {
        for (fault, code, text) in [
            (LineFault::NotLeader, 2, "election: not leader"),
            (LineFault::NoLeaderKey, 2, "\"leader\" field must be provided"),
            (Fault::LeaseNotFound.into(), 2, "etcdserver: requested lease not found"),
            (Fault::EmptyKey.into(), 2, "etcdserver: key is not provided"),
            (Fault::Stopped.into(), 14, "etcdserver: server stopped"),
        ] {
            let status = Status::from(fault);
            assert_eq!((status.code() as i32, status.message()), (code, text));
        }
    }
}
