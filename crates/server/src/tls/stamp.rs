//! Whether files have changed, by their metadata alone.
//!
//! Names are followed to the files they lead to, so that a folder that is swapped behind a symbolic link is a change of every file in it. Within
//! the grain of the file system's clock two contents can have one stamp: a file is taken for unchanged only once its stamp is older than
//! that.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

/// What is known of a set of files, without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    files: Vec<Option<Stamp>>,
    /// Whether a later change would show.
    settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at the files now. One that cannot be looked at is known as missing.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let now = SystemTime::now();
        let mut settled = true;
        let mut stamp = |path| {
            let metadata = fs::metadata(path).ok()?;
            let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
            settled &= age.is_some_and(|age| age > GRAIN);
            Some(Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        };
        let files = paths.map(&mut stamp).collect();
        Self { files, settled }
    }

    /// Whether files that were read after `before` was taken have to be read again.
    pub(super) fn may_differ_from(&self, before: &Self) -> bool {
        self.differ_from(before) || !before.settled
    }

    /// Whether files have visibly changed.
    pub(super) fn differ_from(&self, other: &Self) -> bool {
        self.files != other.files
    }
}

/// The coarsest clock of a file system in use: two seconds, on FAT.
const GRAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(path: &Path) -> Stamps {
        Stamps::of(std::iter::once(path))
    }

    #[test]
    fn a_folder_swapped_behind_a_link_is_a_change() {
        let home = tempfile::tempdir().unwrap();
        for (folder, content) in [("one", "a"), ("two", "b")] {
            fs::create_dir(home.path().join(folder)).unwrap();
            fs::write(home.path().join(folder).join("file"), content).unwrap();
        }
        let (link, next) = (home.path().join("data"), home.path().join("next"));
        symlink("one", &link).unwrap();
        let path = link.join("file");
        let before = of(&path);
        assert!(!of(&path).differ_from(&before));
        symlink("two", &next).unwrap();
        fs::rename(&next, &link).unwrap();
        assert!(of(&path).differ_from(&before));
    }

    #[test]
    fn a_file_that_has_just_been_written_is_looked_into_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        assert!(!of(&path).may_differ_from(&of(&path)), "what is missing stays missing until it is there");
        fs::write(&path, "a").unwrap();
        let fresh = of(&path);
        assert!(of(&path).may_differ_from(&fresh));
        let old = SystemTime::now() - 2 * GRAIN;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(!of(&path).may_differ_from(&of(&path)));
    }
}
