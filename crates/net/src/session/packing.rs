//! Compression on the wire: records as one stream for each direction of a connection, bodies of transfers each by itself.
//!
//! ```text
//! packed records   bytes (varint, of the list unpacked) ‖ the next bytes of the direction's zstd frame, up to a flush
//! a body           bytes (varint, of the body unpacked) ‖ the body, or, when that is shorter, a zstd frame of it
//! ```
//!
//! What was said in earlier frames is remembered, so that a record which resembles its forerunners costs little even when it comes alone. The
//! first few bytes of records go plain: a connection on which little happens pays for no stream. Nobody can make a reader hold more than is
//! announced, and more than the limit cannot be announced. Pure computation: no clock, no threads, the same bytes for the same calls.

use std::{fmt, io};

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::codec::{Reader, put_varint};
use zstd::{
    stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer},
    zstd_safe::compress_bound,
};

use super::{
    limits::Limits,
    message::{self, Message},
};
use crate::Fault;

/// The sending direction of a connection.
#[derive(Default)]
pub(crate) struct Packer {
    encoder: Option<Encoder<'static>>,
    /// Bytes of records that went plain so far.
    plain_bytes: usize,
    is_broken: bool,
}

/// The receiving direction of a connection, which has to see every packed frame in its order.
#[derive(Default)]
pub struct Unpacker {
    decoder: Option<Decoder<'static>>,
}

/// Why packed bytes cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPacking {
    /// More is announced than may be.
    #[error("{bytes} bytes are announced; at most {max} are allowed")]
    TooLarge {
        /// What is announced.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// They hold more than they announce. What is beyond was not kept.
    #[error("they hold more than the {announced} bytes announced")]
    Overflowing {
        /// What is announced.
        announced: usize,
    },
    /// They hold less than they announce.
    #[error("they hold {found} of the {announced} bytes announced")]
    Short {
        /// What is announced.
        announced: usize,
        /// What there is.
        found: usize,
    },
    /// The stream ends, which it never does.
    #[error("their stream has ended")]
    Ended,
    /// They are not what the algorithm writes, or want more memory than they may.
    #[error("they cannot be decompressed: {cause}")]
    Corrupt {
        /// What it says.
        cause: String,
    },
}

impl Packer {
    /// The message that carries these records.
    pub(crate) fn pack(&mut self, records: Vec<Bytes>) -> Message {
        let bytes: usize = records.iter().map(Bytes::len).sum();
        if self.is_broken || self.encoder.is_none() && self.plain_bytes + bytes <= PLAIN_BYTES {
            self.plain_bytes += bytes;
            return Message::Records(records);
        }
        match self.stream(&records) {
            Ok(message) => message,
            // There is no memory for it. The peer's side of the stream is where ours was, and hears of it no more.
            Err(_) => {
                (self.encoder, self.is_broken) = (None, true);
                Message::Records(records)
            }
        }
    }

    fn stream(&mut self, records: &[Bytes]) -> io::Result<Message> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(encoder()?),
        };
        let list = message::records_size(records);
        let mut packed = Vec::with_capacity(compress_bound(list) + FLUSH_BYTES);
        let mut envelope = Vec::new();
        put_varint(&mut envelope, records.len() as u64);
        for record in records {
            put_varint(&mut envelope, record.len() as u64);
            feed(encoder, &envelope, &mut packed)?;
            feed(encoder, record, &mut packed)?;
            envelope.clear();
        }
        while flush(encoder, &mut packed)? > 0 {
            packed.reserve(FLUSH_BYTES);
        }
        Ok(Message::Packed { bytes: list as u64, packed: packed.into() })
    }
}

impl Unpacker {
    /// The records in a packed frame.
    ///
    /// # Errors
    ///
    /// The frame does not continue the stream, or is no list of records. Nothing can be unpacked after that.
    pub fn unpack(&mut self, bytes: u64, packed: &[u8], limits: &Limits) -> Result<Vec<Bytes>, Fault> {
        let announced = announced(bytes, limits.frame_bytes_max)?;
        let list = self.stream(announced, packed)?;
        let mut reader = Reader::new(list.into());
        let records = message::decode_records(&mut reader)?;
        reader.finish("packed records")?;
        Ok(records)
    }

