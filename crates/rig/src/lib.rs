//! The rigs that look at Tombolo from outside: real server processes, real clients, a real etcd beside it.
//!
//! Nothing here links the server. A rig starts `tombolod` as an operator would, speaks etcd's protocol to it over a
//! socket, kills it, and judges what came back. A rig that found nothing proves little unless it can also go red, so
//! each judge has unit tests that hand it forged evidence.
//!
//! This crate is not a client library and not a benchmark: it is published nowhere and tuned for clear failures.

pub mod compare;
pub mod connect;
pub mod differential;
pub mod etcdctl;
pub mod folder;
pub mod hosts;
pub mod http;
pub mod import;
pub mod kill;
pub mod kubernetes;
pub mod load;
pub mod mesh;
pub mod normalise;
pub mod pki;
pub mod ports;
pub mod process;
pub mod random;
pub mod relay;
pub mod request;
pub mod requirement;
pub mod roles;
pub mod secure;
pub mod storm;
pub mod watching;
