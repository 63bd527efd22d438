//! The product's engine: fjall, with one keyspace.
//!
//! One keyspace, because rows keyed by rising commit numbers cost a quarter of what random keys in three cost, and because a
//! keyspace that nobody writes pins fjall's journals. Every batch names its durability: a batch without one is lost by a kill.
//! Syncs go past fjall, through a [`journal`] descriptor of our own, so that batches are written meanwhile.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, config::BlockSizePolicy};
use parking_lot::Mutex;

use self::journal::Journal;
use super::{Change, Engine, EngineError, Persist, Row, Rows, Snapshot};

mod journal;

/// Journal bytes above which fjall flushes whatever is left in memory.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// A memtable's bytes: about what opening replays, and what a busy replica holds in memory besides its index.
const MEMTABLE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a block: rows are read one by one by key and in long runs by recovery and catch-up.
const BLOCK_BYTES: u32 = 8 << 10;
/// Bytes of the block cache.
const CACHE_BYTES: u64 = 64 << 20;
/// The unit in which file systems tell how much they have allocated.
const BLOCK_UNIT: u64 = 512;
/// The name of the one keyspace.
const ROWS: &str = "rows";

/// fjall, behind the seam.
pub struct FjallEngine {
    path: PathBuf,
    database: Database,
    rows: Keyspace,
    /// Held for as long as a sync takes: there is one at a time.
    journal: Mutex<Journal>,
}

impl FjallEngine {
    /// Opens or creates the engine in a folder of its own.
    ///
    /// fjall forgives what it must not: a missing marker makes it delete the keyspace. So it is asked to open only a folder
    /// that [`missing_file`] has nothing to say about, or a new one.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(1)
            .open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES_MAX)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        };
        let rows = database.keyspace(ROWS, options)?;
        let journal = Mutex::new(Journal::newest(path).map_err(EngineError::Sync)?);
        Ok(Self { path: path.to_owned(), database, rows, journal })
    }
}

/// A file that every fjall folder of ours has and this one lacks, relative to the folder.
pub fn missing_file(path: &Path) -> Option<String> {
    let markers = ["version", "keyspaces/0/current", "keyspaces/1/current"];
    let missing = markers.into_iter().find(|marker| !path.join(marker).is_file());
    missing.map(str::to_owned).or_else(|| journals(path).next().is_none().then(|| "*.jnl".to_owned()))
}

/// The journal files. They are made as long as they may become, so that their length says nothing about the disk they take.
fn journals(path: &Path) -> impl Iterator<Item = Metadata> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let journals = entries.filter(|entry| journal::number(&entry.path()).is_some());
    journals.filter_map(|entry| entry.metadata().ok())
}

impl Engine for FjallEngine {
    fn write(&self, batch: Vec<Change>, persist: Persist) -> Result<(), EngineError> {
        let mode = match persist {
            Persist::Os => PersistMode::Buffer,
            Persist::Disk => PersistMode::SyncData,
        };
        let mut writes =
            fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.len()).durability(Some(mode));
        for change in batch {
            match change {
                Change::Put(key, value) => writes.insert(&self.rows, key, value),
                Change::Remove(key) => writes.remove(&self.rows, key),
            }
        }
        Ok(writes.commit()?)
    }

    fn persist(&self) -> Result<(), EngineError> {
        let mut journal = self.journal.lock();
        if journal.follow().map_err(EngineError::Sync)? {
            // What befell a journal before we opened it, fjall was told. This waits for the writer, once for each journal.
            self.database.persist(PersistMode::SyncData)?;
        }
        journal.sync().map_err(EngineError::Sync)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(FjallSnapshot { snapshot: self.database.snapshot(), rows: self.rows.clone() })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.rows.get(key)?.map(Bytes::from))
    }

    fn disk_bytes(&self) -> u64 {
        self.rows.disk_space() + journals(&self.path).map(|journal| journal.blocks() * BLOCK_UNIT).sum::<u64>()
    }

    /// fjall drops what was removed where a merge meets it, which on a store that nobody writes is never. This merges everything once. Its one
    /// worker may wait for that; a writer waits when four memtables have filled up meanwhile.
    fn defragment(&self) -> Result<(), EngineError> {
        // What was removed lately is in memory.
        self.rows.rotate_memtable_and_wait()?;
        Ok(self.rows.major_compact()?)
    }
}

struct FjallSnapshot {
    snapshot: fjall::Snapshot,
    rows: Keyspace,
}

impl Snapshot for FjallSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.snapshot.get(&self.rows, key)?.map(Bytes::from))
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Rows<'_> {
        Box::new(self.snapshot.range(&self.rows, start..end).map(read))
    }

    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, EngineError> {
        self.snapshot.range(&self.rows, start..end).next_back().map(read).transpose()
    }
}

fn read(guard: fjall::Guard) -> Result<Row, EngineError> {
    let (key, value) = guard.into_inner()?;
    Ok((key.into(), value.into()))
}
