//! The rows of the data folder: their keys, and the hash that every one of them carries.
//!
//! A row is written once. Its last eight bytes are XXH3-64 of the rest, seeded with the number in its key, so that a rotten
//! row and a row in another's place are both noticed, whatever the engine thinks of them.

use bytes::Bytes;
use tombolo_crdt::{
    DecodeError, Dot, VersionVector,
    codec::{Reader, put_varint},
    mutation::Mutation,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) mod base;
pub(crate) mod bound;
pub(crate) mod commit;
pub(crate) mod heads;
pub(crate) mod sheet;

/// Bytes of a row's key.
pub(crate) const KEY_LEN: usize = 9;
/// Bytes of a row's hash.
const HASH_LEN: usize = 8;

/// A kind of rows: the first byte of their keys. Kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `c ‖ commit number`: one applied transaction, see [`commit`].
    Commit = b'c' as isize,
    /// `b ‖ ordinal`: what recovery needs to know of rows that compaction dropped, see [`base`].
    Base = b'b' as isize,
    /// `d ‖ ordinal`: the same again.
    BaseCopy = b'd' as isize,
    /// `t ‖ ordinal`: what has come of a transfer and is not joined yet, see [`transfer`](crate::transfer).
    Staged = b't' as isize,
    /// `i ‖ commit number`: rows from this one on are there only if a base row says so, see [`transfer`](crate::transfer).
    Intent = b'i' as isize,
    /// `g ‖ commit number`: who signed the records up to this commit, see [`heads`].
    Heads = b'g' as isize,
}

impl Kind {
    /// The key of the row with this number. Numbers are big-endian: the engine's order is theirs.
    pub(crate) fn key(self, number: u64) -> Bytes {
        Bytes::copy_from_slice(&self.key_bytes(number))
    }

    fn key_bytes(self, number: u64) -> [u8; KEY_LEN] {
        let mut key = [self as u8; KEY_LEN];
        key[1..].copy_from_slice(&number.to_be_bytes());
        key
    }

    /// The kind and the number in a key of any kind.
    pub(crate) fn of(key: &[u8]) -> Option<(Self, u64)> {
        let kinds = [Self::Commit, Self::Base, Self::BaseCopy, Self::Staged, Self::Intent, Self::Heads];
        kinds.into_iter().find_map(|kind| Some((kind, kind.number(key)?)))
    }

    /// The key just beyond the last row of this kind.
    pub(crate) fn end(self) -> Bytes {
        Bytes::copy_from_slice(&[self as u8 + 1])
    }

    /// The number in a key of this kind.
    pub(crate) fn number(self, key: &[u8]) -> Option<u64> {
        let (kind, number) = key.split_first()?;
        (*kind == self as u8).then_some(())?;
        number.try_into().ok().map(u64::from_be_bytes)
    }
}

/// Appends the hash that makes what `out` holds from `start` on the row with this number.
pub(crate) fn seal(out: &mut Vec<u8>, start: usize, number: u64) {
    let hash = xxh3_64_with_seed(&out[start..], number);
    out.extend_from_slice(&hash.to_be_bytes());
}

/// Writes that hash to the end of a row that has room for it, and returns it.
fn fill_hash(row: &mut [u8], number: u64) -> u64 {
    let (content, place) = row.split_last_chunk_mut::<HASH_LEN>().expect("a row ends with a hash");
    let hash = xxh3_64_with_seed(content, number);
    *place = hash.to_be_bytes();
    hash
}

/// The content of a row, if it carries the hash of the row with this number.
pub(crate) fn unseal(row: &Bytes, number: u64) -> Option<Bytes> {
    let at = row.len().checked_sub(HASH_LEN)?;
    let content = row.slice(..at);
    let is_sound = row[at..] == xxh3_64_with_seed(&content, number).to_be_bytes();
    (is_sound || Mutation::RowsUnverified.is_on()).then_some(content)
}

pub(crate) fn put_vector(out: &mut Vec<u8>, vector: &VersionVector) {
    put_varint(out, vector.len() as u64);
    for dot in vector.iter() {
        out.extend_from_slice(&dot.replica.get().to_be_bytes());
        put_varint(out, dot.seq);
    }
}

pub(crate) fn read_vector(reader: &mut Reader) -> Result<VersionVector, DecodeError> {
    let count = reader.varint("vector")?;
    (0..count).map(|_| Ok(Dot::new(reader.replica_id("vector")?, reader.varint("vector")?))).collect()
}

/// The rows there are, in sum: their bytes, and their hashes. Each hash is bound to its row's number, so that rows that are
/// missing, came back or are not of their newest form do not add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    pub(crate) hashes: u128,
}

impl Tally {
    pub(crate) fn of(row: &[u8]) -> Self {
        let hash = row.last_chunk::<HASH_LEN>().map_or(0, |hash| u64::from_be_bytes(*hash));
        Self { bytes: row.len() as u64, hashes: hash.into() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.hashes = self.hashes.wrapping_add(other.hashes);
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.hashes = self.hashes.wrapping_sub(other.hashes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_knows_its_place_and_its_content() {
        let mut row = b"content".to_vec();
        seal(&mut row, 0, 7);
        let row = Bytes::from(row);
        assert_eq!(unseal(&row, 7).as_deref(), Some(b"content".as_slice()));
        assert_eq!(unseal(&row, 8), None);
        for at in 0..row.len() {
            let mut rotten = row.to_vec();
            rotten[at] ^= 1;
            assert_eq!(unseal(&rotten.into(), 7), None);
        }
        assert_eq!(unseal(&Bytes::from_static(b"short"), 7), None);
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        let key = |number| Kind::Commit.key(number);
        assert!(key(1) < key(2) && key(255) < key(256) && key(u64::MAX) < Kind::Commit.end());
        assert_eq!(Kind::Commit.number(&key(300)), Some(300));
        assert_eq!(Kind::Base.number(&key(300)), None);
        assert_eq!(Kind::Commit.number(b"c123"), None);
    }
}
