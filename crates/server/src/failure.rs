//! Why a server did not start, or did not stop cleanly: one line that says what was wrong, where, and what to try.

use std::{io, path::PathBuf};

use thiserror::Error;
use tombolo_net::StartError;
use tombolo_storage::{CommitError, IdentityLoss, OpenError};

use crate::{
    mesh::{JoinFailure, MeshError, SalvageFailure},
    policy::TokenError,
    tls::TlsError,
};

/// Why a server ended.
#[derive(Debug, Error)]
pub enum Failure {
    /// An address could not be taken.
    #[error("failed to listen on {address}: {source}{}", hint_for_address(.source))]
    Listen {
        /// As given.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The files of certificates are no use.
    #[error("failed to set up TLS: {0}")]
    Tls(#[from] TlsError),
    /// The keys that sign users' tokens are no use.
    #[error("failed to set up --auth-token: {0}")]
    Token(#[from] TokenError),
    /// A file of the log could not be opened.
    #[error("failed to open the log file {path}: {source}")]
    Log {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The data folder could not be made.
    #[error("failed to create the data folder {path}: {source}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store was not opened.
    #[error("failed to open {path}: {}{}", chain(.source), hint_for_store(.source))]
    Open {
        /// The folder.
        path: PathBuf,
        /// The store's answer.
        source: OpenError,
    },
    /// Rows of the store are rotten, and could not be made again before it is opened.
    #[error("failed to open {path}: the row of commit {commit} is rotten or missing, {why}")]
    Rotten {
        /// The folder.
        path: PathBuf,
        /// The first such row.
        commit: u64,
        /// Why it was not made again, and what to do.
        why: SalvageFailure,
    },
    /// The mesh was not joined.
    #[error(transparent)]
    Join(#[from] JoinFailure),
    /// This replica cannot take its place in the mesh.
    #[error("failed to take part in the mesh: {0}")]
    Mesh(#[from] MeshError),
    /// Peers are not listened for.
    #[error("{source}{}", hint_for_peers(.source))]
    Peers {
        /// Why.
        source: StartError,
    },
    /// The store was not closed: what was acknowledged is safe, but the next start verifies the folder.
    #[error("failed to close the store cleanly: {0}; the next start will recover it")]
    Close(#[source] CommitError),
    /// The system gave no randomness, no thread, no signal.
    #[error("failed to {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The reflection service did not accept its own descriptors.
    #[error("failed to build the reflection service: {0}")]
    Reflection(#[source] tonic_reflection::server::Error),
}

fn hint_for_address(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => "; another server listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose another port",
        _ => "",
    }
}

fn hint_for_peers(why: &StartError) -> &'static str {
    match why {
        StartError::Socket { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "; another server listens there: stop it, or choose another --listen-peer-urls"
        }
        _ => "",
    }
}

fn hint_for_store(why: &OpenError) -> &'static str {
    match why {
        OpenError::Locked { .. } => "; stop that process, or choose another --data-dir",
        OpenError::NewerFormat { .. } => "; start the version that wrote it, or a newer one",
        OpenError::RottenBase { .. } => {
            "; nothing was changed, and no other site has what it said: keep a copy of the folder, look at the disk, and join the mesh with an \
             empty folder, or restore a backup"
        }
        OpenError::Damaged { .. } | OpenError::Rotten { .. } => {
            "; nothing was changed: keep a copy of the folder, and restore a backup"
        }
        OpenError::NeedsNewIdentity { cause: IdentityLoss::Copied } => {
            "; start the original folder instead: two servers must not write under one identity; with --join and a ticket \
             it joins as somebody new, and what it holds is set aside; with --sole it goes on with what it holds in a mesh of its own"
        }
        OpenError::NeedsNewIdentity { .. } => {
            "; nothing was changed: writes that were acknowledged are gone, and no other site is known that has them; keep a copy, and restore a backup, \
             or go on with what is left by --sole"
        }
        OpenError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "; the folder must belong to the user that the server runs as"
        }
        OpenError::Engine(_) | OpenError::Io { .. } => "",
    }
}

/// The error with those that caused it, on one line.
fn chain(why: &OpenError) -> String {
    let mut text = why.to_string();
    let mut cause = std::error::Error::source(why);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_place_and_advice() {
        let path = PathBuf::from("/data");
        let locked = Failure::Open { path: path.clone(), source: OpenError::Locked { path: path.clone() } };
        let newer = Failure::Open { path: path.clone(), source: OpenError::NewerFormat { found: 9, known: 1 } };
        let copied = OpenError::NeedsNewIdentity { cause: IdentityLoss::Copied };
        let copied = Failure::Open { path, source: copied };
        let address = "127.0.0.1:1".to_owned();
        let taken = Failure::Listen { address, source: io::ErrorKind::AddrInUse.into() };
        for (failure, words) in [
            (locked, ["/data", "in use", "--data-dir"]),
            (newer, ["/data", "format 9", "newer"]),
            (copied, ["/data", "copy", "original"]),
            (taken, ["127.0.0.1:1", "listen", "another port"]),
        ] {
            let line = failure.to_string();
            assert!(words.iter().all(|word| line.contains(word)) && !line.contains('\n'), "{line}");
        }
    }
}
