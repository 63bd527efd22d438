//! `tombolod`: one replica behind etcd's v3 API.
//!
//! This crate composes. It turns requests into calls on the store and the site's watch hub and lease table, and their answers into etcd's words, and it
//! drives the protocol with other sites; what is interesting lies in those crates. It exists as a library so that its binary stays a screenful.

pub use config::{
    AuthConfig, Config, GatewayConfig, Identity, JoinTicket, KeeperConfig, Listed, ListenAddress, LogFormat, LogOutput,
    Security, TlsConfig, TlsVersion, TokenConfig,
};
pub use failure::Failure;
pub use log::begin as begin_log;
pub use mesh::{CreateError, FileError, JoinFailure, MeshError, SalvageFailure};
pub use policy::TokenError;
pub use server::{Ended, run};
pub use tls::{CrlError, TlsError};

mod authority;
mod clock;
mod committer;
mod config;
mod etcd;
mod failure;
mod front;
mod gate;
mod gateway;
mod http;
mod keeper;
mod leases;
mod limits;
mod listener;
mod log;
mod mesh;
mod metered;
mod metrics;
mod policy;
mod reads;
mod replica;
mod server;
mod stopping;
mod tls;
mod v1;
mod watches;
