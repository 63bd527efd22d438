//! The pieces of a tail, as its bytes come in portions of any size. Nothing here knows a store.
//!
//! A piece says what the file says, no more: nothing of it is to be acted upon before [`Piece::End`] has come, with which the
//! checksum has turned out to be that of everything before.

use bytes::{Buf, Bytes, BytesMut};
use tombolo_crdt::{Dot, Operation, RECORD_BYTES_MAX, RangeRemove, Record, ReplicaId, VersionVector, codec::Reader};

use super::{CHECKSUM_LEN, MESH_LEN, STREAM_LEN, TAIL_MAGIC, TailError, TailStream, VERSION, removes_ranges};
use crate::{MeshId, row::read_vector};

/// What comes next in a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The mesh it is of: the first piece.
    Mesh(MeshId),
    /// From here on records of this author's; `last` is the one before its first.
    Stream(TailStream),
    /// The next record of the stream.
    Record {
        /// The record.
        record: Record,
        /// As its author wrote it.
        bytes: Bytes,
        /// What the author had applied, when the record removes a range.
        context: Option<VersionVector>,
    },
    /// The file is whole.
    End,
}

/// A tail that is being read.
#[derive(Debug, Default)]
pub struct TailReader {
    buffer: BytesMut,
    hasher: blake3::Hasher,
    reading: Reading,
}

#[derive(Debug, Default)]
enum Reading {
    #[default]
    Head,
    Streams,
    /// Records of a stream whose last one so far is this.
    Records(Dot),
    /// The context of a record that has come.
    Context(Record, Bytes),
    Checksum,
    Done,
}

