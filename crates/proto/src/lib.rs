//! The wire types of the two client APIs: etcd's v3 API, and `tombolo.v1`, which has what etcd has no word for.
//!
//! Everything here is generated from the contracts in `proto/`, and nothing of ours is named. Byte fields are [`bytes::Bytes`]. [`Method`] lists
//! every call of every service. The feature `json` adds the other form that etcd's messages have on the wire: the JSON of etcd's gateway.

pub use methods::{Kind, Method};

#[cfg(feature = "json")]
pub mod json;
mod methods;

/// `mvccpb`: etcd's key-value pair and event.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// `authpb`: etcd's permissions, and users and roles as its database holds them.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// `etcdserverpb`: etcd's services and their messages.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// `v3lockpb`: etcd's server-side locks.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// `v3electionpb`: etcd's server-side elections.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// `tombolo.v1`: the mesh as its operators see it.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("tombolo.v1");
}

/// The encoded `FileDescriptorSet` of every contract, for gRPC reflection and for tools.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
