//! The rows of a group, on their way to the engine: written one behind another, to one piece of memory.
//!
//! A [`Sheet`] is written to; a [`SealedSheet`] is read by whoever executes and by whoever hands it to the engine, at the same time.
//!
//! A row stays in memory until the engine has flushed it. With memory of its own each would take three allocations, for its
//! key, its content and the count of its owners, and a third more room than it fills. The rows of a group are in one batch
//! and so are flushed together: none keeps the others longer than it is kept itself.

use std::ops::Range;

use bytes::Bytes;

use super::{KEY_LEN, Kind, commit::CommitRow};
use crate::engine::Change;

/// The largest group for whose like room is made beforehand.
const ROOM_BYTES_MAX: usize = 64 << 10;

/// Rows of successive commits that are in no group yet.
#[derive(Default)]
pub(crate) struct Sheet {
    /// The commit of the first row.
    first: u64,
    /// Each row behind its key.
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

/// The rows of a group, which does not change any more.
pub(crate) struct SealedSheet {
    first: u64,
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Sheet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Writes the row of commit `number`, the next one, and returns it.
    pub(crate) fn write(&mut self, number: u64, row: &CommitRow) -> &[u8] {
        if self.is_empty() {
            self.first = number;
        }
        debug_assert_eq!(number, self.first + self.len() as u64, "rows are found by their place");
        self.bytes.extend_from_slice(&Kind::Commit.key_bytes(number));
        let start = self.bytes.len();
        row.write(number, &mut self.bytes);
        self.ends.push(self.bytes.len());
        &self.bytes[start..]
    }

    /// A copy of a row that is here.
    pub(crate) fn row(&self, number: u64) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.bytes[place(self.first, &self.ends, number)?]))
    }

    /// Takes all rows off.
    pub(crate) fn seal(&mut self) -> SealedSheet {
        // The next group is about as large.
        let room = (self.bytes.len() + self.bytes.len() / 8).min(ROOM_BYTES_MAX);
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        let count = self.ends.len();
        let ends = std::mem::replace(&mut self.ends, Vec::with_capacity(count));
        SealedSheet { first: self.first, bytes: bytes.into(), ends }
    }
}

impl SealedSheet {
    /// Bytes of all rows and their keys.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A row that is here.
    pub(crate) fn row(&self, number: u64) -> Option<Bytes> {
        Some(self.bytes.slice(place(self.first, &self.ends, number)?))
    }

    /// How to write the rows.
    pub(crate) fn changes(&self) -> impl ExactSizeIterator<Item = Change> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let key_end = start + KEY_LEN;
            let change = Change::Put(self.bytes.slice(start..key_end), self.bytes.slice(key_end..end));
            start = end;
            change
        })
    }
}

/// Where the row of a commit lies, without its key.
fn place(first: u64, ends: &[usize], number: u64) -> Option<Range<usize>> {
    let at = usize::try_from(number.checked_sub(first)?).ok()?;
    let end = *ends.get(at)?;
    let start = at.checked_sub(1).map_or(0, |before| ends[before]);
    Some(start + KEY_LEN..end)
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Dot, Hlc, Operation, Record, RecordHeader, ReplicaId, VersionVector};

    use super::*;
    use crate::{
        Revision,
        row::commit::{self, Layer, Part},
    };

    /// A commit that puts a value of so many bytes.
    fn row(number: u64, value_bytes: usize) -> CommitRow {
        let dot = Dot::new(ReplicaId::new(7).unwrap(), number);
        let header =
            RecordHeader { dot, hlc: Hlc::default(), context_delta: VersionVector::new(), chain: Chain::BEGINNING };
        let key = Bytes::from_static(b"key");
        let value = vec![number as u8; value_bytes].into();
        let mut record =
            Record { header, operations: vec![Operation::Put { key, value, lease: None, supersedes: Vec::new() }] };
        let (bytes, chain) = record.encode(&Chain::BEGINNING);
        record.header.chain = chain;
        let part = Part { layer: Layer::Mesh, record, bytes, indices: None, context: None };
        let revision = Revision::new(number as i64).unwrap();
        CommitRow {
            revision,
            parts: vec![part],
            cleared: Vec::new(),
            effects: Default::default(),
            ordinals: Vec::new(),
            apart: Default::default(),
        }
    }

    #[test]
    fn rows_are_as_if_written_alone() {
        let mut sheet = Sheet::default();
        assert_eq!(sheet.row(0), None);
        for group in [1..2, 2..9, 9..10, 10..300] {
            let rows: Vec<_> = group.map(|number| (number, row(number, 3_000 % number as usize))).collect();
            for (number, row) in &rows {
                assert_eq!(sheet.write(*number, row), row.encode(*number));
            }
            for (number, row) in &rows {
                assert_eq!(sheet.row(*number), Some(row.encode(*number)));
            }
            assert_eq!((sheet.row(rows[0].0 - 1), sheet.row(rows[0].0 + rows.len() as u64)), (None, None));
            let expected = rows.iter().map(|(number, row)| Change::Put(commit::key(*number), row.encode(*number)));
            let sealed = sheet.seal();
            assert!(sealed.changes().eq(expected));
            for (number, row) in &rows {
                assert_eq!(sealed.row(*number), Some(row.encode(*number)));
            }
            assert_eq!((sealed.row(rows[0].0 - 1), sealed.row(rows[0].0 + rows.len() as u64)), (None, None));
            assert!(sheet.is_empty() && sheet.row(rows[0].0).is_none());
        }
    }
}
