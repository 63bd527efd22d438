//! The rows of a group, on their way to the engine: written one behind another, to one piece of memory.
//!
//! A [`Sheet`] is written to; a [`SealedSheet`] is read by whoever executes and by whoever hands it to the engine, at the same time.
//!
//! A row stays in memory until the engine has flushed it. With memory of its own each would take three allocations, for its
//! key, its content and the count of its owners, and a third more room than it fills. The rows of a group are in one batch
//! and so are flushed together: none keeps the others longer than it is kept itself.

use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    HASH_LEN, KEY_LEN, Kind,
    bound::Bound,
    commit::{CommitRow, Layer},
    fill_hash,
};
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
    /// The records that are not bound yet, in order.
    unbound: Vec<Unbound>,
    /// How many rows are bound.
    bound: usize,
}

/// A record that has no chain yet.
struct Unbound {
    /// Which of the rows it is in.
    row: usize,
    layer: Layer,
    place: Range<usize>,
}

/// The rows of a group, which do not change any more but for being bound.
pub(crate) struct SealedSheet {
    len: u64,
    content: Mutex<Content>,
}

enum Content {
    Unbound(Sheet),
    Bound {
        first: u64,
        bytes: Bytes,
        ends: Vec<usize>,
        /// Where the last row stands.
        after: Bound,
    },
}

impl Sheet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Writes the row of commit `number`, the next one. Returns its bytes.
    pub(crate) fn write(&mut self, number: u64, row: &CommitRow) -> u64 {
        if self.is_empty() {
            self.first = number;
        }
        debug_assert_eq!(number, self.first + self.len() as u64, "rows are found by their place");
        let at = self.len();
        self.bytes.extend_from_slice(&Kind::Commit.key_bytes(number));
        let start = self.bytes.len();
        let unbound = &mut self.unbound;
        row.write(number, &mut self.bytes, |layer, place| unbound.push(Unbound { row: at, layer, place }));
        self.bytes.extend_from_slice(&[0; HASH_LEN]);
        self.ends.push(self.bytes.len());
        (self.bytes.len() - start) as u64
    }

    /// Binds the rows that are not bound yet, those of earlier sheets being bound.
    pub(crate) fn bind(&mut self, bound: &mut Bound) {
        let mut records = self.unbound.drain(..).peekable();
        for (at, number) in (self.bound..self.ends.len()).zip(self.first + self.bound as u64..) {
            while let Some(record) = records.next_if(|record| record.row == at) {
                bound.record(record.layer, &mut self.bytes[record.place]);
            }
            bound.row(&mut self.bytes[place_of(&self.ends, at)], number);
        }
        self.bound = self.ends.len();
    }

    /// A copy of a row that is here. One that is not bound has its hash all the same, but a record in it may have no chain.
    pub(crate) fn row(&self, number: u64) -> Option<Bytes> {
        let at = place(self.first, &self.ends, number)?;
        let mut row = self.bytes[place_of(&self.ends, at)].to_vec();
        if at >= self.bound {
            fill_hash(&mut row, number);
        }
        Some(row.into())
    }

    /// Takes all rows off.
    pub(crate) fn seal(&mut self) -> SealedSheet {
        // The next group is about as large.
        let room = (self.bytes.len() + self.bytes.len() / 8).min(ROOM_BYTES_MAX);
        let next = Self {
            bytes: Vec::with_capacity(room),
            ends: Vec::with_capacity(self.ends.len()),
            unbound: Vec::with_capacity(self.ends.len()),
            ..Self::default()
        };
        SealedSheet { len: self.bytes.len() as u64, content: Content::Unbound(std::mem::replace(self, next)).into() }
    }
}

impl SealedSheet {
    /// Bytes of all rows and their keys.
    pub(crate) fn bytes(&self) -> u64 {
        self.len
    }

    /// Binds the rows, unless they are, those of earlier sheets being bound. On any thread.
    pub(crate) fn bind(&self, bound: &Mutex<Bound>) {
        let mut bound = bound.lock();
        let content = &mut *self.content.lock();
        if let Content::Unbound(sheet) = content {
            sheet.bind(&mut bound);
            let Sheet { first, bytes, ends, .. } = std::mem::take(sheet);
            *content = Content::Bound { first, bytes: bytes.into(), ends, after: *bound };
        }
    }

    /// Where the last row stands; `None` while the rows are not bound.
    pub(crate) fn bound(&self) -> Option<Bound> {
        match &*self.content.lock() {
            Content::Unbound(_) => None,
            Content::Bound { after, .. } => Some(*after),
        }
    }

    /// A row that is here, as [`Sheet::row`] has it.
    pub(crate) fn row(&self, number: u64) -> Option<Bytes> {
        match &*self.content.lock() {
            Content::Unbound(sheet) => sheet.row(number),
            Content::Bound { first, bytes, ends, .. } => {
                Some(bytes.slice(place_of(ends, place(*first, ends, number)?)))
            }
        }
    }

