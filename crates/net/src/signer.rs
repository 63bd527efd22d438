//! Signs what a replica offers: its own records when they are offered, and never when they are written.
//!
//! So a write pays nothing, and a mesh of one signs nothing at all. Several peers that are offered the same records get the same
//! signature: the newest of each stream is remembered.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tombolo_crdt::{Chain, Dot, ReplicaId, SignedHead};

use crate::{KeyPair, Roster, sign_head};

/// The hand that signs for one replica.
#[derive(Debug)]
pub struct Signer {
    mesh: u128,
    own: ReplicaId,
    key: KeyPair,
    /// The newest head of each stream that was signed here.
    newest: Mutex<BTreeMap<ReplicaId, SignedHead>>,
}

impl Signer {
    /// The one of this replica.
    pub fn new(mesh: u128, own: ReplicaId, key: KeyPair) -> Self {
        Self { mesh, own, key, newest: Mutex::default() }
    }

    /// Whether this replica speaks for an author: itself; another name under the same key; an author of no mesh, when it is the founder.
    pub fn speaks_for(&self, roster: &Roster, author: ReplicaId) -> bool {
        self.signer_for(roster, author).is_some()
    }

    /// The name under which the heads of an author are signed here.
    fn signer_for(&self, roster: &Roster, author: ReplicaId) -> Option<ReplicaId> {
        match roster.member(author) {
            _ if author == self.own => Some(author),
            Some(member) if member.key() == self.key.public() => Some(author),
            None if roster.member(self.own).is_some_and(|own| own.admission.is_founders()) => Some(self.own),
            _ => None,
        }
    }

    /// Signs the head of a stream that this replica [speaks for](Self::speaks_for). `None` for all others.
    pub fn sign(&self, roster: &Roster, dot: Dot, chain: Chain) -> Option<SignedHead> {
        let author = dot.replica;
        let signer = self.signer_for(roster, author)?;
        let mut newest = self.newest.lock();
        if let Some(known) =
            newest.get(&author).filter(|head| (head.dot, head.chain, head.signer) == (dot, chain, signer))
        {
            return Some(*known);
        }
        let head = sign_head(self.mesh, dot, chain, signer, &self.key);
        newest.insert(author, head);
        Some(head)
    }

    /// The heads of all authors of some records, ascending: `stored` has those that came with them from peers, the others are
    /// signed here.
    ///
    /// # Errors
    ///
    /// The last record of an author for whom there is no head and who must sign itself.
    pub fn complete(
        &self,
        roster: &Roster,
        records: &[(Dot, Bytes)],
        stored: Vec<SignedHead>,
    ) -> Result<Vec<SignedHead>, Dot> {
        let last: BTreeMap<ReplicaId, (Dot, &Bytes)> =
            records.iter().map(|(dot, bytes)| (dot.replica, (*dot, bytes))).collect();
        let head = |(dot, bytes): (Dot, &Bytes)| {
            let known = stored.iter().find(|head| head.dot == dot).copied();
            known.or_else(|| self.sign(roster, dot, chain_of(bytes)?)).ok_or(dot)
        };
        last.into_values().map(head).collect()
    }
}

/// The chain that a record ends with.
pub(crate) fn chain_of(record: &[u8]) -> Option<Chain> {
    record.last_chunk().map(|chain| Chain::from_bytes(*chain))
}
