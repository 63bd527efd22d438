//! Messages and their bytes: `kind (1) ‖ body`, one message a frame.
//!
//! ```text
//! 1 hello      see `hello`
//! 2 records    count (varint, not 0) ‖ { length (varint) ‖ record }
//! 3 have       version vector, not empty
//! 4 heartbeat  see `heartbeat`
//! 5 bye        code (varint below 2^16) ‖ text (bytes: at most 256 of UTF-8, no control characters)
//! 6 packed     records as 2 has them, compressed: see `packing`
//! 16 pull      id (varint, not 0) ‖ body: see `packing`
//! 17 page      id (varint, not 0) ‖ body: see `packing`
//! 18 floor     version vector, not empty
//! 24 heads     count (varint, not 0) ‖ { signed head }    ascending by author, each once
//! 28 ask       id (varint, not 0) ‖ question (bytes: at most 4 KiB)
//! 29 answer    id (varint, not 0) ‖ answer (bytes: at most 4 KiB)
//! 32 link      see `link`
//! ```
//!
//! One message has one encoding, as far as nothing is compressed in it. A kind that is not known is a fault below 128; from there on it is skipped, which leaves room
//! for messages that need not be understood. `docs/protocol.md` lists what is reserved.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError, SignedHead, VersionVector,
    codec::{Reader, put_bytes, put_varint},
};

use super::{
    heartbeat::Heartbeat,
    hello::Hello,
    limits::{ASK_BODY_BYTES_MAX, Limits, PAGE_BODY_BYTES_MAX, PULL_BODY_BYTES_MAX},
    link::Link,
    packing,
};
use crate::Fault;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who I am and where I stand. Both sides send it first, and once.
    Hello(Hello),
    /// Records, as their authors wrote them, in the order in which the sender applied them. At least one.
    Records(Vec<Bytes>),
    /// Records, compressed in one stream with those of earlier frames. [`Unpacker`](crate::Unpacker) reads them.
    Packed {
        /// What the list has, unpacked.
        bytes: u64,
        /// The next bytes of the stream.
        packed: Bytes,
    },
    /// The entries of the sender's frontier that rose above what it had said or sent. At least one.
    Have(VersionVector),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// The sender's last message.
    Bye {
        /// Why, for machines: [`Fault::code`].
        code: u16,
        /// Why, for people.
        text: String,
    },
    /// Who signed the records since the last such message: for each of their authors the head at its last one, ascending by author.
    Heads(Vec<SignedHead>),
    /// A question to the peer.
    Ask {
        /// Its number: each of the sender's is above the one before.
        id: u64,
        /// The question.
        body: Bytes,
    },
    /// The answer to a question of the peer; empty when there is none.
    Answer {
        /// The question's number.
        id: u64,
        /// The answer.
        body: Bytes,
    },
    /// Whether the sender wants records, and where it is in the tree.
    Link(Link),
    /// The sender wants a page of a transfer of state.
    Pull {
        /// Its number: each of the sender's is above the one before.
        id: u64,
        /// Which page.
        body: Bytes,
    },
    /// A page that the peer pulled; empty when there is none.
    Page {
        /// The pull's number.
        id: u64,
        /// The page.
        body: Bytes,
    },
    /// The sender's log has become complete only from here on, which is above what the peer has.
    Floor(VersionVector),
}

pub(crate) const HELLO: u8 = 1;
pub(crate) const RECORDS: u8 = 2;
pub(crate) const HAVE: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 4;
pub(crate) const BYE: u8 = 5;
pub(crate) const PACKED: u8 = 6;
pub(crate) const PULL: u8 = 16;
pub(crate) const PAGE: u8 = 17;
pub(crate) const FLOOR: u8 = 18;
pub(crate) const HEADS: u8 = 24;
pub(crate) const ASK: u8 = 28;
pub(crate) const ANSWER: u8 = 29;
pub(crate) const LINK: u8 = 32;

/// The first kind that need not be understood.
const SKIPPABLE: u8 = 128;
/// The longest text of a bye.
const TEXT_BYTES_MAX: usize = 256;
/// A record takes at least a length, version, author, seq, clock, two counts and a chain.
const RECORD_BYTES_MIN: usize = 37;

