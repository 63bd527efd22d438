//! Where a site's rows are while it runs, while it is stopped, and after.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;
use tombolo_storage::{Committer, OpenError, OpenOptions, Papers, Store, engine::Engine};

use crate::{
    EngineKind, Random,
    disk::{Arranged, Damage, Disk, Habit, SharedDisk},
    trouble::Stop,
};

/// The rows of one site.
pub(crate) enum Rows {
    /// In memory.
    Memory {
        disk: SharedDisk,
        /// An older state of the rows, when one is kept.
        backup: Option<SharedDisk>,
    },
    /// In a folder that is removed with this.
    Folder(TempDir),
}

impl Rows {
    /// No rows yet. A replica whose rows `have_papers` may lose its name.
    pub(crate) fn new(kind: EngineKind, habit: Habit, have_papers: bool) -> Result<Self, OpenError> {
        match kind {
            EngineKind::Memory => {
                let papers = have_papers.then(Papers::new);
                Ok(Self::Memory { disk: Arc::new(Disk::new(habit, papers)), backup: None })
            }
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
            Self::Memory { disk, .. } => match disk.papers() {
                Some(papers) => Store::open_with(Box::new(Arc::clone(disk)), papers, options),
                None => Store::open_on(Box::new(Arc::clone(disk)), options),
            },
            Self::Folder(folder) => Store::open(&data(folder.path()), options),
        }
    }

    /// Makes the rows what a restart finds. The store is gone by now.
    pub(crate) fn stopped(&mut self, how: Stop) {
        // A folder keeps what was written when its process dies; machines do not stop in this process.
        if let Self::Memory { disk, .. } = self {
            *disk = Arc::new(disk.restart(how));
        }
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn sync(&self) {
        if let Self::Memory { disk, .. } = self {
            drop(disk.persist());
        }
    }

    /// Lets the next write fail, or only its sync. Returns whether these rows can be made to.
    pub(crate) fn fail(&self, only_sync: bool) -> bool {
        let Self::Memory { disk, .. } = self else { return false };
        if only_sync {
            disk.engine().fail_sync_in(1)
        } else {
            disk.engine().fail_in(1)
        }
        true
    }

    /// Lets the machine stop at one of the next calls of the engine, or takes that back.
    pub(crate) fn arrange(&self, arranged: Option<Arranged>) {
        if let Self::Memory { disk, .. } = self {
            disk.arrange(arranged);
        }
    }

    /// Whether the machine has stopped at a call of the engine.
    pub(crate) fn has_stopped(&self) -> bool {
        matches!(self, Self::Memory { disk, .. } if disk.has_stopped())
    }

    /// Damages some row at rest. Returns its key if there was one.
    pub(crate) fn damage(&self, random: &mut Random, damage: Damage) -> Option<Bytes> {
        let Self::Memory { disk, .. } = self else { return None };
        disk.damage(random, damage)
    }

    /// Makes damaged rows whole. Returns whether that could be done.
    pub(crate) fn heal(&self) -> bool {
        match self {
            Self::Memory { disk, .. } => disk.heal(),
            Self::Folder(_) => true,
        }
    }

    /// Keeps a copy of what is on disk now.
    pub(crate) fn back_up(&mut self) {
        if let Self::Memory { disk, backup } = self {
            *backup = Some(Arc::new(disk.copy()));
        }
    }

    /// Puts the copy in the place of the rows. Returns whether there was one.
    pub(crate) fn restore(&mut self) -> bool {
        let Self::Memory { disk, backup } = self else { return false };
        let Some(backup) = backup.take() else { return false };
        *disk = backup;
        true
    }

    /// A copy of what is on disk now, with its papers; `None` when there are none.
    pub(crate) fn copy(&self) -> Option<Disk> {
        match self {
            Self::Memory { disk, .. } if disk.papers().is_some() => Some(disk.copy()),
            _ => None,
        }
    }

    /// The end of the journal is lost: the rows are those of a while ago, and what lies beside them is not.
    pub(crate) fn lose_since(&mut self, copy: &Disk) {
        if let Self::Memory { disk, .. } = self {
            *disk = Arc::new(copy.with_papers(disk.papers().map(Papers::image)));
        }
    }

    /// All files are copies of others.
    pub(crate) fn replace(&mut self, copy: &Disk) {
        if let Self::Memory { disk, .. } = self {
            *disk = Arc::new(copy.with_papers(copy.papers().map(Papers::copy)));
        }
    }

    /// Loses the newest rows of the log. Returns how many.
    pub(crate) fn lose_suffix(&mut self, count: usize) -> usize {
        let Self::Memory { disk, .. } = self else { return 0 };
        let engine = disk.engine();
        let lose_last = || {
            let last = engine.snapshot().last(b"c", b"d").ok().flatten();
            last.is_some_and(|(key, _)| {
                // Who signed it was in the same batch.
                engine.lose(&[b"g", &key[1..]].concat());
                engine.lose(&key)
            })
        };
        (0..count).take_while(|_| lose_last()).count()
    }
}

fn data(folder: &Path) -> std::path::PathBuf {
    folder.join("data")
}
