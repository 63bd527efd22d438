//! Placeholder.
pub use replica_id::ReplicaId;
mod replica_id;
