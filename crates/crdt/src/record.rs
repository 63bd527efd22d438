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
//! wrote. Signatures are not part of a record: they cover chain heads, one for each group of commits. `docs/format.md` has
//! the bytes of every operation and the reasons.

use bytes::Bytes;

use crate::{
    Chain, DecodeError, Dot, Hlc, Operation, VersionVector,
    codec::{Reader, put_varint},
};

/// The largest record, in bytes: what one transaction of etcd's default limits can need, several times over, and little
/// enough to hold a few for every peer.
pub const RECORD_BYTES_MAX: usize = 8 << 20;

/// The most operations of a record. Their bytes run out first for any but the shortest keys, and a record of empty
/// operations can not make its reader allocate fifty times its size.
pub const RECORD_OPERATIONS_MAX: usize = 1 << 17;

const VERSION: u8 = 1;

/// The shortest operation is a kind and a length of 0.
const OPERATION_BYTES_MIN: usize = 2;

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
    /// Writes the record after `previous`, the author's last chain, and returns its bytes and its chain. O(size).
    ///
    /// The header's own `chain` is not looked at. The caller refuses a transaction whose record would be larger than
    /// [`RECORD_BYTES_MAX`] or [`RECORD_OPERATIONS_MAX`], and gives the operations in the form their documentation asks for
    /// (lists ascending, no number 0, no kind known here as [`Operation::Unknown`]): no replica could read anything else, and
    /// a debug build says so at once.
    pub fn encode(&self, previous: &Chain) -> (Bytes, Chain) {
        let mut out = self.encode_unbound();
        let chain = Self::bind(&mut out, previous);
        (out.into(), chain)
    }

    /// As [`encode`](Self::encode), but with nothing where the chain belongs, until [`bind`](Self::bind) is told what came before. Computing a
    /// chain is most of the work that encoding is, and only its author's next record waits for it.
    pub fn encode_unbound(&self) -> Vec<u8> {
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
        for operation in &self.operations {
            operation.encode(dot.replica, &mut out);
        }
        out.extend_from_slice(&[0; Chain::LEN]);
        debug_assert!(
            self.is_beyond_limits(&out) || Self::decode(out.clone().into()).is_ok_and(|read| self.same_content(&read)),
            "nobody could read the record {dot} that is about to be written"
        );
        out
    }

    /// Writes the chain that follows `previous` to the end of an encoded record, and returns it. O(size).
    ///
    /// # Panics
    ///
    /// The bytes are shorter than a chain, and so no record.
    pub fn bind(bytes: &mut [u8], previous: &Chain) -> Chain {
        let (body, place) = bytes.split_last_chunk_mut::<{ Chain::LEN }>().expect("a record ends with a chain");
        let chain = previous.link(body);
        *place = *chain.as_bytes();
        chain
    }

    /// Reads a record. O(size).
    ///
    /// Keys and values share the input's memory: copy what is to outlive it by much. What is allocated beside the input is
    /// at most eight times its size for lists of elements, and [`RECORD_OPERATIONS_MAX`] operations.
    ///
    /// # Errors
    ///
    /// The bytes are not what [`Record::encode`] writes for any record, or are too many. Neither the chain nor the context
    /// is judged: [`Record::follows`] and [`Record::extend_context`] do that.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let (header, mut reader, count) = decode_header(bytes)?;
        let mut operations = Vec::new();
        for _ in 0..count {
            operations.push(Operation::decode(&mut reader, header.dot)?);
        }
        reader.finish("record")?;
        Ok(Self { header, operations })
    }

    /// Whether the last bytes of a record are the chain that follows `previous`. O(size).
    pub fn follows(bytes: &[u8], previous: &Chain) -> bool {
        match bytes.split_last_chunk::<{ Chain::LEN }>() {
            Some((body, chain)) => previous.link(body).as_bytes() == chain,
            None => false,
        }
    }

    /// The operations with the index of the first element each adds.
    ///
    /// What follows an operation of an unknown kind is numbered as if that added nothing, which may be wrong: a replica stops
    /// before a record that holds one.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Operation)> {
        self.operations.iter().scan(0_u32, |next, operation| {
            let first = *next;
            *next += operation.adds();
            Some((first, operation))
        })
    }
}

impl Record {
    fn is_beyond_limits(&self, bytes: &[u8]) -> bool {
        bytes.len() > RECORD_BYTES_MAX || self.operations.len() > RECORD_OPERATIONS_MAX
    }

    /// Whether both say the same; the chain, which `encode` computes, left aside.
    fn same_content(&self, other: &Self) -> bool {
        let RecordHeader { dot, hlc, context_delta, chain: _ } = &other.header;
        (dot, hlc, context_delta, &other.operations)
            == (&self.header.dot, &self.header.hlc, &self.header.context_delta, &self.operations)
    }
}

impl RecordHeader {
    /// Reads the header alone. O(context delta).
    ///
    /// # Errors
    ///
    /// As [`Record::decode`], for what precedes the operations.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        decode_header(bytes).map(|(header, ..)| header)
    }
}

fn size_hint(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value, .. } | Operation::SystemPut { key, value, .. } => key.len() + value.len() + 48,
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
    let dot = Dot::new(reader.replica_id("author")?, reader.seq("seq")?);
    let hlc = Hlc::from_bits(reader.u64("hlc")?);
    let context_delta = decode_delta(&mut reader, dot)?;
    let count = reader.varint("operation count")?;
    // A false count is seen before anything is read for it.
    if count > (reader.remaining() / OPERATION_BYTES_MIN) as u64 {
        return Err(DecodeError::Truncated { what: "operations" });
    }
    if count > RECORD_OPERATIONS_MAX as u64 {
        return Err(DecodeError::TooMany { what: "operations", count, max: RECORD_OPERATIONS_MAX });
    }
    Ok((RecordHeader { dot, hlc, context_delta, chain }, reader, count))
}

fn decode_delta(reader: &mut Reader, dot: Dot) -> Result<VersionVector, DecodeError> {
    let what = "context delta";
    let mut last = None;
    let mut delta = VersionVector::new();
    for _ in 0..reader.varint(what)? {
        let replica = reader.replica_id(what)?;
        let seq = reader.seq(what)?;
        if replica == dot.replica || last >= Some(replica) {
            return Err(DecodeError::NotCanonical { what });
        }
        last = Some(replica);
        delta.raise(replica, seq);
    }
    Ok(delta)
}
