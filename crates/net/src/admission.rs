//! Admissions: signed statements that a replica with this key belongs to the mesh and counts in these slots.
//!
//! The mesh's founder signs its own; everyone else's is signed by the member that redeemed its ticket. An admission proves
//! nothing alone: it is worth what its issuer's admission is worth, and so on up to one that the reader holds already.
//!
//! The bytes: version (1) ‖ mesh (16) ‖ replica (8) ‖ key (32) ‖ first slot (2) ‖ slots (2) ‖ ticket (8) ‖ issuer (8) ‖
//! signature (64), integers big-endian. What is signed is [`DOMAIN`] and all of that but the signature.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{
    DecodeError, ReplicaId,
    codec::{Reader, put_varint},
};

use crate::{KeyPair, PublicKey, Roster, Signature, SlotRange};

/// Names one ticket of its issuer: random bits. The founder's admission, which no ticket made, has 0, and that of a successor the moment at which
/// it was signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// What an admission states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionTerms {
    /// The mesh.
    pub mesh: u128,
    /// Who is admitted.
    pub replica: ReplicaId,
    /// The key by which it is known.
    pub key: PublicKey,
    /// The slots it counts in and hands down from.
    pub slots: SlotRange,
    /// The ticket that was redeemed.
    pub ticket: TicketId,
    /// Who admits it.
    pub issuer: ReplicaId,
}

/// [`AdmissionTerms`] with the issuer's signature.
///
/// Reading one checks its form; whether the signature holds is asked with the key that the reader believes to be the
/// issuer's ([`Admission::is_signed_by`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What it states.
    pub terms: AdmissionTerms,
    /// The issuer's signature over it.
    pub signature: Signature,
}

/// Why a chain of admissions proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChainFault {
    /// There is no admission in it.
    #[error("the chain is empty")]
    Empty,
    /// An admission is of another mesh.
    #[error("the admission of {replica} is of another mesh")]
    WrongMesh {
        /// Whose admission it is.
        replica: ReplicaId,
    },
    /// An admission is followed by one that is not its issuer's.
    #[error("the admission of {replica} is not followed by that of its issuer {issuer}")]
    Broken {
        /// Whose admission it is.
        replica: ReplicaId,
        /// Who issued it.
        issuer: ReplicaId,
    },
    /// A signature that is not its issuer's.
    #[error("the admission of {replica} is not signed by {issuer}")]
    Forged {
        /// Whose admission it is.
        replica: ReplicaId,
        /// Who is said to have issued it.
        issuer: ReplicaId,
    },
    /// Slots that the issuer did not have.
    #[error("{issuer} gave {replica} slots that it does not own")]
    SlotsNotOwned {
        /// Whose admission it is.
        replica: ReplicaId,
        /// Who issued it.
        issuer: ReplicaId,
    },
    /// The chain ends at an admission that nobody here knows.
    #[error("the chain ends at {replica}, whom nobody here knows")]
    NoEnd {
        /// The last one's subject.
        replica: ReplicaId,
    },
}

impl Admission {
    /// Bytes of the encoding.
    pub const LEN: usize = TERMS_LEN + Signature::LEN;

    /// Signs `terms`. The caller is their issuer, and has checked that it owns the slots.
    pub fn sign(terms: AdmissionTerms, issuer: &KeyPair) -> Self {
        Self { signature: issuer.sign(&terms.signed_bytes()), terms }
    }

    /// The founder's own admission: signed by itself, with all slots.
    pub fn founder(mesh: u128, replica: ReplicaId, key: &KeyPair) -> Self {
        let terms = AdmissionTerms {
            mesh,
            replica,
            key: key.public(),
            slots: SlotRange::ALL,
            ticket: TicketId(0),
            issuer: replica,
        };
        Self::sign(terms, key)
    }

    /// What a replica says of the one that takes its place in its folder, with the same key and the same slots: it is valid once. `signed_ms` is the
    /// moment, in milliseconds since the Unix epoch: of several successors, the one admitted first counts.
    pub fn succession(predecessor: &AdmissionTerms, successor: ReplicaId, key: &KeyPair, signed_ms: u64) -> Self {
        let (ticket, issuer) = (TicketId(signed_ms), predecessor.replica);
        Self::sign(AdmissionTerms { replica: successor, ticket, issuer, ..*predecessor }, key)
    }

    /// Whether it has the form of a founder's: issued by its own subject.
    pub fn is_founders(&self) -> bool {
        self.terms.issuer == self.terms.replica
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(&self.terms.signed_bytes(), &self.signature)
    }

    /// Checks that `issuer` admitted the subject of `self`: its key signed, and the slots were its to give.
    pub fn check_issuer(&self, issuer: &AdmissionTerms) -> Result<(), ChainFault> {
        let terms = &self.terms;
        if terms.issuer != issuer.replica {
            return Err(ChainFault::Broken { replica: terms.replica, issuer: terms.issuer });
        }
        if !issuer.slots.includes(terms.slots) {
            return Err(ChainFault::SlotsNotOwned { replica: terms.replica, issuer: terms.issuer });
        }
        if !self.is_signed_by(&issuer.key) {
            return Err(ChainFault::Forged { replica: terms.replica, issuer: terms.issuer });
        }
        Ok(())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        self.terms.put(&mut out);
        out.extend_from_slice(&self.signature.0);
        out
    }

