//! Statements: what one member says of another's place in the mesh, signed by the one that says it.
//!
//! A statement is data like any other and travels with the records. It counts only if its maker is a member and wrote it
//! itself, so that nobody can say an old one again; what several of them come to is decided in `membership.rs`.
//!
//! The bytes: version (1) ‖ mesh (16) ‖ subject (8) ‖ kind (1) ‖ argument (8) ‖ made at (8) ‖ maker (8) ‖ signature (64),
//! integers big-endian. What is signed is [`DOMAIN`] and all of that but the signature.

use bytes::Bytes;
use tombolo_crdt::{DecodeError, ReplicaId, codec::Reader};

use crate::{KeyPair, PublicKey, Signature, SystemKey};

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Saying {
    /// It is a member like any other (again).
    Active,
    /// No log is kept for it.
    Parked {
        /// Whether its maker had a connection to it: who is parked while it is there goes on being parked until it comes again.
        was_present: bool,
    },
    /// It is no member any more, for ever.
    Removed,
    /// The maker has learned of the removal and takes no record from the removed one itself any more.
    Closed,
    /// The time of its leases is counted by this replica.
    LeaseHeir(ReplicaId),
}

/// What a statement consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementTerms {
    /// The mesh.
    pub mesh: u128,
    /// Of whom it is said.
    pub subject: ReplicaId,
    /// What is said.
    pub saying: Saying,
    /// When it was made: milliseconds since the Unix epoch by its maker's clock. For people; nothing is decided by it.
    pub made_ms: u64,
    /// Who says it.
    pub maker: ReplicaId,
}

/// [`StatementTerms`] with their maker's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it consists of.
    pub terms: StatementTerms,
    /// The maker's signature over that.
    pub signature: Signature,
}

impl Statement {
    /// Bytes of the encoding.
    pub const LEN: usize = TERMS_LEN + Signature::LEN;

    /// Signs `terms`. The caller is their maker.
    pub fn sign(terms: StatementTerms, maker: &KeyPair) -> Self {
        Self { signature: maker.sign(&terms.signed_bytes()), terms }
    }

    /// Whether the signature is that of `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(&self.terms.signed_bytes(), &self.signature)
    }

    /// The key of the system data under which it counts.
    pub fn key(&self) -> SystemKey {
        let StatementTerms { subject, maker, .. } = self.terms;
        match self.terms.saying {
            Saying::Active | Saying::Parked { .. } => SystemKey::State(subject),
            Saying::Removed => SystemKey::Removal(subject),
            Saying::Closed => SystemKey::Closed(subject, maker),
            Saying::LeaseHeir(_) => SystemKey::LeaseHeir(subject),
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        self.terms.put(&mut out);
        out.extend_from_slice(&self.signature.0);
        out
    }

    /// Reads what [`Statement::encode`] wrote, and no other bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let terms = StatementTerms::read(&mut reader)?;
        let statement = Self { terms, signature: Signature(reader.array("signature")?) };
        reader.finish("statement")?;
        Ok(statement)
    }
}

impl StatementTerms {
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(DOMAIN.len() + TERMS_LEN);
        out.extend_from_slice(DOMAIN);
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (kind, argument) = match self.saying {
            Saying::Active => (ACTIVE, 0),
            Saying::Parked { was_present } => (PARKED, u64::from(was_present)),
            Saying::Removed => (REMOVED, 0),
            Saying::Closed => (CLOSED, 0),
            Saying::LeaseHeir(heir) => (LEASE_HEIR, heir.get()),
        };
        out.push(VERSION);
        out.extend_from_slice(&self.mesh.to_be_bytes());
        out.extend_from_slice(&self.subject.get().to_be_bytes());
        out.push(kind);
        out.extend_from_slice(&argument.to_be_bytes());
        out.extend_from_slice(&self.made_ms.to_be_bytes());
        out.extend_from_slice(&self.maker.get().to_be_bytes());
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8("statement version")? {
            VERSION => {}
            found => return Err(DecodeError::UnknownVersion { found }),
        }
        let mesh = u128::from_be_bytes(reader.array("mesh")?);
        let subject = reader.replica_id("subject")?;
        let saying = match (reader.u8("kind")?, reader.u64("argument")?) {
            (ACTIVE, 0) => Saying::Active,
            (PARKED, was_present @ 0..=1) => Saying::Parked { was_present: was_present == 1 },
            (REMOVED, 0) => Saying::Removed,
            (CLOSED, 0) => Saying::Closed,
            (LEASE_HEIR, heir) if heir != 0 => {
                let heir = ReplicaId::new(heir).ok_or(DecodeError::NotCanonical { what: "heir" })?;
                Saying::LeaseHeir(heir)
            }
            _ => return Err(DecodeError::NotCanonical { what: "statement" }),
        };
        let made_ms = reader.u64("made at")?;
        Ok(Self { mesh, subject, saying, made_ms, maker: reader.replica_id("maker")? })
    }
}

const VERSION: u8 = 1;
const ACTIVE: u8 = 1;
const PARKED: u8 = 2;
const REMOVED: u8 = 3;
const CLOSED: u8 = 4;
const LEASE_HEIR: u8 = 5;
/// What sets signatures of statements apart from all others under the same key.
const DOMAIN: &[u8] = b"tombolo/statement\0";
/// Bytes of the terms: version, mesh, subject, kind, argument, moment, maker.
const TERMS_LEN: usize = 1 + 16 + 8 + 1 + 8 + 8 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn statements() -> Vec<Statement> {
        let key = KeyPair::from_seed(&[1; 32]).unwrap();
        let sayings = [
            Saying::Active,
            Saying::Parked { was_present: false },
            Saying::Parked { was_present: true },
            Saying::Removed,
            Saying::Closed,
            Saying::LeaseHeir(id(3)),
        ];
        let of = |saying| StatementTerms { mesh: 7, subject: id(2), saying, made_ms: 5, maker: id(1) };
        sayings.into_iter().map(|saying| Statement::sign(of(saying), &key)).collect()
    }

    #[test]
    fn statements_read_back_as_written_and_nothing_else_reads() {
        for statement in statements() {
            let bytes = statement.encode();
            assert_eq!(bytes.len(), Statement::LEN);
            assert_eq!(Statement::decode(bytes.clone().into()), Ok(statement));
            for len in 0..bytes.len() {
                assert!(Statement::decode(bytes[..len].to_vec().into()).is_err(), "{len}");
            }
            assert!(Statement::decode([&bytes[..], &[0]].concat().into()).is_err());
        }
    }

    #[test]
    fn every_byte_is_signed() {
        let key = KeyPair::from_seed(&[1; 32]).unwrap().public();
        for statement in statements() {
            assert!(statement.is_signed_by(&key));
            let bytes = statement.encode();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                let read = Statement::decode(changed.into());
                assert!(!read.is_ok_and(|read| read.is_signed_by(&key)), "byte {at} of {statement:?}");
            }
        }
    }

    #[test]
    fn whatever_is_read_has_one_encoding() {
        for bytes in statements().iter().map(Statement::encode) {
            for (at, to) in (0..bytes.len()).flat_map(|at| (0..=255).map(move |to| (at, to))) {
                let mut changed = bytes.clone();
                changed[at] = to;
                let read = Statement::decode(changed.clone().into());
                assert!(read.is_err() || read.is_ok_and(|read| read.encode() == changed), "{at} to {to}");
            }
        }
    }
}
