//! A descriptor of our own on the journal that fjall writes, so that the disk can be waited for beside writes.
//!
//! fjall syncs its journal under the lock that every batch takes. A sync through a descriptor of ours needs no lock, and covers
//! every batch whose write returned before it began:
//!
//! * Such a batch is in the file system's hands, for it was written with [`PersistMode::Buffer`](fjall::PersistMode), and it is
//!   either in the newest journal or in one that fjall has sealed. fjall syncs a journal before it seals it, and the folder before
//!   the next journal takes a batch. So the newest journal is all there is to sync.
//! * The newest journal is found without reading the folder: they are numbered without gaps and removed oldest first. If the
//!   one after ours is not there, then ours is the newest, or ours has been removed too, which its descriptor tells.
//! * The kernel tells a failure of writing back once to each descriptor that was open then, and to one opened later unless somebody
//!   has been told. A journal is opened here long before it has failed, but for one that was sealed or failed to be before it was ever
//!   looked at: whoever changes journals therefore asks fjall, which has been told and is poisoned then.
//!
//! A failed sync is the last one: the kernel drops what it could not write, so that the next would succeed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The newest journal of a folder.
pub(super) struct Journal {
    folder: PathBuf,
    number: u64,
    file: File,
    has_failed: bool,
}

impl Journal {
    /// Opens the newest journal of an open engine.
    pub(super) fn newest(folder: &Path) -> io::Result<Self> {
        let (number, file) = newest(folder)?;
        Ok(Self { folder: folder.to_owned(), number, file, has_failed: false })
    }

    /// Moves on to the newest journal. Returns whether that is another than before.
    pub(super) fn follow(&mut self) -> io::Result<bool> {
        let before = self.number;
        while let Some(next) = open(&self.folder, self.number + 1)? {
            (self.number, self.file) = (self.number + 1, next);
        }
        // In this order: a next one that was there and has gone, went after ours.
        if self.file.metadata()?.nlink() == 0 {
            (self.number, self.file) = newest(&self.folder)?;
        }
        Ok(self.number != before)
    }

    /// Brings the journal to the disk as it was when this was called, or later.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier sync of the journal has failed"));
        }
        self.file.sync_data().inspect_err(|_| self.has_failed = true)
    }
}

/// The number of a journal's file; `None` for any other.
pub(super) fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".jnl")?.parse().ok()
}

fn newest(folder: &Path) -> io::Result<(u64, File)> {
    loop {
        let numbers = fs::read_dir(folder)?.filter_map(|entry| number(&entry.ok()?.path()));
        let newest = numbers.max().ok_or(io::ErrorKind::NotFound)?;
        // It may have been sealed and removed by now: then there is a newer one.
        if let Some(file) = open(folder, newest)? {
            return Ok((newest, file));
        }
    }
}

fn open(folder: &Path, number: u64) -> io::Result<Option<File>> {
    match File::open(folder.join(format!("{number}.jnl"))) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(folder: &Path, number: u64) {
        fs::write(folder.join(format!("{number}.jnl")), "").unwrap();
    }

    fn remove(folder: &Path, number: u64) {
        fs::remove_file(folder.join(format!("{number}.jnl"))).unwrap();
    }

    #[test]
    fn the_newest_journal_is_found_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(Journal::newest(folder).is_err(), "an open engine has a journal");
        fs::write(folder.join("version"), "").unwrap();
        [9, 10].into_iter().for_each(|number| create(folder, number));
        let mut journal = Journal::newest(folder).unwrap();
        assert_eq!((journal.number, journal.follow().unwrap()), (10, false));
        create(folder, 11);
        assert!(journal.follow().unwrap());
        [12, 13].into_iter().for_each(|number| create(folder, number));
        [9, 10].into_iter().for_each(|number| remove(folder, number));
        assert_eq!((journal.follow().unwrap(), journal.number), (true, 13));
        assert_eq!((journal.follow().unwrap(), journal.number), (false, 13));
        journal.sync().unwrap();
    }

    #[test]
    fn a_journal_that_was_removed_together_with_the_next_is_not_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        create(folder, 0);
        let mut journal = Journal::newest(folder).unwrap();
        [1, 2, 3].into_iter().for_each(|number| create(folder, number));
        [0, 1, 2].into_iter().for_each(|number| remove(folder, number));
        assert_eq!((journal.follow().unwrap(), journal.number), (true, 3));
    }

    #[test]
    fn a_failed_sync_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), 0);
        let mut journal = Journal::newest(folder.path()).unwrap();
        // What cannot be synced stands for a disk that fails.
        let file = std::mem::replace(&mut journal.file, File::open("/proc/self/stat").unwrap());
        assert!(journal.sync().is_err());
        journal.file = file;
        assert!(journal.sync().is_err(), "the next one would succeed, and mean nothing");
    }
}
