//! The wire types of the two client APIs: etcd's v3 API, and `tombolo.v1`, which has what etcd has no word for.
//!
//! Everything here is generated from the contracts in `proto/`; there is no behaviour, and nothing of ours is named.
//! Byte fields are [`bytes::Bytes`]. [`Method`] lists every call of every service. With the feature `json` the messages of etcd's
//! API are `serde` types in the proto3 JSON of etcd's gateway.

pub use methods::{Kind, Method};

mod methods;

/// `mvccpb`: etcd's key-value pair and event.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
    #[cfg(feature = "json")]
    include!(concat!(env!("OUT_DIR"), "/mvccpb.serde.rs"));
}

/// `authpb`: etcd's permissions, and users and roles as its database holds them.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod authpb {
    tonic::include_proto!("authpb");
    #[cfg(feature = "json")]
    include!(concat!(env!("OUT_DIR"), "/authpb.serde.rs"));
}

/// `etcdserverpb`: etcd's services and their messages.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
    #[cfg(feature = "json")]
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.serde.rs"));
}

/// `v3lockpb`: etcd's server-side locks.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
    #[cfg(feature = "json")]
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.serde.rs"));
}

/// `v3electionpb`: etcd's server-side elections.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
    #[cfg(feature = "json")]
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.serde.rs"));
}

/// `tombolo.v1`: the mesh as its operators see it.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("tombolo.v1");
}

/// The encoded `FileDescriptorSet` of every contract, for gRPC reflection and for tools.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
