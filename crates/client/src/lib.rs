//! The Rust client of Tombolo, and of any other server that speaks etcd's v3 API.
//!
//! A [`Client`] holds a list of endpoints and hands out the generated stubs of the API: KV, Watch, Lease, Cluster and
//! Maintenance, and Tombolo's own Mesh. It connects when the first call is made, stays with the endpoint that answered, and moves on to the
//! next one when that one cannot be reached. [`KeyRange`] spells the ranges of the API, [`ClientError`] says what went
//! wrong in terms a program can branch on.
//!
//! It is not a formatter, a retry policy or a cache: a call that may have reached a server is never sent again.
//!
#![doc = include_str!("../README.md")]

mod client;
mod endpoint;
mod error;
mod options;
mod range;
mod transport;

pub use client::Client;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ClientError, FailedAttempt, Unreachable};
pub use options::ClientOptions;
pub use range::{KeyRange, prefix_end};
pub use transport::Transport;