    /// Reads what [`Admission::encode`] wrote, and no other bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let admission = Self::read(&mut reader)?;
        reader.finish("admission")?;
        Ok(admission)
    }

    /// The bytes of a chain, from its subject's admission upwards.
    pub fn encode_chain(chain: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        put_chain(&mut out, chain);
        out
    }

    /// Reads what [`Admission::encode_chain`] wrote, and no other bytes.
    pub fn decode_chain(bytes: Bytes) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let chain = read_chain(&mut reader)?;
        reader.finish("admissions")?;
        Ok(chain)
    }

    /// Reads one admission of several.
    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let terms = AdmissionTerms::read(reader)?;
        Ok(Self { terms, signature: Signature(reader.array("signature")?) })
    }
}

pub(crate) fn put_chain(out: &mut Vec<u8>, chain: &[Admission]) {
    put_varint(out, chain.len() as u64);
    for admission in chain {
        out.extend_from_slice(&admission.encode());
    }
}

pub(crate) fn read_chain(reader: &mut Reader) -> Result<Vec<Admission>, DecodeError> {
    let count = reader.varint("admissions")?;
    if count > Roster::CHAIN_MAX as u64 {
        return Err(DecodeError::TooMany { what: "admissions", count, max: Roster::CHAIN_MAX });
    }
    (0..count).map(|_| Admission::read(reader)).collect()
}

/// Checks a chain, from its subject upwards, to the first admission whose issuer `known` knows.
///
/// `known` answers the terms under which a replica was admitted, if the reader believes them already. Admissions above
/// the first known issuer are not looked at.
#[cfg(feature = "quic")]
pub(crate) fn check_chain(
    mesh: u128,
    chain: &[Admission],
    known: impl Fn(ReplicaId) -> Option<AdmissionTerms>,
) -> Result<(), ChainFault> {
    let mut rest = chain.iter();
    let mut admission = rest.next().ok_or(ChainFault::Empty)?;
    loop {
        let AdmissionTerms { mesh: found, replica, issuer, .. } = admission.terms;
        if found != mesh {
            return Err(ChainFault::WrongMesh { replica });
        }
        if let Some(issuer) = known(issuer) {
            return admission.check_issuer(&issuer);
        }
        let Some(above) = rest.next().filter(|_| !admission.is_founders()) else {
            return Err(ChainFault::NoEnd { replica });
        };
        if above.terms.replica != issuer {
            return Err(ChainFault::Broken { replica, issuer });
        }
        admission.check_issuer(&above.terms)?;
        admission = above;
    }
}

/// Checks every link of a chain that its reader believes at the top: that of its own admission, which a ticket's issuer gave.
/// The top is a founder's admission, unless the chain is as long as chains get.
#[cfg(feature = "quic")]
pub(crate) fn check_links(mesh: u128, chain: &[Admission]) -> Result<(), ChainFault> {
    let top = chain.last().ok_or(ChainFault::Empty)?.terms;
    if top.issuer != top.replica && chain.len() < Roster::CHAIN_MAX {
        return Err(ChainFault::NoEnd { replica: top.replica });
    }
    for (at, admission) in chain.iter().enumerate() {
        if admission.terms.mesh != mesh {
            return Err(ChainFault::WrongMesh { replica: admission.terms.replica });
        }
        match chain.get(at + 1) {
            Some(above) => admission.check_issuer(&above.terms)?,
            None if admission.is_founders() => admission.check_issuer(&top)?,
            None => {}
        }
    }
    Ok(())
}

impl AdmissionTerms {
    /// Whether these are the terms of the issuer's own successor: everything but the name is its issuer's.
    pub fn succeeds(&self, issuer: &Self) -> bool {
        let is_anothers = self.replica != issuer.replica && self.issuer == issuer.replica;
        is_anothers && (self.mesh, self.key, self.slots) == (issuer.mesh, issuer.key, issuer.slots)
    }

    /// What decides between several successors of one replica: the least counts.
    pub(crate) fn precedence(&self) -> (u64, ReplicaId) {
        (self.ticket.0, self.replica)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(DOMAIN.len() + TERMS_LEN);
        out.extend_from_slice(DOMAIN);
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.mesh.to_be_bytes());
        out.extend_from_slice(&self.replica.get().to_be_bytes());
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.slots.first.to_be_bytes());
        out.extend_from_slice(&self.slots.count.to_be_bytes());
        out.extend_from_slice(&self.ticket.0.to_be_bytes());
        out.extend_from_slice(&self.issuer.get().to_be_bytes());
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8("admission version")? {
            VERSION => {}
            found => return Err(DecodeError::UnknownVersion { found }),
        }
        Ok(Self {
            mesh: u128::from_be_bytes(reader.array("mesh")?),
            replica: reader.replica_id("admitted replica")?,
            key: PublicKey(reader.array("key")?),
            slots: read_slots(reader)?,
            ticket: TicketId(reader.u64("ticket")?),
            issuer: reader.replica_id("issuer")?,
        })
    }
}

/// Reads a range of slots: at least one, all below [`SlotRange::ALL`]'s end.
pub(crate) fn read_slots(reader: &mut Reader) -> Result<SlotRange, DecodeError> {
    let first = u16::from_be_bytes(reader.array("first slot")?);
    let count = u16::from_be_bytes(reader.array("slot count")?);
    let slots = SlotRange { first, count };
    if count == 0 || !SlotRange::ALL.includes(slots) {
        return Err(DecodeError::NotCanonical { what: "slots" });
    }
    Ok(slots)
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const VERSION: u8 = 1;
/// What sets signatures of admissions apart from all others under the same key.
const DOMAIN: &[u8] = b"tombolo/admission\0";
/// Bytes of the terms: version, mesh, replica, key, two of slots, ticket, issuer.
const TERMS_LEN: usize = 1 + 16 + 8 + 32 + 2 + 2 + 8 + 8;

#[cfg(test)]
mod tests;
