//! Signed heads: what proves that an author wrote its records up to one of them.
//!
//! A chain binds a record to all of its author's before it, so that one signature over a chain speaks for a whole stretch. This
//! is the statement's form and its bytes; who signs and who checks lies above, for nothing here knows keys.
//!
//! ```text
//! head := replica (8) ‖ seq ‖ chain (16) ‖ signer (relative replica) ‖ signature (64)
//! ```

use crate::{
    Chain, DecodeError, Dot, ReplicaId,
    codec::{Reader, put_replica, put_varint},
};

/// The chain of an author's record, and a signature over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedHead {
    /// The record.
    pub dot: Dot,
    /// Its chain.
    pub chain: Chain,
    /// Who signed: the author, or whoever speaks for an author that belongs to no mesh any more.
    pub signer: ReplicaId,
    /// The signature.
    pub signature: [u8; Self::SIGNATURE_LEN],
}

impl SignedHead {
    /// Bytes of a signature.
    pub const SIGNATURE_LEN: usize = 64;
    /// The fewest bytes of a head.
    pub const BYTES_MIN: usize = ReplicaId::LEN + 1 + Chain::LEN + 1 + Self::SIGNATURE_LEN;

    /// Whether the author itself signed.
    pub fn is_authors(&self) -> bool {
        self.signer == self.dot.replica
    }

    /// Writes the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.dot.replica.get().to_be_bytes());
        put_varint(out, self.dot.seq);
        out.extend_from_slice(self.chain.as_bytes());
        put_replica(out, self.signer, self.dot.replica);
        out.extend_from_slice(&self.signature);
    }

    /// Reads what [`SignedHead::encode`] wrote, and no other bytes.
    ///
    /// # Errors
    ///
    /// The bytes are none of a head.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let what = "signed head";
        let dot = Dot::new(reader.replica_id(what)?, reader.seq(what)?);
        let chain = Chain::from_bytes(reader.array(what)?);
        let signer = reader.replica(dot.replica, what)?;
        Ok(Self { dot, chain, signer, signature: reader.array(what)? })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn head(signer: u64) -> SignedHead {
        let id = |bits| ReplicaId::new(bits).unwrap();
        let dot = Dot::new(id(7), 300);
        SignedHead { dot, chain: Chain::from_bytes([3; 16]), signer: id(signer), signature: [9; 64] }
    }

    fn encoded(head: &SignedHead) -> Vec<u8> {
        let mut out = Vec::new();
        head.encode(&mut out);
        out
    }

    #[test]
    fn a_head_has_one_encoding() {
        for (head, is_authors) in [(head(7), true), (head(8), false)] {
            assert_eq!(head.is_authors(), is_authors);
            let bytes = encoded(&head);
            let mut reader = Reader::new(bytes.clone().into());
            assert_eq!(SignedHead::decode(&mut reader), Ok(head));
            assert_eq!(reader.remaining(), 0);
            for len in 0..bytes.len() {
                let cut = Bytes::copy_from_slice(&bytes[..len]);
                assert!(SignedHead::decode(&mut Reader::new(cut)).is_err(), "cut at {len}");
            }
        }
    }

    #[test]
    fn an_author_that_signs_is_not_named_twice() {
        let mut bytes = encoded(&head(8));
        let at = bytes.len() - 64 - 8;
        bytes[at..at + 8].copy_from_slice(&7_u64.to_be_bytes());
        assert!(SignedHead::decode(&mut Reader::new(bytes.into())).is_err());
    }
}
