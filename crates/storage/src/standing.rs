//! Where a store stands, as it tells its peers: everything of one published moment.
//!
//! What is published is durable, so that nothing in here is ever taken back. Only the mesh layer is told.

use std::collections::BTreeMap;

use tombolo_crdt::{Chain, ReplicaId, VersionVector};

use crate::{Published, Store};

/// Where a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What readers see.
    pub published: Published,
    /// The records that are applied.
    pub frontier: VersionVector,
    /// The chain of each author's last record in the frontier.
    pub chains: BTreeMap<ReplicaId, Chain>,
    /// The digest of the replicated state.
    pub digest: u128,
    /// What a peer must have applied for the log to be complete for it.
    pub floor: VersionVector,
}

impl Store {
    /// Where the store stands now. O(replicas).
    pub fn standing(&self) -> Standing {
        let state = self.shared().state.read();
        Standing {
            published: state.published,
            frontier: state.frontier.clone(),
            chains: state.streams.iter().map(|(author, stream)| (*author, stream.chain)).collect(),
            digest: state.digest,
            floor: state.floor.vector.clone(),
        }
    }
}
