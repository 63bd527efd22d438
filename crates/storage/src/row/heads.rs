//! `g ‖ commit number`: the signed heads under which records of other replicas came in, as one batch that ends at this commit.
//!
//! ```text
//! content := version (1) = 1 ‖ first commit of the batch ‖ count ‖ { head }     ascending by author, each once
//! head    := see `tombolo_crdt::SignedHead`
//! ```
//!
//! Written in the group of the batch. Each author that the batch holds records of has a head at its last one. The signatures
//! mean nothing to the store: it keeps them for whoever is offered the records.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError, SignedHead,
    codec::{Reader, put_varint},
};

use super::{Kind, seal, unseal};

const VERSION: u8 = 1;

/// Who signed a batch of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeadsRow {
    /// The first commit of the batch; the row's number is the last one.
    pub(crate) first: u64,
    /// Ascending by author.
    pub(crate) heads: Vec<SignedHead>,
}

/// The key of the row of the batch that ends with this commit.
pub(crate) fn key(commit: u64) -> Bytes {
    Kind::Heads.key(commit)
}

impl HeadsRow {
    pub(crate) fn encode(&self, number: u64) -> Bytes {
        let mut out = vec![VERSION];
        put_varint(&mut out, self.first);
        put_varint(&mut out, self.heads.len() as u64);
        self.heads.iter().for_each(|head| head.encode(&mut out));
        seal(&mut out, 0, number);
        out.into()
    }

    /// Reads a row; `None` when it does not carry its hash, or is none.
    pub(crate) fn decode(row: &Bytes, number: u64) -> Option<Self> {
        let read = Self::read(Reader::new(unseal(row, number)?)).ok()?;
        let is_ascending = read.heads.is_sorted_by(|a, b| a.dot.replica < b.dot.replica);
        (is_ascending && read.first <= number).then_some(read)
    }

    fn read(mut reader: Reader) -> Result<Self, DecodeError> {
        let what = "signed heads";
        match reader.u8(what)? {
            VERSION => {}
            found => return Err(DecodeError::UnknownVersion { found }),
        }
        let first = reader.varint(what)?;
        let count = reader.varint(what)?;
        let heads = (0..count).map(|_| SignedHead::decode(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish(what)?;
        Ok(Self { first, heads })
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Dot, ReplicaId};

    use super::*;

    fn head(replica: u64, seq: u64) -> SignedHead {
        let replica = ReplicaId::new(replica).unwrap();
        let (dot, chain) = (Dot::new(replica, seq), Chain::from_bytes([seq as u8; 16]));
        SignedHead { dot, chain, signer: replica, signature: [7; SignedHead::SIGNATURE_LEN] }
    }

    #[test]
    fn a_row_reads_back_at_its_own_place_alone() {
        let row = HeadsRow { first: 4, heads: vec![head(1, 9), head(2, 300)] };
        assert_eq!(HeadsRow::decode(&row.encode(6), 6), Some(row.clone()));
        assert_eq!(HeadsRow::decode(&row.encode(6), 7), None);
        let mut rotten = row.encode(6).to_vec();
        rotten[40] ^= 1;
        assert_eq!(HeadsRow::decode(&rotten.into(), 6), None);
    }

    #[test]
    fn what_no_store_writes_is_no_row() {
        for (first, heads) in [(4, vec![head(2, 1), head(1, 1)]), (4, vec![head(1, 1), head(1, 2)]), (7, vec![])] {
            assert_eq!(HeadsRow::decode(&HeadsRow { first, heads }.encode(6), 6), None);
        }
    }
}
