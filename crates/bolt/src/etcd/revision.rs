//! Keys of the bucket `key`: the revision of a write, and its place among the writes of its transaction.

/// Bytes of a write's key: two numbers, with a `_` between them.
const LEN: usize = 17;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// The name of one write: big-endian, so that keys sort as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionKey {
    /// The transaction's revision.
    pub main: i64,
    /// The write's ordinal in the transaction, from 0.
    pub sub: i64,
    /// Whether it removed the key.
    pub is_tombstone: bool,
}

impl RevisionKey {
    /// The key of a transaction's `sub`-th write.
    pub const fn new(main: i64, sub: i64) -> Self {
        Self { main, sub, is_tombstone: false }
    }

    /// The same name, of a removal.
    pub const fn tombstone(self) -> Self {
        Self { is_tombstone: true, ..self }
    }

    /// Reads a key of the bucket `key`, or a value of `meta` that names a compaction; `None` for what is none.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let (numbers, mark) = key.split_at_checked(LEN)?;
        let is_tombstone = match mark {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let (main, rest) = numbers.split_first_chunk()?;
        let (separator, sub) = rest.split_first()?;
        let (main, sub) = (i64::from_be_bytes(*main), i64::from_be_bytes(sub.try_into().ok()?));
        (*separator == SEPARATOR && main >= 0 && sub >= 0).then_some(Self { main, sub, is_tombstone })
    }

    /// The bytes of the key.
    pub fn encode(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(LEN + 1);
        key.extend_from_slice(&self.main.to_be_bytes());
        key.push(SEPARATOR);
        key.extend_from_slice(&self.sub.to_be_bytes());
        key.extend(self.is_tombstone.then_some(TOMBSTONE));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_they_were_written() {
        let keys = [RevisionKey::new(2, 0), RevisionKey::new(2, 1).tombstone(), RevisionKey::new(256, 0)];
        assert!(keys.map(RevisionKey::encode).is_sorted());
        for key in keys {
            assert_eq!(RevisionKey::decode(&key.encode()), Some(key));
        }
        assert_eq!(RevisionKey::new(2, 1).tombstone().encode(), b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\x01t");
    }

    #[test]
    fn what_is_no_revision_is_none() {
        let key = RevisionKey::new(2, 1).encode();
        assert_eq!(RevisionKey::decode(&key[..16]), None);
        assert_eq!(RevisionKey::decode(&[&key[..], b"x"].concat()), None);
        assert_eq!(RevisionKey::decode(&[&key[..], b"tt"].concat()), None);
        assert_eq!(RevisionKey::decode(&[&key[..8], b"-", &key[9..]].concat()), None);
        assert_eq!(RevisionKey::decode(&[&[0x80], &key[1..]].concat()), None);
    }
}
