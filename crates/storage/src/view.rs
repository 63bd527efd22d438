//! Reading pairs out of index and rows: where a value is, to what it is.

use bytes::Bytes;
use tombolo_crdt::{LeaseRef, Operation};

use crate::{
    KeyValue, ReadError,
    engine::{Engine, EngineError, Snapshot},
    index::Visible,
    row::commit::{self, CommitRow, Location},
};

/// Something that commit rows can be read from.
pub(crate) trait Rows {
    /// The row of a commit.
    fn row(&self, commit: u64) -> Result<Option<Bytes>, EngineError>;
}

impl Rows for dyn Engine + '_ {
    fn row(&self, commit: u64) -> Result<Option<Bytes>, EngineError> {
        self.get(&commit::key(commit))
    }
}

impl Rows for dyn Snapshot + '_ {
    fn row(&self, commit: u64) -> Result<Option<Bytes>, EngineError> {
        self.get(&commit::key(commit))
    }
}

/// A value and what it is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) lease: Option<LeaseRef>,
}

/// Reads and checks a commit's row.
pub(crate) fn read_row(rows: &(impl Rows + ?Sized), commit: u64) -> Result<CommitRow, ReadError> {
    let row = rows.row(commit).map_err(|error| ReadError::at(commit, error))?.ok_or(ReadError::Rot { commit })?;
    CommitRow::decode(&row, commit)
}

/// Reads a value.
pub(crate) fn read_value(rows: &(impl Rows + ?Sized), at: Location) -> Result<Stored, ReadError> {
    let row = read_row(rows, at.commit)?;
    match row.operation(at.element) {
        Some(Operation::Put { value, lease, .. }) => Ok(Stored { value: value.clone(), lease: *lease }),
        _ => Err(ReadError::Rot { commit: at.commit }),
    }
}

/// Reads a pair.
pub(crate) fn read_pair(rows: &(impl Rows + ?Sized), key: Bytes, visible: Visible) -> Result<KeyValue, ReadError> {
    let stored = read_value(rows, visible.shown.at)?;
    Ok(pair(key, visible, stored))
}

pub(crate) fn pair(key: Bytes, visible: Visible, stored: Stored) -> KeyValue {
    KeyValue {
        key,
        value: stored.value,
        create_revision: visible.shown.create_revision,
        mod_revision: visible.mod_revision,
        version: visible.shown.version,
        lease: stored.lease.map_or(0, |lease| lease.id),
    }
}
