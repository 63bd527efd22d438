//! Small text files beside the store: a title, a format, lines of names and values, and a hash over all of that.
//!
//! They are written whole and made durable before anything relies on them. One that does not carry its own hash is refused, never
//! guessed at: a key with a wrong digit would be another key.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// The newest format of these files that this version knows.
const FORMAT: u32 = 1;

/// Why a file was not read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file system failed.
    #[error("failed to {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Its content is not what was written.
    #[error("{path} is damaged; nothing was changed: restore it from a backup of the folder")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("{path} has format {found}; this version knows formats up to {FORMAT}")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// What one file says: names and values in their order. A name may come more than once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn with_all(self, name: &str, values: impl IntoIterator<Item = impl ToString>) -> Self {
        values.into_iter().fold(self, |fields, value| fields.with(name, value))
    }

    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A hexadecimal field of as many bytes as are wanted.
    pub(super) fn bytes<const N: usize>(&self, name: &str) -> Option<[u8; N]> {
        unhex(self.one(name)?)?.try_into().ok()
    }
}

/// Reads the file `name` of a folder; `None` when there is none.
pub(super) fn read(folder: &Path, name: &str, title: &str) -> Result<Option<Fields>, FileError> {
    let path = folder.join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) if why.kind() == io::ErrorKind::InvalidData => return Err(FileError::Damaged { path }),
        Err(source) => return Err(FileError::Io { action: "read", path, source }),
    };
    parse(&text, title).map(Some).map_err(|fault| match fault {
        Fault::Damaged => FileError::Damaged { path },
        Fault::Newer(found) => FileError::NewerFormat { path, found },
    })
}

/// Writes the file `name` of a folder, for its owner alone, in the place of the one before. When this returns it is durable.
pub(super) fn write(folder: &Path, name: &str, title: &str, fields: &Fields) -> Result<(), FileError> {
    let path = folder.join(name);
    let draft = folder.join(format!("{name}.new"));
    let write = || {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(render(title, fields).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| FileError::Io { action: "write", path: path.clone(), source })
}

/// Removes the file `name` of a folder, if there is one; durably.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), FileError> {
    let path = folder.join(name);
    let removed = match fs::remove_file(&path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => Err(why),
        Ok(()) => File::open(folder).and_then(|folder| folder.sync_all()),
    };
    removed.map_err(|source| FileError::Io { action: "remove", path, source })
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

fn render(title: &str, fields: &Fields) -> String {
    let mut text = format!("{title}\nformat {FORMAT}\n");
    for (name, value) in &fields.0 {
        text.push_str(&format!("{name} {value}\n"));
    }
    let hash = xxh3_64(text.as_bytes());
    text.push_str(&format!("hash {hash:016x}\n"));
    text
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Damaged,
    Newer(u32),
}

fn parse(text: &str, title: &str) -> Result<Fields, Fault> {
    // The format comes first: a newer one may look different from here on.
    let format =
        text.lines().nth(1).and_then(|line| line.strip_prefix("format ")?.parse().ok()).ok_or(Fault::Damaged)?;
    if format > FORMAT {
        return Err(Fault::Newer(format));
    }
    let end = text.rfind("hash ").ok_or(Fault::Damaged)?;
    let (body, hash) = text.split_at(end);
    if hash != format!("hash {:016x}\n", xxh3_64(body.as_bytes())) || body.lines().next() != Some(title) {
        return Err(Fault::Damaged);
    }
    let field = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    body.lines().skip(2).map(field).collect::<Option<_>>().map(Fields).ok_or(Fault::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: &str = "tombolo test";

    fn sample() -> Fields {
        Fields::default().with("mesh", "0f").with_all("address", ["a:1", "b c:2"])
    }

    #[test]
    fn a_file_reads_back_as_written_and_belongs_to_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), "F", TITLE).unwrap(), None);
        for fields in [Fields::default(), sample()] {
            write(folder.path(), "F", TITLE, &fields).unwrap();
            assert_eq!(read(folder.path(), "F", TITLE).unwrap(), Some(fields));
        }
        let mode = fs::metadata(folder.path().join("F")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        assert_eq!(sample().all("address").collect::<Vec<_>>(), ["a:1", "b c:2"]);
        assert_eq!(sample().bytes("mesh"), Some([0x0f]));
    }

    #[test]
    fn no_changed_digit_and_no_cut_is_taken_for_what_was_written() {
        let text = render(TITLE, &sample());
        assert_eq!(parse(&text, TITLE), Ok(sample()));
        assert_eq!(parse(&text, "another title"), Err(Fault::Damaged));
        for at in 0..text.len() {
            assert_eq!(parse(&text[..at], TITLE).ok(), None, "cut at {at}");
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_ne!(parse(&changed, TITLE), Ok(sample()), "changed at {at}");
        }
        assert_eq!(parse(&text.replace("format 1", "format 9"), TITLE), Err(Fault::Newer(9)));
    }

    #[test]
    fn digits_are_bytes_or_nothing() {
        assert_eq!(unhex(&hex(&[0, 0x9f, 0xff])), Some(vec![0, 0x9f, 0xff]));
        for bad in ["0", "0g", "+1", "é0"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
