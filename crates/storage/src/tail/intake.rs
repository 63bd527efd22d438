//! Reads a tail as it comes, in pieces of any size, and holds it against what is here.
//!
//! Nothing is believed before the checksum has come: until then there is no [`Tail`].

use bytes::{Buf, Bytes, BytesMut};
use tombolo_crdt::{Chain, Dot, RECORD_BYTES_MAX, Record, ReplicaId};

use super::{TAIL_MAGIC, TailError, TailFacts, TailOutcome, VERSION};
use crate::{MeshId, Store};

/// A tail on its way in.
pub struct TailIntake {
    store: Store,
    buffer: BytesMut,
    hasher: blake3::Hasher,
    reading: Reading,
}

enum Reading {
    Head,
    Records(Box<Tail>),
    Checksum(Box<Tail>),
    Done(Box<Tail>),
}

/// A tail that has come whole, and follows what is here.
#[derive(Clone, Debug)]
pub struct Tail {
    /// What it says of itself.
    pub facts: TailFacts,
    /// Records in it that are not here.
    pub records: u64,
    /// What these come to.
    pub outcome: TailOutcome,
    /// The chain of the last record, from the one that follows what is here.
    chain: Chain,
    /// The last record of the author that is here.
    here: u64,
}

impl TailIntake {
    /// Begins to read.
    pub fn new(store: &Store) -> Self {
        let (buffer, hasher) = (BytesMut::new(), blake3::Hasher::new());
        Self { store: store.clone(), buffer, hasher, reading: Reading::Head }
    }

    /// Whose tail it is, once that has come.
    pub fn facts(&self) -> Option<TailFacts> {
        match &self.reading {
            Reading::Head => None,
            Reading::Records(tail) | Reading::Checksum(tail) | Reading::Done(tail) => Some(tail.facts),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// It is no tail, or damaged, or does not follow what is here.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), TailError> {
        self.buffer.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    /// The tail, when all of it has come.
    ///
    /// # Errors
    ///
    /// It ends early.
    pub fn finish(self) -> Result<Tail, TailError> {
        match self.reading {
            Reading::Done(tail) => Ok(*tail),
            Reading::Head if !TAIL_MAGIC.starts_with(&self.buffer[..self.buffer.len().min(TAIL_MAGIC.len())]) => {
                Err(TailError::NotATail)
            }
            _ => Err(TailError::Damaged { what: "it ends early" }),
        }
    }

    /// Reads one thing, if it is there.
    fn step(&mut self) -> Result<bool, TailError> {
        match std::mem::replace(&mut self.reading, Reading::Head) {
            Reading::Head => {
                let Some(tail) = self.head()? else { return Ok(false) };
                self.reading = Reading::Records(Box::new(tail));
                Ok(true)
            }
            Reading::Records(mut tail) => match self.record()? {
                Some(record) if record.is_empty() => {
                    self.reading = Reading::Checksum(tail);
                    Ok(true)
                }
                Some(record) => {
                    tail.take(record)?;
                    self.reading = Reading::Records(tail);
                    Ok(true)
                }
                None => {
                    self.reading = Reading::Records(tail);
                    Ok(false)
                }
            },
            Reading::Checksum(tail) if self.buffer.len() < CHECKSUM_LEN => {
                self.reading = Reading::Checksum(tail);
                Ok(false)
            }
            Reading::Checksum(tail) => {
                if self.buffer[..CHECKSUM_LEN] != *self.hasher.finalize().as_bytes() {
                    return Err(TailError::Damaged { what: "its checksum is another one" });
                }
                self.buffer.advance(CHECKSUM_LEN);
                self.reading = Reading::Done(tail);
                Ok(true)
            }
            Reading::Done(tail) if self.buffer.is_empty() => {
                self.reading = Reading::Done(tail);
                Ok(false)
            }
            Reading::Done(_) => Err(TailError::Damaged { what: "it goes on after its end" }),
        }
    }

    fn head(&mut self) -> Result<Option<Tail>, TailError> {
        let seen = self.buffer.len().min(TAIL_MAGIC.len());
        if self.buffer[..seen] != TAIL_MAGIC[..seen] {
            return Err(TailError::NotATail);
        }
        if self.buffer.len() < HEAD_LEN {
            return Ok(None);
        }
        let mut head = self.split(HEAD_LEN);
        head.advance(TAIL_MAGIC.len());
        match head.get_u8() {
            VERSION => {}
            found => return Err(TailError::NewerFormat { found }),
        }
        let mesh = head.get_u128();
        if mesh != self.store.identity().mesh.0 {
            return Err(TailError::OtherMesh { found: mesh });
        }
        let author = ReplicaId::new(head.get_u64()).ok_or(TailError::Damaged { what: "a replica without a name" })?;
        let first = head.get_u64();
        let (here, chain, context) = {
            let state = self.store.shared().state.read();
            let stream = state.streams.get(&author).cloned().unwrap_or_default();
            (state.frontier.seq(author), stream.chain, stream.context)
        };
        match first {
            0 => return Err(TailError::Damaged { what: "a record without a number" }),
            first if first > here + 1 => return Err(TailError::Gap { first, expected: here + 1 }),
            _ => {}
        }
        let facts = TailFacts { mesh: MeshId(mesh), author, first, last: first - 1 };
        let outcome = TailOutcome::new(author, here, context);
        Ok(Some(Tail { facts, records: 0, outcome, chain, here }))
    }

    /// The next record; an empty one is the end of them.
    fn record(&mut self) -> Result<Option<Bytes>, TailError> {
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

impl Tail {
    fn take(&mut self, bytes: Bytes) -> Result<(), TailError> {
        let dot = Dot::new(self.facts.author, self.facts.last + 1);
        let record = Record::decode(bytes.clone()).map_err(|why| TailError::Record { dot, why })?;
        if record.header.dot != dot {
            return Err(TailError::Damaged { what: "a record out of its place" });
        }
        self.facts.last = dot.seq;
        // Those that are here already are not looked at, but for the last: it says whether this is the same past.
        let is_last_here = dot.seq == self.here && record.header.chain != self.chain;
        let is_new = dot.seq > self.here;
        if is_last_here || is_new && !Record::follows(&bytes, &self.chain) {
            return Err(TailError::Unchained { dot });
        }
        if is_new {
            self.chain = record.header.chain;
            self.records += 1;
            self.outcome.take(record)?;
        }
        Ok(())
    }
}

/// Bytes of the head: magic, version, mesh, author, first seq.
const HEAD_LEN: usize = TAIL_MAGIC.len() + 1 + 16 + 8 + 8;
const CHECKSUM_LEN: usize = 32;
