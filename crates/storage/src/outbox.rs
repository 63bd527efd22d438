//! Sealed groups on their way to the engine.
//!
//! Whoever executes puts a group here and goes on; whoever waits for the disk writes what is here, in order, each group as one atomic
//! batch. While the disk is waited for nobody is there to write: then who puts a group here binds it before, and if the disk is waited for still, writes
//! it as well, and the next sync begins at once. So the quicker of two threads takes more of the work. No write of theirs overtakes another, and none
//! follows one that failed; beside them only rows are written that nobody reads yet.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use parking_lot::Mutex;
use tombolo_crdt::Chain;

use crate::{
    engine::{Change, EngineError, Persist},
    row::{bound::Bound, sheet::SealedSheet},
    store::Shared,
};

/// What a group writes.
pub(crate) struct Batch {
    pub(crate) group: u64,
    /// The rows of its commits.
    pub(crate) rows: Arc<SealedSheet>,
    /// What is written besides.
    pub(crate) changes: Vec<Change>,
}

/// Groups that were sealed and that the engine does not have yet.
#[derive(Default)]
pub(crate) struct Outbox {
    batches: Mutex<Vec<Batch>>,
    /// The last group that the engine has. Held for as long as somebody writes.
    written: Mutex<u64>,
    /// Threads that wait for the disk, and so write nothing.
    syncing: AtomicU32,
    /// How far the rows are bound, those that are here and those that are in no group yet.
    pub(crate) bound: Mutex<Bound>,
}

impl Batch {
    /// The bytes to be written.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.bytes() + bytes(&self.changes)
    }

    fn into_changes(mut self) -> Vec<Change> {
        self.rows.add_changes(&mut self.changes);
        self.changes
    }
}

/// The bytes that changes write.
pub(crate) fn bytes(changes: &[Change]) -> u64 {
    let bytes = changes.iter().map(|change| match change {
        Change::Put(key, value) => (key.len() + value.len()) as u64,
        Change::Remove(key) => key.len() as u64,
    });
    bytes.sum()
}

impl Outbox {
    /// Nothing has been sealed since records with these chains.
    pub(crate) fn after(chains: [Chain; 2]) -> Self {
        Self { bound: Bound::after(chains).into(), ..Self::default() }
    }

    /// Takes a group, the next one.
    pub(crate) fn put(&self, batch: Batch) {
        self.batches.lock().push(batch);
    }

    /// Whether a thread waits for the disk.
    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing.load(Ordering::Relaxed) > 0
    }
}

impl Shared {
    /// Hands every group that was sealed by now to the operating system. Returns the last one that it has. A failure latches: nothing is
    /// written after it.
    pub(crate) fn write_sealed(&self) -> Result<u64, String> {
        let mut written = self.outbox.written.lock();
        self.reached.failure().map_or(Ok(()), |cause| Err(cause.to_owned()))?;
        // Taken before the loop: in its head the lock would be held until everything is written, and who seals would wait for it.
        let batches = std::mem::take(&mut *self.outbox.batches.lock());
        for batch in batches {
            let group = batch.group;
            batch.rows.bind(&self.outbox.bound);
            self.write(batch.into_changes(), Persist::Os)?;
            *written = group;
        }
        Ok(*written)
    }

    /// Brings everything that was written to the disk.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        self.outbox.syncing.fetch_add(1, Ordering::Relaxed);
        let synced = self.engine.persist();
        self.outbox.syncing.fetch_sub(1, Ordering::Relaxed);
        synced
    }

    /// Writes what belongs to no group, after every group that was sealed before. A failure latches.
    pub(crate) fn write_apart(&self, changes: Vec<Change>, persist: Persist) -> Result<(), String> {
        // A group that is sealed from now on is written after this: only who seals calls this.
        self.write_sealed()?;
        self.write(changes, persist)
    }

    /// Writes what belongs to no group and to no place in their order: rows that nobody reads before a later group says so. On any thread.
    /// A failure latches.
    pub(crate) fn write_beside(&self, changes: Vec<Change>) -> Result<(), String> {
        self.reached.failure().map_or(Ok(()), |cause| Err(cause.to_owned()))?;
        self.write(changes, Persist::Os)
    }

    fn write(&self, changes: Vec<Change>, persist: Persist) -> Result<(), String> {
        self.engine.write(changes, persist).map_err(|error| {
            let cause = error.to_string();
            self.reached.fail(&self.health, cause.clone());
            cause
        })
    }
}
