//! The header of a transfer: the moment that the provider holds on to, and what will come of it.

use tombolo_crdt::{
    Chain, DecodeError, Dot, ReplicaId, SignedHead, VersionVector,
    codec::{Reader, put_varint},
};

use super::{Fingerprint, TransferFault};
use crate::log::Stream;

/// The most streams, and the most signed heads, of a header.
const STREAMS_MAX: u64 = 1 << 16;

/// A moment of a provider's store, as far as a receiver with a given vector lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The vector that the receiver asked with.
    pub(crate) asked: VersionVector,
    /// The provider's: everything up to there is in the transfer, or was removed.
    pub(crate) vector: VersionVector,
    /// The stream of each author in it.
    pub(crate) streams: Vec<(ReplicaId, Stream)>,
    /// For each author of whom the receiver lacks something, the signed head at its last record in the vector, ascending by author.
    pub(crate) heads: Vec<SignedHead>,
    /// The digest of all of it.
    pub(crate) digest: u128,
    /// About how many bytes of elements will come.
    pub(crate) bytes: u64,
    /// The elements that the receiver's vector does not cover.
    pub(crate) above: Fingerprint,
    /// Those that it covers.
    pub(crate) within: Fingerprint,
}

impl Header {
    /// The moment's name. Equal moments have equal names, at whatever provider.
    pub(crate) fn snapshot(&self) -> u64 {
        let mut out = Vec::new();
        self.encode(&mut out);
        let hash = blake3::hash(&out);
        hash.as_bytes().iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.asked.encode(out);
        self.vector.encode(out);
        for (_, stream) in &self.streams {
            out.extend_from_slice(stream.chain.as_bytes());
            stream.context.encode(out);
        }
        put_varint(out, self.heads.len() as u64);
        self.heads.iter().for_each(|head| head.encode(out));
        out.extend_from_slice(&self.digest.to_be_bytes());
        put_varint(out, self.bytes);
        self.above.encode(out);
        self.within.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let what = "transfer header";
        let asked = VersionVector::decode(reader)?;
        let vector = VersionVector::decode(reader)?;
        let mut streams = Vec::new();
        for dot in vector.iter() {
            let chain = Chain::from_bytes(reader.array(what)?);
            streams.push((dot.replica, Stream { chain, context: VersionVector::decode(reader)? }));
        }
        let count = reader.varint(what)?;
        if count > STREAMS_MAX {
            return Err(DecodeError::TooMany { what: "signed heads", count, max: STREAMS_MAX as usize });
        }
        let mut heads = Vec::new();
        for _ in 0..count {
            heads.push(SignedHead::decode(reader)?);
        }
        Ok(Self {
            asked,
            vector,
            streams,
            heads,
            digest: u128::from_be_bytes(reader.array(what)?),
            bytes: reader.varint(what)?,
            above: Fingerprint::decode(reader)?,
            within: Fingerprint::decode(reader)?,
        })
    }

    /// Refuses a header that contradicts itself: what a stream's author had seen is seen by whoever applied the stream.
    pub(crate) fn check(&self) -> Result<(), TransferFault> {
        for (replica, stream) in &self.streams {
            if !self.vector.includes(&stream.context) {
                return Err(TransferFault::Contradiction { replica: *replica });
            }
        }
        if self.above.sum.wrapping_add(self.within.sum) != self.digest {
            let promised = Fingerprint { count: self.above.count, sum: self.digest.wrapping_sub(self.within.sum) };
            return Err(TransferFault::Fingerprint { promised, found: self.above });
        }
        self.check_heads()
    }

    /// Each stream that brings something has a head at its last record, and there is no other head. Whether the signatures hold is found
    /// out by whoever knows keys.
    fn check_heads(&self) -> Result<(), TransferFault> {
        let mut heads = self.heads.iter();
        for (dot, chain) in self.brought() {
            if heads.next().is_none_or(|head| (head.dot, head.chain) != (dot, chain)) {
                return Err(TransferFault::Unsigned { dot });
            }
        }
        heads.next().map_or(Ok(()), |head| Err(TransferFault::StrayHead { dot: head.dot }))
    }

    /// The last record of each author of whom the receiver lacks something, with its chain, ascending by author.
    pub(crate) fn brought(&self) -> impl Iterator<Item = (Dot, Chain)> {
        let last =
            self.streams.iter().map(|(author, stream)| (Dot::new(*author, self.vector.seq(*author)), stream.chain));
        last.filter(|(dot, _)| !self.asked.covers(*dot))
    }
}