    /// Adds how to write the rows.
    ///
    /// # Panics
    ///
    /// When they are not bound.
    pub(crate) fn add_changes(&self, changes: &mut Vec<Change>) {
        let content = self.content.lock();
        let Content::Bound { bytes, ends, .. } = &*content else { panic!("rows are bound before they are written") };
        changes.reserve(ends.len());
        for row in (0..ends.len()).map(|at| place_of(ends, at)) {
            changes.push(Change::Put(bytes.slice(row.start - KEY_LEN..row.start), bytes.slice(row)));
        }
    }
}

/// Which of the rows is that of a commit.
fn place(first: u64, ends: &[usize], number: u64) -> Option<usize> {
    let at = usize::try_from(number.checked_sub(first)?).ok()?;
    (at < ends.len()).then_some(at)
}

/// Where a row lies, without its key.
fn place_of(ends: &[usize], at: usize) -> Range<usize> {
    let start = at.checked_sub(1).map_or(0, |before| ends[before]);
    start + KEY_LEN..ends[at]
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Chain, Dot, Hlc, Operation, Record, RecordHeader, ReplicaId, VersionVector};

    use super::*;
    use crate::{
        Revision,
        row::{
            Tally,
            commit::{self, Layer, Part},
        },
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
        let part = Part { layer: Layer::Mesh, record, bytes, indices: None, context: None, is_unbound: false };
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

    /// The same of a commit whose record is still to be bound.
    fn unbound(number: u64, value_bytes: usize) -> CommitRow {
        let mut row = row(number, value_bytes);
        let part = &mut row.parts[0];
        (part.bytes, part.is_unbound) = (part.record.encode_unbound().into(), true);
        row
    }

    #[test]
    fn rows_are_bound_in_order_however_many_at_a_time() {
        let (mut sheet, bound) = (Sheet::default(), Mutex::new(Bound::default()));
        let (mut expected, mut chain) = (Vec::new(), Chain::BEGINNING);
        let mut sealed = Vec::new();
        for number in 1..=9 {
            let mut alone = row(number, 300);
            (alone.parts[0].bytes, chain) = alone.parts[0].record.encode(&chain);
            expected.push(Change::Put(commit::key(number), alone.encode(number)));
            sheet.write(number, &unbound(number, 300));
            let read = sheet.row(number).map(|row| CommitRow::decode(&row, number).expect("it has its hash"));
            assert_eq!(
                read.map(|row| row.parts[0].record.operations.clone()),
                Some(alone.parts[0].record.operations.clone())
            );
            match number {
                2 => sheet.bind(&mut bound.lock()),
                4 | 5 => sealed.push(sheet.seal()),
                7 => {
                    sealed.iter().for_each(|before| before.bind(&bound));
                    sheet.bind(&mut bound.lock());
                }
                _ => {}
            }
        }
        sealed.push(sheet.seal());
        let mut changes = Vec::new();
        for sheet in &sealed {
            sheet.bind(&bound);
            sheet.add_changes(&mut changes);
        }
        assert_eq!(changes, expected);
        let hashes = expected.iter().map(|change| match change {
            Change::Put(_, row) => Tally::of(row).hashes,
            Change::Remove(_) => 0,
        });
        let bound = *bound.lock();
        assert_eq!((bound.chains()[0], bound.hashes), (chain, hashes.sum()));
        assert_eq!(sealed.last().and_then(SealedSheet::bound), Some(bound));
    }

    #[test]
    fn rows_are_as_if_written_alone() {
        let (mut sheet, bound) = (Sheet::default(), Mutex::default());
        assert_eq!(sheet.row(0), None);
        for group in [1..2, 2..9, 9..10, 10..300] {
            let rows: Vec<_> = group.map(|number| (number, row(number, 3_000 % number as usize))).collect();
            for (number, row) in &rows {
                assert_eq!(sheet.write(*number, row), row.encode(*number).len() as u64);
            }
            for (number, row) in &rows {
                assert_eq!(sheet.row(*number), Some(row.encode(*number)));
            }
            assert_eq!((sheet.row(rows[0].0 - 1), sheet.row(rows[0].0 + rows.len() as u64)), (None, None));
            let expected = rows.iter().map(|(number, row)| Change::Put(commit::key(*number), row.encode(*number)));
            let sealed = sheet.seal();
            assert_eq!(sealed.row(rows[0].0), Some(rows[0].1.encode(rows[0].0)), "a row is read before it is bound");
            assert_eq!(sealed.bound(), None);
            sealed.bind(&bound);
            let mut changes = Vec::new();
            sealed.add_changes(&mut changes);
            assert!(changes.into_iter().eq(expected));
            for (number, row) in &rows {
                assert_eq!(sealed.row(*number), Some(row.encode(*number)));
            }
            assert_eq!((sealed.row(rows[0].0 - 1), sealed.row(rows[0].0 + rows.len() as u64)), (None, None));
            assert!(sheet.is_empty() && sheet.row(rows[0].0).is_none());
        }
    }
}
