//! The pure core of Tombolo: who wrote what, in which causal order, and how concurrent writes merge.
//!
//! Everything here is a value. Nothing reads a clock, draws randomness, does I/O or waits: time and identities are
//! arguments, and equal inputs give equal bytes on every machine. The crate promises:
//!
//! * **one value, one encoding.** What [`Record::encode`] writes, [`Record::decode`] reads, and no other bytes;
//! * **joins are joins.** Every [`DotStore`] is commutative, associative and idempotent under its contexts, and applying a
//!   record's operations gives the state that joining its delta gives;
//! * **causality before clocks.** A [`Register`] drops exactly the siblings a write names; stamps only order what is
//!   concurrent.
//!
//! The causal context is store-wide (DottedDB's idea): a [`VersionVector`] says which elements a replica has seen, state
//! keeps only elements, and an element that is covered but absent was removed. Deletes leave nothing behind.

pub use chain::Chain;
pub use codec::DecodeError;
pub use context::ContextFault;
pub use dot::{Dot, Element};
pub use dot_store::{DotFun, DotMap, DotSet, DotStore};
pub use hlc::{Clock, DRIFT_MAX_MS, Hlc};
pub use operation::{LEASE_TTL_S_MAX, LeaseRef, Operation, RangeRemove, SYSTEM_KEY_BYTES_MAX, SYSTEM_VALUE_BYTES_MAX};
pub use record::{RECORD_BYTES_MAX, RECORD_OPERATIONS_MAX, Record, RecordHeader};
pub use register::{Register, Sibling, Stamp};
pub use replica_id::ReplicaId;
pub use signed_head::SignedHead;
pub use version_vector::VersionVector;

mod chain;
pub mod codec;
mod context;
mod dot;
mod dot_store;
mod hlc;
pub mod mutation;
mod operation;
mod record;
mod register;
mod replica_id;
mod signed_head;
mod version_vector;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
