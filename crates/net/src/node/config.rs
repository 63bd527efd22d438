//! What a node is started with, and why it does not start.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tombolo_crdt::ReplicaId;

use crate::{Admission, ChainFault, KeyPair, Limits, PublicKey, Rates, TreePolicy};

/// Who a node is, where it listens, and whom it knows before it knows anybody.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The UDP address to listen at and to dial from. `[::]` takes both families where the system does.
    pub listen: SocketAddr,
    /// This replica's key pair.
    pub key: KeyPair,
    /// The mesh.
    pub mesh: u128,
    /// This replica.
    pub own: ReplicaId,
    /// This replica's admission and those above it, as its [`crate::Welcome`] had them. Presented, and believed, until the
    /// roster knows this replica. A founder has none.
    pub chain: Vec<Admission>,
    /// Peers beside the roster.
    pub contacts: Vec<Contact>,
    /// Bounds of the sessions.
    pub limits: Limits,
    /// When and how records go along a tree.
    pub tree: TreePolicy,
    /// How much is sent at most.
    pub rates: Rates,
}

/// A peer that is known without the roster: the issuer of our ticket, or one that an operator named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub replica: ReplicaId,
    /// Its key. The roster's is used once the roster knows this replica.
    pub key: PublicKey,
    /// Where it is reached, `host:port`, beside what it announces.
    pub addresses: Vec<String>,
}

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened at.
    #[error("cannot listen for peers at {address} (UDP): {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The admissions that prove us do not.
    #[error("our own admission does not hold: {0}")]
    Chain(#[from] ChainFault),
    /// Our admission is of somebody else, or of another key.
    #[error("our admission names {replica} with key {key}, and that is not us")]
    NotOurs {
        /// Whom it names.
        replica: ReplicaId,
        /// The key it names.
        key: PublicKey,
    },
    /// TLS refused its configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// The cryptographic library lacks what QUIC needs.
    #[error("TLS lacks the cipher that QUIC begins with")]
    Cipher,
}
