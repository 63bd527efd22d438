//! The state digest: the sum of one hash for each live element of the mesh layer.
//!
//! Replicas that have applied the same records have the same digest, whatever the order. The sum is kept as elements come
//! and go; being a sum and not an exclusive or, an element counted twice does not vanish.

use smallvec::SmallVec;
use tombolo_crdt::{Element, LeaseRef, Operation};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

mod cut;

/// What tells a share of the system's data from that of a key: the word in ASCII.
const SYSTEM_DOMAIN: u64 = u64::from_be_bytes(*b"\0\0system");

/// The sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(u128);

impl Digest {
    pub(crate) fn bits(self) -> u128 {
        self.0
    }

    pub(crate) fn add(&mut self, element: Element, key: &[u8], payload: u64) {
        self.0 = self.0.wrapping_add(share(element, key, payload));
    }

    /// Adds what was summed up apart.
    pub(crate) fn join(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Takes a share out.
    pub(crate) fn take_out(&mut self, share: u128) {
        self.0 = self.0.wrapping_sub(share);
    }

    /// Takes back that a share went.
    pub(crate) fn restore(&mut self, share: u128) {
        self.0 = self.0.wrapping_add(share);
    }

    /// Returns the share that went.
    pub(crate) fn remove(&mut self, element: Element, key: &[u8], payload: u64) -> u128 {
        let share = share(element, key, payload);
        self.take_out(share);
        share
    }
}

/// The hash of what an element holds: its value, seeded with its lease.
pub(crate) fn payload(value: &[u8], lease: Option<LeaseRef>) -> u64 {
    let seed = lease.map_or(0, |lease| lease.home.get() ^ lease.id.cast_unsigned());
    xxh3_64_with_seed(value, seed)
}

/// The payload of a lease's grant; its key is the lease's number.
pub(crate) fn grant_payload(ttl_s: u64) -> u64 {
    payload(&ttl_s.to_be_bytes(), None)
}

/// The payload of a value of the system's data.
pub(crate) fn system_payload(value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, SYSTEM_DOMAIN)
}

/// The share of the element that an operation adds; `None` when it adds none.
pub(crate) fn share_of(element: Element, operation: &Operation) -> Option<u128> {
    match operation {
        Operation::Put { key, value, lease, .. } => Some(share(element, key, payload(value, *lease))),
        Operation::LeaseGrant { id, ttl_s } => Some(share(element, &id.to_be_bytes(), grant_payload(*ttl_s))),
        Operation::SystemPut { key, value, .. } => Some(share(element, key, system_payload(value))),
        _ => None,
    }
}

/// XXH3-128 of `replica ‖ seq ‖ index ‖ payload ‖ key`. The digest finds faults, not forgers: those meet the chains.
pub(crate) fn share(element: Element, key: &[u8], payload: u64) -> u128 {
    let mut head = [0; 28];
    head[..8].copy_from_slice(&element.dot.replica.get().to_be_bytes());
    head[8..16].copy_from_slice(&element.dot.seq.to_be_bytes());
    head[16..20].copy_from_slice(&element.index.to_be_bytes());
    head[20..].copy_from_slice(&payload.to_be_bytes());
    let mut bytes: SmallVec<[u8; 128]> = SmallVec::from_slice(&head);
    bytes.extend_from_slice(key);
    xxh3_128(&bytes)
}
