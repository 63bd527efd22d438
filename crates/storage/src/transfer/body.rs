//! Bodies: what receiver and provider say to one another, as bytes.
//!
//! ```text
//! pull := version (1) = 1 ‖ kind (1) ‖ …            page := version (1) = 1 ‖ kind (1) ‖ …
//!   1 open          vector                             1 header        snapshot (8) ‖ header
//!   2 resume        snapshot (8)                       1 header
//!   3 elements      snapshot (8) ‖ from ‖ to           3 elements      snapshot (8) ‖ from ‖ next ‖ { fragment }
//!   4 fingerprints  snapshot (8) ‖ part ‖ { range }    4 fingerprints  snapshot (8) ‖ { first ‖ fingerprint }
//!   5 names         snapshot (8) ‖ part ‖ { range }    5 names         snapshot (8) ‖ { first ‖ whole (1) ‖ { element ‖ check (8) } }
//!   6 close         snapshot (8)                       0 refusal       why (1)
//!   7 meet          vector                             7 meet          vector ‖ digest (16)
//!   8 elements within, otherwise as 3
//! ```
//!
//! Lists in braces are counted, but for fragments, which go to the end. `docs/format.md` says what each means.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError, Element, VersionVector,
    codec::{Reader, put_varint},
};

use super::{
    ElementRange, Fingerprint, Refusal,
    fingerprint::{put_element, read_element},
    header::Header,
};

const VERSION: u8 = 1;

/// The most ranges of one pull.
pub(crate) const RANGES_MAX: usize = 1024;
/// The most names of one page.
pub(crate) const NAMES_MAX: usize = 16_384;

/// Which of the provider's elements are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Those that the vector of the opening does not cover.
    Above,
    /// Those that it covers.
    Within,
}

/// What a receiver asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Hold on to this moment, for somebody with this vector.
    Open(VersionVector),
    /// Is this moment still held on to?
    Resume(u64),
    /// The elements from one place to another.
    Elements { snapshot: u64, half: Half, from: u64, to: u64 },
    /// What these ranges add up to.
    Fingerprints { snapshot: u64, half: Half, ranges: Vec<ElementRange> },
    /// What is in these ranges, by name.
    Names { snapshot: u64, half: Half, ranges: Vec<ElementRange> },
    /// Nothing more will be asked.
    Close(u64),
    /// What is the digest of what we both have? This is what the asker has.
    Meet(VersionVector),
}

/// What a provider answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Refusal(Refusal),
    Header {
        snapshot: u64,
        header: Header,
    },
    /// Elements from one place on; `next` is the first that did not fit.
    Elements {
        snapshot: u64,
        from: u64,
        next: u64,
        fragments: Bytes,
    },
    /// For each range the place of its first element, and what it adds up to.
    Fingerprints {
        snapshot: u64,
        sums: Vec<(u64, Fingerprint)>,
    },
    /// What the first ranges hold: as many as there is room for.
    Names {
        snapshot: u64,
        names: Vec<Names>,
    },
    /// The digest at a cut that both have applied.
    Meet {
        cut: VersionVector,
        digest: u128,
    },
}

/// The elements of a range, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The place of the first.
    pub(crate) first: u64,
    /// Whether these are all of the range.
    pub(crate) is_whole: bool,
    /// With the low half of its share: what it holds, in short.
    pub(crate) names: Vec<(Element, u64)>,
}

/// The low half of a share.
pub(crate) fn check_of(share: u128) -> u64 {
    share as u64
}

impl Ask {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        let start = |out: &mut Vec<u8>, kind: u8, snapshot: &u64| {
            out.push(kind);
            out.extend_from_slice(&snapshot.to_be_bytes());
        };
        match self {
            Self::Open(vector) => {
                out.push(1);
                vector.encode(&mut out);
            }
            Self::Resume(snapshot) => start(&mut out, 2, snapshot),
            Self::Elements { snapshot, half, from, to } => {
                let kind = match half {
                    Half::Above => 3,
                    Half::Within => 8,
                };
                start(&mut out, kind, snapshot);
                put_varint(&mut out, *from);
                put_varint(&mut out, *to);
            }
            Self::Fingerprints { snapshot, half, ranges } => {
                start(&mut out, 4, snapshot);
                out.push(*half as u8);
                put_varint(&mut out, ranges.len() as u64);
                ranges.iter().for_each(|range| range.encode(&mut out));
            }
            Self::Names { snapshot, half, ranges } => {
                start(&mut out, 5, snapshot);
                out.push(*half as u8);
                put_varint(&mut out, ranges.len() as u64);
                ranges.iter().for_each(|range| range.encode(&mut out));
            }
            Self::Close(snapshot) => start(&mut out, 6, snapshot),
            Self::Meet(vector) => {
                out.push(7);
                vector.encode(&mut out);
            }
        }
        out.into()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let what = "pull";
        let mut reader = reader(body, what)?;
        let kind = reader.u8(what)?;
        let ask = match kind {
            1 => Self::Open(VersionVector::decode(&mut reader)?),
            2 => Self::Resume(reader.u64(what)?),
            3 | 8 => {
                let half = if kind == 3 { Half::Above } else { Half::Within };
                let (snapshot, from, to) = (reader.u64(what)?, reader.varint(what)?, reader.varint(what)?);
                Self::Elements { snapshot, half, from, to }
            }
            4 | 5 => {
                let (snapshot, half) = (reader.u64(what)?, half(&mut reader)?);
                let count = counted(&mut reader, RANGES_MAX, "ranges")?;
                let ranges = (0..count).map(|_| ElementRange::decode(&mut reader)).collect::<Result<_, _>>()?;
                if kind == 4 {
                    Self::Fingerprints { snapshot, half, ranges }
                } else {
                    Self::Names { snapshot, half, ranges }
                }
            }
            6 => Self::Close(reader.u64(what)?),
            7 => Self::Meet(VersionVector::decode(&mut reader)?),
            _ => return Err(DecodeError::NotCanonical { what }),
        };
        reader.finish(what)?;
        Ok(ask)
    }
}

