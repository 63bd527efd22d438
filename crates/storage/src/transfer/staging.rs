//! Staged rows: what has come of a transfer and is not joined yet. `t ‖ ordinal`, ascending as they came.
//!
//! ```text
//! content := 1 ‖ commit ‖ header           the moment that is being taken, and our last commit when it was asked for
//!          | 2 ‖ { fragment }              elements
//!          | 3 ‖ commit                    a publication has begun: no commit row above this one is there before its base row
//! ```
//!
//! Staged elements are material, and claim nothing: which of them count is found by comparing them with what a provider has. A
//! row that is lost or rotten is asked for again. So they are written with other rows' groups and removed without ceremony.

use std::collections::BTreeMap;

use bytes::Bytes;
use tombolo_crdt::{
    Element,
    codec::{Reader, put_varint},
};

use super::{fragment, header::Header};
use crate::{
    engine::{Change, EngineError, Snapshot},
    row::{Kind, commit::Part, seal, unseal},
};

const HEADER: u8 = 1;
const PAGE: u8 = 2;
const INTENT: u8 = 3;

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

    pub(crate) fn intent(ordinal: u64, commit: u64) -> Self {
        let mut out = vec![INTENT];
        put_varint(&mut out, commit);
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
    Intent {
        commit: u64,
    },
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
            INTENT => Some(Self::Intent { commit: reader.varint("commit").ok()? }),
            _ => None,
        }
    }
}

/// What lies staged.
#[derive(Default)]
pub(crate) struct Staging {
    /// The newest header, and our last commit when it was asked for.
    pub(crate) header: Option<(u64, Header)>,
    /// The elements, with their shares.
    pub(crate) elements: BTreeMap<Element, u128>,
    pub(crate) bytes: u64,
    /// The ordinal of the next row.
    pub(crate) next: u64,
}

impl Staging {
    /// Reads all staged rows. O(bytes).
    pub(crate) fn read(snapshot: &dyn Snapshot) -> Result<Self, EngineError> {
        let mut staging = Self { next: 1, ..Self::default() };
        for row in rows(snapshot) {
            let (ordinal, row) = row?;
            staging.next = ordinal + 1;
            staging.bytes += row.len() as u64;
            match StagedRow::decode(ordinal, &row) {
                StagedRow::Header { commit, header } => staging.header = Some((commit, *header)),
                StagedRow::Page(parts) => {
                    staging.elements.extend(parts.iter().flat_map(|part| fragment::elements(part)));
                }
                StagedRow::Intent { .. } | StagedRow::Damaged => {}
            }
        }
        Ok(staging)
    }
}

/// The staged rows there are, ascending.
pub(crate) fn rows(snapshot: &dyn Snapshot) -> impl Iterator<Item = Result<(u64, Bytes), EngineError>> {
    let rows = snapshot.scan(&Kind::Staged.key(0), &Kind::Staged.end());
    rows.filter_map(|row| row.map(|(key, row)| Some((Kind::Staged.number(&key)?, row))).transpose())
}
