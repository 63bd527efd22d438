//! Records: one transaction as logged and shipped, and its canonical bytes.
//!
//! ```text
//! record := body ‖ chain (16)
//! body   := version (1) = 1 ‖ author (8) ‖ seq ‖ hlc (8)
//!           ‖ count ‖ { replica (8) ‖ seq }        the context delta, ascending
//!           ‖ count ‖ { kind ‖ length ‖ body }     the operations
//! ```
//!
//! Fixed integers are big-endian, the others minimal varints. Records are kept and passed on as the bytes their author
//! wrote. Signatures are not part of a record: they cover chain heads, one for each group of commits.

use bytes::Bytes;

use crate::{
    Chain, DecodeError, Dot, Hlc, Operation, VersionVector,
    codec::{Reader, put_varint},
};

/// The largest record, in bytes: what one transaction of etcd's default limits can need, several times over, and little
/// enough to hold a few for every peer.
pub const RECORD_BYTES_MAX: usize = 8 << 20;

const VERSION: u8 = 1;

/// One transaction as logged and shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who wrote it, when, and after what.
    pub header: RecordHeader,
    /// What it did, in the order of the transaction.
    pub operations: Vec<Operation>,
}

/// A record without its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The record's name.
    pub dot: Dot,
    /// Its stamp.
    pub hlc: Hlc,
    /// The entries of the author's frontier that changed since its previous record, the author's own left out (it is always
    /// the seq before). Applied to the previous full context it gives this record's.
    pub context_delta: VersionVector,
    /// The hash over the author's previous chain and this record. [`Record::encode`] computes it.
    pub chain: Chain,
}

impl Record {
    /// Writes the record after `previous`, the author's last chain, and returns its bytes and its chain.
    ///
    /// The header's own `chain` is not looked at.
    pub fn encode(&self, previous: &Chain) -> (Bytes, Chain) {
        let mut out = Vec::with_capacity(64 + self.operations.iter().map(size_hint).sum::<usize>());
        let RecordHeader { dot, hlc, context_delta, .. } = &self.header;
        out.push(VERSION);
        out.extend_from_slice(&dot.replica.get().to_be_bytes());
        put_varint(&mut out, dot.seq);
        out.extend_from_slice(&hlc.bits().to_be_bytes());
        put_varint(&mut out, context_delta.len() as u64);
        for entry in context_delta.iter() {
            out.extend_from_slice(&entry.replica.get().to_be_bytes());
            put_varint(&mut out, entry.seq);
        }
        put_varint(&mut out, self.operations.len() as u64);
        let mut scratch = Vec::new();
        for operation in &self.operations {
            operation.encode(dot.replica, &mut scratch, &mut out);
        }
        let chain = previous.link(&out);
        out.extend_from_slice(chain.as_bytes());
        (out.into(), chain)
    }

    /// Reads a record. Keys and values share the input's memory.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let (header, mut reader, count) = decode_header(bytes)?;
        let mut operations = Vec::new();
        for _ in 0..count {
            operations.push(Operation::decode(&mut reader, header.dot.replica)?);
        }
        reader.finish("record")?;
        Ok(Self { header, operations })
    }

    /// Whether `bytes` carry the chain that follows `previous`.
    pub fn follows(bytes: &[u8], previous: &Chain) -> bool {
        match bytes.split_last_chunk::<{ Chain::LEN }>() {
            Some((body, chain)) => previous.link(body).as_bytes() == chain,
            None => false,
        }
    }

    /// The operations with the index of the first element each adds.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Operation)> {
        self.operations.iter().scan(0_u32, |next, operation| {
            let first = *next;
            *next += operation.adds();
            Some((first, operation))
        })
    }
}

impl RecordHeader {
    /// Reads the header alone. O(context delta).
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        decode_header(bytes).map(|(header, ..)| header)
    }
}

fn size_hint(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value, .. } => key.len() + value.len() + 48,
        _ => 64,
    }
}

/// Returns the header, a reader that stands at the operations, and their count.
fn decode_header(bytes: Bytes) -> Result<(RecordHeader, Reader, u64), DecodeError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLarge { what: "record", bytes: bytes.len(), max: RECORD_BYTES_MAX });
    }
    let (_, chain) =
        bytes.split_last_chunk::<{ Chain::LEN }>().ok_or(DecodeError::Truncated { what: "record chain" })?;
    let chain = Chain::from_bytes(*chain);
    let mut reader = Reader::new(bytes.slice(..bytes.len() - Chain::LEN));
    match reader.u8("record version")? {
        VERSION => {}
        found => return Err(DecodeError::UnknownVersion { found }),
    }
    let dot = Dot::new(reader.replica_id("author")?, reader.varint("seq")?);
    if dot.seq == 0 {
        return Err(DecodeError::NotCanonical { what: "seq" });
    }
    let hlc = Hlc::from_bits(reader.u64("hlc")?);
    let context_delta = decode_delta(&mut reader, dot)?;
    let count = reader.varint("operation count")?;
    // Every operation takes at least two bytes, so that a false count is seen before anything is read for it.
    if count > reader.remaining() as u64 / 2 {
        return Err(DecodeError::Truncated { what: "operations" });
    }
    Ok((RecordHeader { dot, hlc, context_delta, chain }, reader, count))
}

fn decode_delta(reader: &mut Reader, dot: Dot) -> Result<VersionVector, DecodeError> {
    let what = "context delta";
    let mut last = None;
    let mut delta = VersionVector::new();
    for _ in 0..reader.varint(what)? {
        let replica = reader.replica_id(what)?;
        let seq = reader.varint(what)?;
        if seq == 0 || replica == dot.replica || last >= Some(replica) {
            return Err(DecodeError::NotCanonical { what });
        }
        last = Some(replica);
        delta.raise(replica, seq);
    }
    Ok(delta)
}
