//! Staged rows: what has come of a transfer and is not joined yet. `t ‖ ordinal`, ascending as they came.
//!
//! ```text
//! content := 1 ‖ commit ‖ header           the moment that is being taken, and our last commit when it was asked for
//!          | 2 ‖ { fragment }              elements
//! ```
//!
//! Staged elements are material, and claim nothing: which of them count is found by comparing them with what a provider has. A
//! row that is lost or rotten is asked for again. So they are written with other rows' groups and removed without ceremony.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tombolo_crdt::{
    Element, Operation, VersionVector,
    codec::{Reader, put_varint},
};
use xxhash_rust::xxh3::xxh3_64;

use super::{fragment, header::Header};
use crate::{
    engine::{Change, EngineError, Snapshot},
    row::{Kind, commit::Part, seal, unseal},
};

const HEADER: u8 = 1;
const PAGE: u8 = 2;

/// A row to be staged, as it came of a page.
#[derive(Clone, Debug)]
pub struct StagedPage {
    pub(crate) ordinal: u64,
    pub(crate) row: Bytes,
}

impl StagedPage {
    /// Bytes that it takes on disk, about.
    pub fn bytes(&self) -> usize {
        self.row.len()
    }

    pub(crate) fn header(ordinal: u64, commit: u64, header: &Header) -> Self {
        let mut out = vec![HEADER];
        put_varint(&mut out, commit);
        header.encode(&mut out);
        Self::seal(ordinal, out)
    }

    pub(crate) fn page(ordinal: u64, fragments: &[u8]) -> Self {
        let mut out = Vec::with_capacity(fragments.len() + 9);
        out.push(PAGE);
        out.extend_from_slice(fragments);
        Self::seal(ordinal, out)
    }

    fn seal(ordinal: u64, mut out: Vec<u8>) -> Self {
        seal(&mut out, 0, ordinal);
        Self { ordinal, row: out.into() }
    }

    pub(crate) fn change(self) -> Change {
        Change::Put(Kind::Staged.key(self.ordinal), self.row)
    }
}

/// A staged row, read.
pub(crate) enum StagedRow {
    Header {
        commit: u64,
        header: Box<Header>,
    },
    Page(Vec<Part>),
    /// It does not carry its hash, or says nothing.
    Damaged,
}

impl StagedRow {
    pub(crate) fn decode(ordinal: u64, row: &Bytes) -> Self {
        unseal(row, ordinal).and_then(Self::read).unwrap_or(Self::Damaged)
    }

    fn read(content: Bytes) -> Option<Self> {
        let mut reader = Reader::new(content);
        match reader.u8("form").ok()? {
            HEADER => {
                let commit = reader.varint("commit").ok()?;
                Some(Self::Header { commit, header: Box::new(Header::decode(&mut reader).ok()?) })
            }
            PAGE => {
                let mut parts = Vec::new();
                while reader.remaining() > 0 {
                    parts.push(fragment::read(&mut reader).ok()?);
                }
                Some(Self::Page(parts))
            }
            _ => None,
        }
    }
}

/// What lies staged.
#[derive(Default)]
pub(crate) struct Staging {
    /// The newest header, and our last commit when it was asked for.
    pub(crate) header: Option<(u64, Header)>,
    pub(crate) elements: StagedElements,
    pub(crate) bytes: u64,
    /// The ordinal of the next row.
    pub(crate) next: u64,
}

/// The elements that are staged and count, with their shares, and the row that each is in.
#[derive(Clone, Debug, Default)]
pub(crate) struct StagedElements {
    pub(crate) places: BTreeMap<Element, Place>,
    /// The hashes of their keys, ascending only once they are [sorted out](Self::crowded).
    keys: Vec<u64>,
    /// Elements that are in some row.
    in_rows: usize,
}

/// Where a staged element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) share: u128,
    pub(crate) row: u64,
}

impl StagedElements {
    /// Takes note of the elements of a row. One that was in an earlier row counts in this one.
    pub(crate) fn note(&mut self, row: u64, parts: &[Part]) {
        for part in parts {
            let elements = fragment::elements(part).map(|(element, share)| (element, Place { share, row }));
            self.places.extend(elements);
            let keys = part.record.operations.iter().filter_map(|operation| match operation {
                Operation::Put { key, .. } => Some(xxh3_64(key)),
                _ => None,
            });
            self.keys.extend(keys);
            self.in_rows += part.record.operations.len();
        }
    }

    /// The hashes of the keys of which more than one element is staged.
    pub(crate) fn crowded(&self) -> HashSet<u64> {
        let mut keys = self.keys.clone();
        keys.sort_unstable();
        keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
    }

    /// Whether every element counts that is in some row, and is in one alone.
    pub(crate) fn is_plain(&self) -> bool {
        self.in_rows == self.places.len()
    }
}

impl Staging {
    /// Reads the staged rows from `first` on. O(bytes).
    pub(crate) fn read(snapshot: &dyn Snapshot, first: u64) -> Result<Self, EngineError> {
        let mut staging = Self { next: first.max(1), ..Self::default() };
        for row in rows(snapshot, first) {
            let (ordinal, row) = row?;
            staging.next = ordinal + 1;
            staging.bytes += row.len() as u64;
            match StagedRow::decode(ordinal, &row) {
                StagedRow::Header { commit, header } => staging.header = Some((commit, *header)),
                StagedRow::Page(parts) => staging.elements.note(ordinal, &parts),
                StagedRow::Damaged => {}
            }
        }
        Ok(staging)
    }
}

/// The staged rows from `first` on, ascending.
pub(crate) fn rows(snapshot: &dyn Snapshot, first: u64) -> impl Iterator<Item = Result<(u64, Bytes), EngineError>> {
    let rows = snapshot.scan(&Kind::Staged.key(first), &Kind::Staged.end());
    rows.filter_map(|row| row.map(|(key, row)| Some((Kind::Staged.number(&key)?, row))).transpose())
}

/// The ordinal after the last staged row, if what is staged leads nowhere that `frontier` has not been. Otherwise 0.
pub(crate) fn useless_below(snapshot: &dyn Snapshot, frontier: &VersionVector) -> Result<u64, EngineError> {
    let Staging { header, next, .. } = Staging::read(snapshot, 0)?;
    Ok(if header.is_some_and(|(_, header)| frontier.includes(&header.vector)) { next } else { 0 })
}