impl Page {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        let start = |out: &mut Vec<u8>, kind: u8, snapshot: &u64| {
            out.push(kind);
            out.extend_from_slice(&snapshot.to_be_bytes());
        };
        match self {
            Self::Refusal(why) => out.extend_from_slice(&[0, *why as u8]),
            Self::Header { snapshot, header } => {
                start(&mut out, 1, snapshot);
                header.encode(&mut out);
            }
            Self::Elements { snapshot, from, next, fragments } => {
                start(&mut out, 3, snapshot);
                put_varint(&mut out, *from);
                put_varint(&mut out, *next);
                out.extend_from_slice(fragments);
            }
            Self::Fingerprints { snapshot, sums } => {
                start(&mut out, 4, snapshot);
                put_varint(&mut out, sums.len() as u64);
                for (first, fingerprint) in sums {
                    put_varint(&mut out, *first);
                    fingerprint.encode(&mut out);
                }
            }
            Self::Names { snapshot, names } => {
                start(&mut out, 5, snapshot);
                put_varint(&mut out, names.len() as u64);
                names.iter().for_each(|names| names.encode(&mut out));
            }
            Self::Meet { cut, digest } => {
                out.push(7);
                cut.encode(&mut out);
                out.extend_from_slice(&digest.to_be_bytes());
            }
        }
        out.into()
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let what = "page";
        let mut reader = reader(body, what)?;
        let kind = reader.u8(what)?;
        let page = match kind {
            0 => Self::Refusal(match reader.u8(what)? {
                0 => Refusal::Gone,
                1 => Refusal::Busy,
                2 => Refusal::Damaged,
                3 => Refusal::Unproven,
                4 => Refusal::OutOfReach,
                _ => return Err(DecodeError::NotCanonical { what }),
            }),
            1 => Self::Header { snapshot: reader.u64(what)?, header: Header::decode(&mut reader)? },
            3 => {
                let (snapshot, from, next) = (reader.u64(what)?, reader.varint(what)?, reader.varint(what)?);
                return Ok(Self::Elements { snapshot, from, next, fragments: reader.rest() });
            }
            4 => {
                let snapshot = reader.u64(what)?;
                let count = counted(&mut reader, RANGES_MAX, "fingerprints")?;
                let sum = |reader: &mut Reader| Ok((reader.varint(what)?, Fingerprint::decode(reader)?));
                let sums = (0..count).map(|_| sum(&mut reader)).collect::<Result<_, DecodeError>>()?;
                Self::Fingerprints { snapshot, sums }
            }
            5 => {
                let snapshot = reader.u64(what)?;
                let count = counted(&mut reader, RANGES_MAX, "ranges")?;
                let mut room = NAMES_MAX;
                let names = (0..count).map(|_| Names::decode(&mut reader, &mut room)).collect::<Result<_, _>>()?;
                Self::Names { snapshot, names }
            }
            7 => {
                let cut = VersionVector::decode(&mut reader)?;
                Self::Meet { cut, digest: u128::from_be_bytes(reader.array(what)?) }
            }
            _ => return Err(DecodeError::NotCanonical { what }),
        };
        reader.finish(what)?;
        Ok(page)
    }
}

impl Names {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.first);
        out.push(u8::from(self.is_whole));
        put_varint(out, self.names.len() as u64);
        for (element, check) in &self.names {
            put_element(out, *element);
            out.extend_from_slice(&check.to_be_bytes());
        }
    }

    /// There is `room` for so many names, on all of the page.
    fn decode(reader: &mut Reader, room: &mut usize) -> Result<Self, DecodeError> {
        let what = "names";
        let first = reader.varint(what)?;
        let is_whole = match reader.u8(what)? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::NotCanonical { what }),
        };
        let count = counted(reader, *room, what)?;
        *room -= count;
        let mut names: Vec<(Element, u64)> = Vec::new();
        for _ in 0..count {
            let name = (read_element(reader)?, reader.u64(what)?);
            if names.last().is_some_and(|(last, _)| *last >= name.0) {
                return Err(DecodeError::NotCanonical { what });
            }
            names.push(name);
        }
        Ok(Self { first, is_whole, names })
    }
}

fn reader(body: Bytes, what: &'static str) -> Result<Reader, DecodeError> {
    let mut reader = Reader::new(body);
    match reader.u8(what)? {
        VERSION => Ok(reader),
        found => Err(DecodeError::UnknownVersion { found }),
    }
}

fn half(reader: &mut Reader) -> Result<Half, DecodeError> {
    match reader.u8("half")? {
        0 => Ok(Half::Above),
        1 => Ok(Half::Within),
        _ => Err(DecodeError::NotCanonical { what: "half" }),
    }
}

fn counted(reader: &mut Reader, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    let count = reader.varint(what)?;
    match usize::try_from(count) {
        Ok(within) if within <= max => Ok(within),
        _ => Err(DecodeError::TooMany { what, count, max }),
    }
}
