//! Where a site's rows are while it runs, while it is stopped, and after.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;
use tombolo_storage::{
    Committer, OpenError, OpenOptions, Store,
    engine::{Engine, memory::MemoryEngine},
};

use crate::{EngineKind, trouble::Stop};

/// The rows of one site.
pub(crate) enum Rows {
    /// In memory.
    Memory {
        engine: Arc<MemoryEngine>,
        /// An older state of the rows, when one is kept.
        backup: Option<MemoryEngine>,
    },
    /// In a folder that is removed with this.
    Folder(TempDir),
}

impl Rows {
    /// No rows yet.
    pub(crate) fn new(kind: EngineKind) -> Result<Self, OpenError> {
        match kind {
            EngineKind::Memory => Ok(Self::Memory { engine: Arc::new(MemoryEngine::new()), backup: None }),
            EngineKind::Fjall => {
                let made = tempfile::Builder::new().prefix("tombolo-sim-").tempdir();
                let folder =
                    made.map_err(|source| OpenError::Io { action: "make", path: std::env::temp_dir(), source })?;
                Ok(Self::Folder(folder))
            }
        }
    }

    pub(crate) fn open(&self, options: &OpenOptions) -> Result<(Store, Committer), OpenError> {
        match self {
            Self::Memory { engine, .. } => Store::open_on(Box::new(Arc::clone(engine)), options),
            Self::Folder(folder) => Store::open(&data(folder.path()), options),
        }
    }

    /// Makes the rows what a restart finds. The store is gone by now.
    pub(crate) fn stopped(&mut self, how: Stop) {
        // A folder keeps what was written when its process dies; machines do not stop in this process.
        let Self::Memory { engine, .. } = self else { return };
        *engine = Arc::new(match how {
            Stop::Crash => engine.crash(),
            Stop::Kill | Stop::Close => engine.kill(),
        });
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn sync(&self) {
        if let Self::Memory { engine, .. } = self {
            drop(engine.persist());
        }
    }

    /// Lets the next write fail, or only its sync. Returns whether these rows can be made to.
    pub(crate) fn fail(&self, only_sync: bool) -> bool {
        let Self::Memory { engine, .. } = self else { return false };
        if only_sync {
            engine.fail_sync_in(1)
        } else {
            engine.fail_in(1)
        }
        true
    }

    /// Keeps a copy of what is on disk now.
    pub(crate) fn back_up(&mut self) {
        if let Self::Memory { engine, backup } = self {
            *backup = Some(engine.crash());
        }
    }

    /// Puts the copy in the place of the rows. Returns whether there was one.
    pub(crate) fn restore(&mut self) -> bool {
        let Self::Memory { engine, backup } = self else { return false };
        let Some(backup) = backup.take() else { return false };
        *engine = Arc::new(backup);
        true
    }

    /// Loses the newest rows of the log. Returns how many.
    pub(crate) fn lose_suffix(&mut self, count: usize) -> usize {
        let Self::Memory { engine, .. } = self else { return 0 };
        let lose_last = || {
            let last = engine.snapshot().last(b"c", b"d").ok().flatten();
            last.is_some_and(|(key, _)| engine.lose(&key))
        };
        (0..count).take_while(|_| lose_last()).count()
    }
}

fn data(folder: &Path) -> std::path::PathBuf {
    folder.join("data")
}
