//! The file `KEY`: the seed of the key pair by which this folder's replica is known to its peers.
//!
//! It is made with the folder, or at the first start of a version that knows of meshes, and never changes. Peers pin it:
//! a folder that has lost it must not get another one under the same name.

use std::path::Path;

use tombolo_net::{KeyError, KeyPair};

use super::file::{self, Fields, FileError};

const NAME: &str = "KEY";
const TITLE: &str = "tombolo key";

/// The folder's key pair, if it has one.
pub(super) fn load(folder: &Path) -> Result<Option<KeyPair>, FileError> {
    let Some(fields) = file::read(folder, NAME, TITLE)? else { return Ok(None) };
    let damaged = || FileError::Damaged { path: folder.join(NAME) };
    let seed = fields.bytes(SEED).ok_or_else(damaged)?;
    KeyPair::from_seed(&seed).map(Some).map_err(|_| damaged())
}

/// Makes the folder's key pair. It is on disk when this returns.
pub(super) fn create(folder: &Path) -> Result<KeyPair, CreateError> {
    let (seed, pair) = KeyPair::generate()?;
    file::write(folder, NAME, TITLE, &Fields::default().with(SEED, file::hex(&seed)))?;
    Ok(pair)
}

/// Removes the folder's key pair, if it has one, under which it is not known to be a member. It is gone for good when this returns.
pub(super) fn discard(folder: &Path) -> Result<(), FileError> {
    file::remove(folder, NAME)
}

/// Why no key pair was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The system gave none.
    #[error("failed to make a key pair: {0}")]
    Key(#[from] KeyError),
    /// It could not be kept.
    #[error(transparent)]
    File(#[from] FileError),
}

const SEED: &str = "seed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_at_every_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        let made = create(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap().unwrap().public(), made.public());
        for _ in 0..2 {
            discard(folder.path()).unwrap();
            assert!(load(folder.path()).unwrap().is_none());
        }
    }

    #[test]
    fn a_key_without_a_seed_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        file::write(folder.path(), NAME, TITLE, &Fields::default().with(SEED, "0f")).unwrap();
        assert!(matches!(load(folder.path()), Err(FileError::Damaged { .. })));
    }
}