impl Message {
    /// Writes the message as a frame's payload.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Hello(hello) => {
                out.push(HELLO);
                hello.encode(&mut out);
            }
            Self::Records(records) => return encode_records(records),
            Self::Packed { bytes, packed } => {
                out.push(PACKED);
                put_varint(&mut out, *bytes);
                out.extend_from_slice(packed);
            }
            Self::Have(raised) => encode_vector(&mut out, HAVE, raised),
            Self::Heartbeat(heartbeat) => {
                out.push(HEARTBEAT);
                heartbeat.encode(&mut out);
            }
            Self::Bye { code, text } => {
                out.push(BYE);
                put_varint(&mut out, (*code).into());
                put_bytes(&mut out, text.as_bytes());
            }
            Self::Heads(heads) => {
                out.push(HEADS);
                put_varint(&mut out, heads.len() as u64);
                heads.iter().for_each(|head| head.encode(&mut out));
            }
            Self::Ask { id, body } => encode_passed(&mut out, ASK, *id, body),
            Self::Answer { id, body } => encode_passed(&mut out, ANSWER, *id, body),
            Self::Link(link) => {
                out.push(LINK);
                link.encode(&mut out);
            }
            Self::Pull { id, body } => encode_carried(&mut out, PULL, *id, body),
            Self::Page { id, body } => encode_carried(&mut out, PAGE, *id, body),
            Self::Floor(floor) => encode_vector(&mut out, FLOOR, floor),
        }
        out.into()
    }

    /// Reads a frame's payload; `None` for one that need not be understood. O(payload); records share its memory, and are not
    /// judged.
    ///
    /// # Errors
    ///
    /// The payload is too large for its kind, is of a kind that is not known, or is not what [`Message::encode`] writes.
    pub fn decode(payload: Bytes, limits: &Limits) -> Result<Option<Self>, Fault> {
        let bytes = payload.len();
        let mut reader = Reader::new(payload);
        let kind = reader.u8("message kind")?;
        let max = if is_control(kind) { limits.control_bytes_max } else { limits.frame_bytes_max };
        if bytes > max {
            return Err(Fault::FrameTooLarge { bytes, max });
        }
        let message = match kind {
            HELLO => Self::Hello(Hello::decode(&mut reader, limits)?),
            RECORDS => Self::Records(decode_records(&mut reader)?),
            PACKED => {
                let bytes = reader.varint("packed records")?;
                return Ok(Some(Self::Packed { bytes, packed: reader.rest() }));
            }
            PULL => {
                let (id, body) = decode_carried(reader, "pull", PULL_BODY_BYTES_MAX)?;
                return Ok(Some(Self::Pull { id, body }));
            }
            PAGE => {
                let (id, body) = decode_carried(reader, "page", PAGE_BODY_BYTES_MAX)?;
                return Ok(Some(Self::Page { id, body }));
            }
            FLOOR => Self::Floor(some_vector(&mut reader, limits)?),
            HAVE => Self::Have(some_vector(&mut reader, limits)?),
            HEARTBEAT => Self::Heartbeat(Heartbeat::decode(&mut reader, limits)?),
            BYE => decode_bye(&mut reader)?,
            HEADS => Self::Heads(decode_heads(&mut reader, limits)?),
            ASK => {
                let (id, body) = decode_passed(&mut reader, "question")?;
                Self::Ask { id, body }
            }
            ANSWER => {
                let (id, body) = decode_passed(&mut reader, "answer")?;
                Self::Answer { id, body }
            }
            LINK => Self::Link(Link::decode(&mut reader)?),
            SKIPPABLE.. => return Ok(None),
            kind => return Err(Fault::UnknownMessage { kind }),
        };
        reader.finish("message")?;
        Ok(Some(message))
    }

    /// Whether a frame may overtake others that wait to be written: somebody waits for it, and it has no place among what the
    /// others say. The hello stays first.
    #[cfg(feature = "quic")]
    pub(crate) fn overtakes(payload: &[u8]) -> bool {
        matches!(payload.first(), Some(&(ASK | ANSWER | PULL)))
    }

    /// Whether a frame has no place among what others say, and may wait while they go.
    #[cfg(feature = "quic")]
    pub(crate) fn is_bulk(payload: &[u8]) -> bool {
        payload.first() == Some(&PAGE)
    }

    /// The last message of a session that ended so.
    pub(crate) fn bye(fault: &Fault) -> Self {
        let mut text: String = fault.to_string().chars().filter(|c| !c.is_control()).collect();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        Self::Bye { code: fault.code(), text }
    }
}

/// A vector that names at most as many replicas as it may. The payload's size has bounded what reading it takes.
pub(crate) fn vector(reader: &mut Reader, limits: &Limits) -> Result<VersionVector, Fault> {
    let vector = VersionVector::decode(reader)?;
    let (count, max) = (vector.len(), limits.vector_entries_max);
    if count > max { Err(Fault::TooManyReplicas { count, max }) } else { Ok(vector) }
}