impl TailReader {
    /// Takes the next bytes in.
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece, if all of it is here.
    ///
    /// # Errors
    ///
    /// It is no tail, of a later version, or damaged.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, TailError> {
        loop {
            match std::mem::replace(&mut self.reading, Reading::Done) {
                Reading::Head => return self.head(),
                Reading::Streams => {
                    if let Some(piece) = self.stream()? {
                        return Ok(Some(piece));
                    }
                    if !matches!(self.reading, Reading::Checksum) {
                        return Ok(None);
                    }
                }
                Reading::Records(last) => match self.frame()? {
                    Some(bytes) if bytes.is_empty() => self.reading = Reading::Streams,
                    Some(bytes) => {
                        if let Some(piece) = self.record(last, bytes)? {
                            return Ok(Some(piece));
                        }
                    }
                    None => return self.wait(Reading::Records(last)),
                },
                Reading::Context(record, bytes) => match self.frame()? {
                    Some(context) => return self.context(record, bytes, context).map(Some),
                    None => return self.wait(Reading::Context(record, bytes)),
                },
                Reading::Checksum if self.buffer.len() < CHECKSUM_LEN => return self.wait(Reading::Checksum),
                Reading::Checksum => {
                    if self.buffer[..CHECKSUM_LEN] != *self.hasher.finalize().as_bytes() {
                        return Err(TailError::Damaged { what: "its checksum is another one" });
                    }
                    self.buffer.advance(CHECKSUM_LEN);
                    return Ok(Some(Piece::End));
                }
                Reading::Done if self.buffer.is_empty() => return Ok(None),
                Reading::Done => return Err(TailError::Damaged { what: "it goes on after its end" }),
            }
        }
    }

    /// What is wrong with a tail of which no more comes, and no end has come.
    pub fn cut_short(&self) -> TailError {
        let begun = &self.buffer[..self.buffer.len().min(TAIL_MAGIC.len())];
        match self.reading {
            Reading::Head if !TAIL_MAGIC.starts_with(begun) => TailError::NotATail,
            _ => TailError::Damaged { what: "it ends early" },
        }
    }

    fn wait(&mut self, reading: Reading) -> Result<Option<Piece>, TailError> {
        self.reading = reading;
        Ok(None)
    }

    fn head(&mut self) -> Result<Option<Piece>, TailError> {
        let seen = self.buffer.len().min(TAIL_MAGIC.len());
        if self.buffer[..seen] != TAIL_MAGIC[..seen] {
            return Err(TailError::NotATail);
        }
        if self.buffer.len() < TAIL_MAGIC.len() + 1 + MESH_LEN {
            return self.wait(Reading::Head);
        }
        let mut head = self.split(TAIL_MAGIC.len() + 1 + MESH_LEN);
        head.advance(TAIL_MAGIC.len());
        match head.get_u8() {
            VERSION => {}
            found => return Err(TailError::NewerFormat { found }),
        }
        self.reading = Reading::Streams;
        Ok(Some(Piece::Mesh(MeshId(head.get_u128()))))
    }

    /// The beginning of the next stream; none when it is not here, or there are no more of them.
    fn stream(&mut self) -> Result<Option<Piece>, TailError> {
        if self.buffer.len() < 8 {
            return self.wait(Reading::Streams);
        }
        if self.buffer[..8] == [0; 8] {
            self.split(8);
            return self.wait(Reading::Checksum);
        }
        if self.buffer.len() < STREAM_LEN {
            return self.wait(Reading::Streams);
        }
        let mut head = self.split(STREAM_LEN);
        let author = ReplicaId::new(head.get_u64()).ok_or(TailError::Damaged { what: "a replica without a name" })?;
        let (first, apart) = (head.get_u64(), head.get_u64());
        let last = first.checked_sub(1).ok_or(TailError::Damaged { what: "a record without a number" })?;
        if apart > 0 && apart < first {
            return Err(TailError::Damaged { what: "a fork before its first record" });
        }
        self.reading = Reading::Records(Dot::new(author, last));
        let apart = (apart > 0).then_some(apart);
        Ok(Some(Piece::Stream(TailStream { author, first, last, apart })))
    }

    /// Reads a record; its piece, unless its context has still to come.
    fn record(&mut self, last: Dot, bytes: Bytes) -> Result<Option<Piece>, TailError> {
        let dot = Dot::new(last.replica, last.seq.saturating_add(1));
        let record = Record::decode(bytes.clone()).map_err(|why| TailError::Record { dot, why })?;
        if record.header.dot != dot {
            return Err(TailError::Damaged { what: "a record out of its place" });
        }
        if removes_ranges(&record) {
            self.reading = Reading::Context(record, bytes);
            return Ok(None);
        }
        self.reading = Reading::Records(dot);
        Ok(Some(Piece::Record { record, bytes, context: None }))
    }

    fn context(&mut self, record: Record, bytes: Bytes, context: Bytes) -> Result<Piece, TailError> {
        let dot = record.header.dot;
        let read = |context| {
            let mut reader = Reader::new(context);
            let context = read_vector(&mut reader)?;
            reader.finish("context").map(|()| context)
        };
        let context = read(context).map_err(|why| TailError::Record { dot, why })?;
        self.reading = Reading::Records(dot);
        Ok(Piece::Record { record, bytes, context: Some(context) })
    }

    /// The next length and as many bytes; none of them is the end of a stream.
    fn frame(&mut self) -> Result<Option<Bytes>, TailError> {
        let mut length = 0_usize;
        for (at, byte) in self.buffer.iter().copied().enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * at);
            // A length has one form: it does not end with a group of zeros.
            if length > RECORD_BYTES_MAX || (byte == 0 && at > 0) || at > 3 {
                return Err(TailError::Damaged { what: "a length beyond reason" });
            }
            if byte < 0x80 {
                if self.buffer.len() < at + 1 + length {
                    return Ok(None);
                }
                self.split(at + 1);
                return Ok(Some(self.split(length)));
            }
        }
        Ok(None)
    }

    /// Takes bytes off, which count for the checksum.
    fn split(&mut self, len: usize) -> Bytes {
        let bytes = self.buffer.split_to(len).freeze();
        self.hasher.update(&bytes);
        bytes
    }
}

/// A change that a record of a tail makes, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailChange {
    /// A key gets a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// A key goes.
    Remove {
        /// The key.
        key: Bytes,
    },
    /// All keys of a range go.
    RemoveRange {
        /// From this one on.
        start: Bytes,
        /// Before this one; `None`: to the last.
        end: Option<Bytes>,
    },
}

impl TailChange {
    /// The changes of keys that a record makes, in its order.
    pub fn of(record: &Record) -> impl Iterator<Item = Self> {
        record.operations.iter().filter_map(|operation| match operation {
            Operation::Put { key, value, .. } => Some(Self::Put { key: key.clone(), value: value.clone() }),
            Operation::Remove { key, .. } => Some(Self::Remove { key: key.clone() }),
            Operation::RangeRemove(RangeRemove { start, end }) => {
                Some(Self::RemoveRange { start: start.clone(), end: end.clone() })
            }
            _ => None,
        })
    }
}
