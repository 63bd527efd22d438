//! Signing chain heads, and judging whose they are.
//!
//! What is signed is [`DOMAIN`] ‖ mesh (16) ‖ author (8) ‖ seq (8) ‖ chain (16) ‖ signer (8), integers big-endian. The signer is
//! named because one key may serve several names, and a mesh because a folder's past may lie in another one.
//!
//! An author signs for itself. For authors that are members of no mesh any more, because what they wrote was restored from a
//! backup, the founder of the new mesh speaks: it brought their records, and nobody else can.

use thiserror::Error;
use tombolo_crdt::{Chain, Dot, ReplicaId, SignedHead};

use crate::{KeyPair, Roster, RosterEntry, Signature};

/// Why a signed head proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeadFault {
    /// Nobody here knows the author's key.
    #[error("nobody has proven who {author} is")]
    Unproven {
        /// The author.
        author: ReplicaId,
    },
    /// The signature is not that of the one who is said to have signed, or who may not sign for this author.
    #[error("the signature of {dot} is not its author's")]
    Forged {
        /// The record that it is said to cover.
        dot: Dot,
    },
}

/// Signs the head of a stream, as `signer`.
pub fn sign_head(mesh: u128, dot: Dot, chain: Chain, signer: ReplicaId, key: &KeyPair) -> SignedHead {
    let Signature(signature) = key.sign(&statement(mesh, dot, chain, signer));
    SignedHead { dot, chain, signer, signature }
}

impl HeadFault {
    /// Whose head it is.
    pub fn author(&self) -> ReplicaId {
        match self {
            Self::Unproven { author } => *author,
            Self::Forged { dot } => dot.replica,
        }
    }
}

impl Roster {
    /// Judges heads by the keys of this roster and, where those are not enough, of whom `brought` prove to be admitted by somebody in it. What is brought
    /// is asked for only then.
    ///
    /// # Errors
    ///
    /// The first head that proves nothing, or `brought` has failed.
    pub fn judge_heads<E: From<HeadFault>>(
        &self,
        mesh: u128,
        heads: &[SignedHead],
        brought: impl FnOnce() -> Result<Vec<RosterEntry>, E>,
    ) -> Result<(), E> {
        let (mut brought, mut joined) = (Some(brought), None);
        for head in heads {
            let mut judged = self.judge_head(mesh, head);
            if matches!(judged, Err(HeadFault::Unproven { .. })) {
                if let Some(brought) = brought.take() {
                    joined = Some(self.joined_by(mesh, brought()?));
                }
                judged = joined.as_ref().map_or(judged, |joined: &Self| joined.judge_head(mesh, head));
            }
            judged?;
        }
        Ok(())
    }

    /// Judges a head by the keys of this roster.
    ///
    /// # Errors
    ///
    /// The author is unknown, or it did not sign this.
    pub fn judge_head(&self, mesh: u128, head: &SignedHead) -> Result<(), HeadFault> {
        let author = head.dot.replica;
        let forged = HeadFault::Forged { dot: head.dot };
        let signer = match (self.member(author), self.member(head.signer)) {
            (Some(known), _) if head.is_authors() => known,
            // Who has a key speaks for itself.
            (Some(_), _) => return Err(forged),
            (None, Some(speaker)) if speaker.admission.is_founders() => speaker,
            (None, _) => return Err(HeadFault::Unproven { author }),
        };
        let statement = statement(mesh, head.dot, head.chain, head.signer);
        if signer.key().verifies(&statement, &Signature(head.signature)) { Ok(()) } else { Err(forged) }
    }
}

fn statement(mesh: u128, dot: Dot, chain: Chain, signer: ReplicaId) -> Vec<u8> {
    let mut out = Vec::with_capacity(DOMAIN.len() + STATEMENT_LEN);
    out.extend_from_slice(DOMAIN);
    out.extend_from_slice(&mesh.to_be_bytes());
    out.extend_from_slice(&dot.replica.get().to_be_bytes());
    out.extend_from_slice(&dot.seq.to_be_bytes());
    out.extend_from_slice(chain.as_bytes());
    out.extend_from_slice(&signer.get().to_be_bytes());
    out
}

/// What sets signatures of heads apart from all others under the same key.
const DOMAIN: &[u8] = b"tombolo/head\0";
/// Bytes of what follows: mesh, author, seq, chain, signer.
const STATEMENT_LEN: usize = 16 + 8 + 8 + 16 + 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Admission, AdmissionTerms, SlotRange, SystemKey, TicketId};

    const MESH: u128 = 7;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn key(bits: u64) -> KeyPair {
        KeyPair::from_seed(&[bits as u8; 32]).unwrap()
    }

    /// 1 is the founder, 2 was admitted by it.
    fn roster() -> Roster {
        let terms = AdmissionTerms {
            mesh: MESH,
            replica: id(2),
            key: key(2).public(),
            slots: SlotRange { first: 8, count: 8 },
            ticket: TicketId(1),
            issuer: id(1),
        };
        let admissions = [Admission::founder(MESH, id(1), &key(1)), Admission::sign(terms, &key(1))];
        let entry = |admission: Admission| RosterEntry {
            key: SystemKey::Admission(admission.terms.replica).to_string().into(),
            author: admission.terms.issuer,
            seq: 0,
            value: admission.encode().into(),
        };
        Roster::new(MESH, admissions.map(entry))
    }

    fn head(author: u64, signer: u64, key_of: u64) -> SignedHead {
        sign_head(MESH, Dot::new(id(author), 5), Chain::from_bytes([9; 16]), id(signer), &key(key_of))
    }

    #[test]
    fn an_author_is_believed_under_its_own_key_alone() {
        let roster = roster();
        let forged = Err(HeadFault::Forged { dot: Dot::new(id(2), 5) });
        assert_eq!(roster.judge_head(MESH, &head(2, 2, 2)), Ok(()));
        assert_eq!(roster.judge_head(MESH, &head(2, 2, 1)), forged, "another key");
        assert_eq!(roster.judge_head(MESH, &head(2, 1, 1)), forged, "the founder does not speak for a member");
        assert_eq!(roster.judge_head(MESH + 1, &head(2, 2, 2)), forged, "said in another mesh");
    }

    #[test]
    fn a_signature_holds_for_what_it_was_made_over() {
        let (roster, head) = (roster(), head(2, 2, 2));
        let forged = |head: SignedHead| roster.judge_head(MESH, &head).is_err();
        assert!(forged(SignedHead { dot: Dot::new(id(2), 6), ..head }));
        assert!(forged(SignedHead { dot: Dot::new(id(1), 5), ..head }));
        assert!(forged(SignedHead { chain: Chain::from_bytes([8; 16]), ..head }));
        for at in 0..SignedHead::SIGNATURE_LEN {
            let mut bent = head;
            bent.signature[at] ^= 1;
            assert!(forged(bent), "byte {at}");
        }
    }

    #[test]
    fn for_those_of_no_mesh_the_founder_speaks_and_no_other() {
        let roster = roster();
        let unproven = Err(HeadFault::Unproven { author: id(9) });
        assert_eq!(roster.judge_head(MESH, &head(9, 1, 1)), Ok(()));
        assert_eq!(roster.judge_head(MESH, &head(9, 1, 2)), Err(HeadFault::Forged { dot: Dot::new(id(9), 5) }));
        assert_eq!(roster.judge_head(MESH, &head(9, 2, 2)), unproven);
        assert_eq!(roster.judge_head(MESH, &head(9, 9, 9)), unproven);
    }
}
