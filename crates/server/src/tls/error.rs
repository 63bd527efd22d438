//! Why TLS cannot be spoken: each names the file that has to be looked at.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::revocation::CrlError;

/// What is wrong with the files that TLS listeners need.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is no PEM, or what it has cannot be taken apart.
    #[error("{path} is malformed: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file has nothing of what it is there for.
    #[error("{path} has no {what} in PEM")]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The certificate and the key are not two halves of one, or of a kind that is not spoken.
    #[error("{cert} and {key} cannot be used together: {source}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The library's answer.
        source: rustls::Error,
    },
    /// A list of revoked certificates cannot be relied on.
    #[error("{path}: {source}")]
    Crl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CrlError,
    },
    /// The trusted CAs make no verifier.
    #[error("{path}: {why}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// The library's answer.
        why: String,
    },
    /// The versions and suites that were chosen do not fit together.
    #[error("the chosen versions and cipher suites do not fit together: {0}")]
    Settings(rustls::Error),
    /// A certificate of our own could not be made or kept.
    #[error("a certificate could not be made in {path}: {why}")]
    SelfSigned {
        /// The folder.
        path: PathBuf,
        /// What failed.
        why: String,
    },
}