pub(crate) fn some_vector(reader: &mut Reader, limits: &Limits) -> Result<VersionVector, Fault> {
    let vector = vector(reader, limits)?;
    if vector.is_empty() { Err(DecodeError::NotCanonical { what: "empty vector" }.into()) } else { Ok(vector) }
}

/// Whether a message of this kind carries no records.
fn is_control(kind: u8) -> bool {
    matches!(kind, HELLO | HAVE | HEARTBEAT | BYE | HEADS | ASK | ANSWER | PULL | FLOOR | LINK)
}

/// What a list of records takes: the count, and each with its length.
pub(crate) fn records_size(records: &[Bytes]) -> usize {
    let varint = |value: usize| ((usize::BITS - (value | 1).leading_zeros()) as usize).div_ceil(7);
    varint(records.len()) + records.iter().map(|record| varint(record.len()) + record.len()).sum::<usize>()
}

fn encode_records(records: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(1 + records_size(records));
    out.push(RECORDS);
    put_varint(&mut out, records.len() as u64);
    for record in records {
        put_bytes(&mut out, record);
    }
    out.into()
}

pub(crate) fn decode_records(reader: &mut Reader) -> Result<Vec<Bytes>, Fault> {
    let what = "records";
    let count = reader.varint(what)?;
    // A false count is seen before anything is allocated for it.
    if count > (reader.remaining() / RECORD_BYTES_MIN) as u64 {
        return Err(DecodeError::Truncated { what }.into());
    }
    if count == 0 {
        return Err(DecodeError::NotCanonical { what }.into());
    }
    let mut records = Vec::with_capacity(count as usize);
    for _ in 0..count {
        records.push(reader.bytes(what)?);
    }
    Ok(records)
}

fn decode_heads(reader: &mut Reader, limits: &Limits) -> Result<Vec<SignedHead>, Fault> {
    let what = "signed heads";
    let count = reader.varint(what)?;
    // A false count is seen before anything is allocated for it.
    if count > (reader.remaining() / SignedHead::BYTES_MIN) as u64 {
        return Err(DecodeError::Truncated { what }.into());
    }
    let (count, max) = (count as usize, limits.vector_entries_max);
    if count > max {
        return Err(Fault::TooManyReplicas { count, max });
    }
    let heads = (0..count).map(|_| SignedHead::decode(reader)).collect::<Result<Vec<_>, _>>()?;
    if heads.is_empty() || !heads.is_sorted_by(|a, b| a.dot.replica < b.dot.replica) {
        return Err(DecodeError::NotCanonical { what }.into());
    }
    Ok(heads)
}

fn encode_passed(out: &mut Vec<u8>, kind: u8, id: u64, body: &[u8]) {
    out.push(kind);
    put_varint(out, id);
    put_bytes(out, body);
}

fn decode_passed(reader: &mut Reader, what: &'static str) -> Result<(u64, Bytes), Fault> {
    let id = reader.varint(what)?;
    if id == 0 {
        return Err(DecodeError::NotCanonical { what }.into());
    }
    let body = reader.bytes(what)?;
    let (bytes, max) = (body.len(), ASK_BODY_BYTES_MAX);
    if bytes > max { Err(DecodeError::TooLarge { what, bytes, max }.into()) } else { Ok((id, body)) }
}

fn encode_carried(out: &mut Vec<u8>, kind: u8, id: u64, body: &[u8]) {
    out.push(kind);
    put_varint(out, id);
    packing::put_body(out, body);
}

fn decode_carried(mut reader: Reader, what: &'static str, max: usize) -> Result<(u64, Bytes), Fault> {
    let id = reader.varint(what)?;
    if id == 0 {
        return Err(DecodeError::NotCanonical { what }.into());
    }
    Ok((id, packing::take_body(reader, what, max)?))
}

fn encode_vector(out: &mut Vec<u8>, kind: u8, vector: &VersionVector) {
    out.push(kind);
    vector.encode(out);
}

fn decode_bye(reader: &mut Reader) -> Result<Message, Fault> {
    let what = "bye";
    let code = u16::try_from(reader.varint(what)?).map_err(|_| DecodeError::NotCanonical { what })?;
    let text = reader.bytes(what)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(DecodeError::TooLarge { what, bytes: text.len(), max: TEXT_BYTES_MAX }.into());
    }
    let text = String::from_utf8(text.into()).map_err(|_| DecodeError::NotCanonical { what })?;
    // It ends up in logs and on terminals.
    if text.chars().any(char::is_control) {
        return Err(DecodeError::NotCanonical { what }.into());
    }
    Ok(Message::Bye { code, text })
}
