//! The seam between the store and the engine that keeps its rows: ordered rows, atomic batches, snapshots, persist.
//!
//! There are two engines, `fjall` for the product and `memory` for tests and
//! the simulator, and one conformance suite for both. The seam promises atomic batches and nothing about overwriting: the
//! store never relies on a newer value of a row winning over an older one, and checks every row with its own hash.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

pub mod fjall;
pub mod memory;

/// A change of one row within a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a row.
    Put(Bytes, Bytes),
    /// Removes a row.
    Remove(Bytes),
}

/// How far a batch must have come before [`Engine::write`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// To the operating system: survives the process, not the machine.
    Os,
    /// To the disk.
    Disk,
}

/// A row as read.
pub type Row = (Bytes, Bytes);

/// An ordered iterator over rows.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row, EngineError>> + 'a>;

/// Rows at rest.
pub trait Engine: Send + Sync {
    /// Applies all changes as one unit, which every later read sees. After an error the outcome is unknown and the engine must not
    /// be written again.
    fn write(&self, batch: Vec<Change>, persist: Persist) -> Result<(), EngineError>;

    /// Makes durable every batch whose write had returned before this was called. On any thread: batches are written meanwhile,
    /// and of those nothing is said. After an error nobody knows what is on disk, and every later call fails too.
    fn persist(&self) -> Result<(), EngineError>;

    /// The rows as they are now, whatever is written later. Holding one keeps overwritten rows on disk: hold it briefly.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// Reads one row as it is now.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;

    /// Gives back disk that rows no longer in use take. It may take minutes, on any thread, one at a time; batches are written meanwhile.
    fn defragment(&self) -> Result<(), EngineError>;
}

/// A shared engine is an engine: who tests or simulates keeps a handle to crash it by.
impl<E: Engine> Engine for Arc<E> {
    fn write(&self, batch: Vec<Change>, persist: Persist) -> Result<(), EngineError> {
        E::write(self, batch, persist)
    }

    fn persist(&self) -> Result<(), EngineError> {
        E::persist(self)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        E::snapshot(self)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        E::get(self, key)
    }

    fn disk_bytes(&self) -> u64 {
        E::disk_bytes(self)
    }

    fn defragment(&self) -> Result<(), EngineError> {
        E::defragment(self)
    }
}

/// Rows as they were at one moment.
pub trait Snapshot: Send + Sync {
    /// Reads one row.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Reads the rows with `start <= key < end`, ascending.
    fn scan(&self, start: &[u8], end: &[u8]) -> Rows<'_>;

    /// The last row with `start <= key < end`.
    fn last(&self, start: &[u8], end: &[u8]) -> Result<Option<Row>, EngineError>;
}

/// A failure of an engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// fjall's own.
    #[error("fjall failed: {0}")]
    Fjall(#[from] ::fjall::Error),
    /// The journal could not be synced.
    #[error("failed to sync the journal: {0}")]
    Sync(#[source] std::io::Error),
    /// A fault that a test asked the memory engine for.
    #[error("injected fault: {0}")]
    Injected(&'static str),
    /// A place that a test made unreadable.
    #[error("this place of the disk cannot be read")]
    Unreadable,
}

impl EngineError {
    /// Whether what lies on the disk is damaged there, and only there: other rows may be read.
    pub fn is_damage(&self) -> bool {
        let of_file = |error: &std::io::Error| {
            error.kind() == std::io::ErrorKind::UnexpectedEof
                || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        };
        match self {
            Self::Fjall(::fjall::Error::Storage(::fjall::LsmError::Io(error)) | ::fjall::Error::Io(error)) => {
                of_file(error)
            }
            Self::Fjall(error) => matches!(
                error,
                ::fjall::Error::Storage(_)
                    | ::fjall::Error::Decompress(_)
                    | ::fjall::Error::InvalidTrailer
                    | ::fjall::Error::InvalidTag(_)
            ),
            Self::Unreadable => true,
            Self::Sync(_) | Self::Injected(_) => false,
        }
    }
}
