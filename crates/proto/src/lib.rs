//! The wire types of the two client APIs: etcd's v3 API, and `tombolo.v1`, which has what etcd has no word for.
//!
//! Everything here is generated from the contracts in `proto/`; there is no behaviour, and nothing of ours is named.
//! Byte fields are [`bytes::Bytes`].

/// `mvccpb`: etcd's key-value pair and event.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// `etcdserverpb`: etcd's services and their messages.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// `tombolo.v1`: the mesh as its operators see it.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("tombolo.v1");
}

/// The encoded `FileDescriptorSet` of every contract, for gRPC reflection and for tools.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
