//! Canonical bytes: fixed big-endian integers, minimal LEB128 varints, length-prefixed strings.
//!
//! One value has one encoding; the reader refuses every other. It believes a count or a length no further than the input
//! goes. Each of its methods takes `what` is being read, which the error names; after an error the reader is of no use.

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::{Dot, Element, ReplicaId};

/// Why bytes are not the canonical encoding of anything.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ended early.
    #[error("the bytes end within {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// Input was left over.
    #[error("{bytes} bytes are left over after {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many are left.
        bytes: usize,
    },
    /// A value that has another, canonical encoding, or none.
    #[error("{what} is not in canonical form")]
    NotCanonical {
        /// The value.
        what: &'static str,
    },
    /// A format version this code does not know.
    #[error("record version {found} is not known")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// More bytes than are allowed.
    #[error("{what} takes {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The size allowed.
        max: usize,
    },
    /// More of something than is allowed.
    #[error("{count} {what}; at most {max} are allowed")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many.
        count: u64,
        /// How many are allowed.
        max: usize,
    },
}

/// An element takes at least the author's mark, one byte of seq and one of index.
const ELEMENT_BYTES_MIN: usize = 3;

/// Appends a minimal LEB128 varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Puts a minimal LEB128 varint before what `out` holds from `at` on.
pub(crate) fn insert_varint(out: &mut Vec<u8>, at: usize, value: u64) {
    let end = out.len();
    put_varint(out, value);
    let len = out.len() - end;
    out[at..].rotate_right(len);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How a replica is written within a record: 0 for the record's author, 1 and the id for anyone else.
pub fn put_replica(out: &mut Vec<u8>, replica: ReplicaId, author: ReplicaId) {
    if replica == author {
        out.push(0);
    } else {
        out.push(1);
        out.extend_from_slice(&replica.get().to_be_bytes());
    }
}

/// Appends a count and the elements, written relative to `author`.
pub fn put_elements(out: &mut Vec<u8>, elements: &[Element], author: ReplicaId) {
    put_varint(out, elements.len() as u64);
    for element in elements {
        put_replica(out, element.dot.replica, author);
        put_varint(out, element.dot.seq);
        put_varint(out, element.index.into());
    }
}

/// A cursor over shared bytes; what it hands out shares them.
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if len > self.bytes.len() {
            return Err(DecodeError::Truncated { what });
        }
        Ok(self.bytes.split_to(len))
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, _) = self.bytes.split_first_chunk::<N>().ok_or(DecodeError::Truncated { what })?;
        let head = *head;
        self.bytes.advance(N);
        Ok(head)
    }

    /// The next byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// A big-endian integer.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A minimal varint.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for (at, &byte) in self.bytes.iter().enumerate().take(10) {
            // The tenth byte holds the last bit; a final zero byte would be a longer form of a shorter encoding.
            if (at == 9 && byte > 1) || (at > 0 && byte == 0) {
                return Err(DecodeError::NotCanonical { what });
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.bytes.advance(at + 1);
                return Ok(value);
            }
        }
        Err(DecodeError::Truncated { what })
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.varint(what)?;
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated { what })?;
        self.take(len, what)
    }

    /// Everything that is left.
    pub fn rest(self) -> Bytes {
        self.bytes
    }

    /// Succeeds when nothing is left.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { what, bytes }),
        }
    }

    /// A replica id as eight bytes.
    pub fn replica_id(&mut self, what: &'static str) -> Result<ReplicaId, DecodeError> {
        ReplicaId::new(self.u64(what)?).ok_or(DecodeError::NotCanonical { what })
    }

    /// A replica id as [`put_replica`] writes it.
    pub fn replica(&mut self, author: ReplicaId, what: &'static str) -> Result<ReplicaId, DecodeError> {
        match self.u8(what)? {
            0 => Ok(author),
            1 => match self.replica_id(what)? {
                replica if replica == author => Err(DecodeError::NotCanonical { what }),
                replica => Ok(replica),
            },
            _ => Err(DecodeError::NotCanonical { what }),
        }
    }

    /// A seq, from 1 to [`Dot::SEQ_MAX`].
    pub fn seq(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        match self.varint(what)? {
            seq @ 1..=Dot::SEQ_MAX => Ok(seq),
            _ => Err(DecodeError::NotCanonical { what }),
        }
    }

    /// A strictly ascending list of elements, as [`put_elements`] wrote it.
    pub fn elements(&mut self, author: ReplicaId, what: &'static str) -> Result<Vec<Element>, DecodeError> {
        let count = self.varint(what)?;
        if count > (self.remaining() / ELEMENT_BYTES_MIN) as u64 {
            return Err(DecodeError::Truncated { what });
        }
        // Exact, so that a long list takes eight times its bytes and not up to twenty-four while it grows.
        let mut elements = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let dot = Dot::new(self.replica(author, what)?, self.seq(what)?);
            let index = u32::try_from(self.varint(what)?).map_err(|_| DecodeError::NotCanonical { what })?;
            let element = dot.element(index);
            if elements.last().is_some_and(|last| *last >= element) {
                return Err(DecodeError::NotCanonical { what });
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<u64, DecodeError> {
        Reader::new(Bytes::copy_from_slice(bytes)).varint("number")
    }

    #[test]
    fn varints_read_back_as_written() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(read(&bytes), Ok(value));
        }
    }

    #[test]
    fn a_length_is_put_before_what_it_is_the_length_of() {
        for len in [0, 1, 127, 128, 20_000] {
            let (mut inserted, mut appended) = (vec![7], vec![7]);
            inserted.extend(std::iter::repeat_n(1, len));
            insert_varint(&mut inserted, 1, len as u64);
            put_bytes(&mut appended, &vec![1; len]);
            assert_eq!(inserted, appended);
        }
    }

    #[test]
    fn longer_forms_of_a_varint_are_refused() {
        let what = "number";
        assert_eq!(read(&[0x80, 0x00]), Err(DecodeError::NotCanonical { what }));
        assert_eq!(read(&[0xff; 10]), Err(DecodeError::NotCanonical { what }));
        assert_eq!(read(&[0x80]), Err(DecodeError::Truncated { what }));
        assert_eq!(read(&[]), Err(DecodeError::Truncated { what }));
    }

    #[test]
    fn a_length_beyond_the_input_allocates_nothing() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(Reader::new(bytes.into()).bytes("key"), Err(DecodeError::Truncated { what: "key" }));
    }
}
