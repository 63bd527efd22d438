//! The Rust client of Tombolo, and of any other server that speaks etcd's v3 API.
//!
//! A [`Client`] holds a list of endpoints and hands out the generated stubs of the API: KV, Watch, Lease, Cluster,
//! Maintenance, Auth, Lock and Election, and Tombolo's own Mesh and Import. It connects when the first call is made, stays with the endpoint that answered, and moves on to the
//! next one when that one cannot be reached. [`KeyRange`] spells the ranges of the API, [`ClientError`] says what went
//! wrong in terms a program can branch on.
//!
//! It is not a formatter, a retry policy or a cache: a call that may have taken effect is never sent again. With [`Credentials`] it signs in
//! before the first call, and again when a server does not take its token any more.
//!
#![doc = include_str!("../README.md")]

mod client;
mod connector;
mod credentials;
mod endpoint;
mod error;
mod options;
mod range;
mod sign_in;
mod tls;
mod transport;

pub use client::Client;
pub use credentials::Credentials;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ClientError, FailedAttempt, NotSignedIn, Unreachable};
pub use options::ClientOptions;
pub use range::{KeyRange, prefix_end};
pub use tls::{TlsError, TlsOptions};
pub use transport::Transport;