    fn stream(&mut self, announced: usize, packed: &[u8]) -> Result<Vec<u8>, BadPacking> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(decoder().map_err(corrupt)?),
        };
        // A byte more than there should be shows that there is more.
        let mut list = Vec::with_capacity(announced + 1);
        let mut input = InBuffer::around(packed);
        loop {
            let (read, written) = (input.pos(), list.len());
            let hint = decoder.run(&mut input, &mut OutBuffer::around_pos(&mut list, written)).map_err(corrupt)?;
            if list.len() > announced {
                return Err(BadPacking::Overflowing { announced });
            }
            if hint == 0 {
                return Err(BadPacking::Ended);
            }
            // With room left and nothing to read there is nothing more to come.
            if input.pos() == packed.len() {
                break;
            }
            if (input.pos(), list.len()) == (read, written) {
                return Err(BadPacking::Corrupt { cause: "it stands still".to_owned() });
            }
        }
        let found = list.len();
        if found < announced { Err(BadPacking::Short { announced, found }) } else { Ok(list) }
    }
}

/// Writes a body, packed when that is shorter.
pub(crate) fn put_body(out: &mut Vec<u8>, body: &[u8]) {
    put_varint(out, body.len() as u64);
    let packed = if body.len() < BODY_BYTES_PACKED_MIN { None } else { zstd::bulk::compress(body, LEVEL).ok() };
    out.extend_from_slice(packed.as_deref().filter(|packed| packed.len() < body.len()).unwrap_or(body));
}

/// Reads the rest of a payload as a body.
pub(crate) fn take_body(mut reader: Reader, what: &'static str, max: usize) -> Result<Bytes, Fault> {
    let bytes = announced(reader.varint(what)?, max)?;
    let packed = reader.rest();
    match packed.len() {
        len if len == bytes => Ok(packed),
        len if len > bytes => Err(BadPacking::Overflowing { announced: bytes }.into()),
        _ => {
            let body = zstd::bulk::decompress(&packed, bytes).map_err(corrupt)?;
            let found = body.len();
            if found < bytes { Err(BadPacking::Short { announced: bytes, found }.into()) } else { Ok(body.into()) }
        }
    }
}

fn announced(bytes: u64, max: usize) -> Result<usize, BadPacking> {
    let fits = usize::try_from(bytes).ok().filter(|bytes| *bytes <= max);
    fits.ok_or(BadPacking::TooLarge { bytes, max: max as u64 })
}

fn corrupt(error: io::Error) -> BadPacking {
    BadPacking::Corrupt { cause: error.to_string() }
}

fn encoder() -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(LEVEL)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    Ok(encoder)
}

fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
    Ok(decoder)
}

fn feed(encoder: &mut Encoder<'static>, bytes: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    let mut input = InBuffer::around(bytes);
    while input.pos() < bytes.len() {
        let at = packed.len();
        encoder.run(&mut input, &mut OutBuffer::around_pos(packed, at))?;
        if packed.len() == packed.capacity() {
            packed.reserve(FLUSH_BYTES);
        }
    }
    Ok(())
}

/// Ends what was fed, so that it can be read. Returns how many bytes had no room.
fn flush(encoder: &mut Encoder<'static>, packed: &mut Vec<u8>) -> io::Result<usize> {
    let at = packed.len();
    encoder.flush(&mut OutBuffer::around_pos(packed, at))
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { encoder, plain_bytes, is_broken } = self;
        let is_begun = encoder.is_some();
        f.debug_struct("Packer")
            .field("is_begun", &is_begun)
            .field("plain_bytes", plain_bytes)
            .field("is_broken", is_broken)
            .finish()
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("is_begun", &self.decoder.is_some()).finish()
    }
}

/// What a link at a few MiB a second and two cores beside it can afford.
const LEVEL: i32 = 3;
/// How far back a stream looks: 1 MiB, which either side of a connection has to hold.
const WINDOW_LOG: u32 = 20;
/// Records that go plain before a stream is begun: it would take a few MiB of memory to save a few hundred bytes.
const PLAIN_BYTES: usize = 1 << 10;
/// Shorter bodies are not worth the attempt.
const BODY_BYTES_PACKED_MIN: usize = 128;
/// What a flush adds beyond the bound of what was fed, and by how much the room for it grows.
const FLUSH_BYTES: usize = 1 << 10;
