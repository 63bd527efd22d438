//! A contiguous range of keys, in bytewise order.
//!
//! Not etcd's pair of `key` and `range_end`: [`KeyRange::from_etcd`] is the one place that reads that encoding, so that
//! nothing else has to remember what an empty or a `"\0"` end means.

use std::ops::Bound;

use bytes::Bytes;
use tombolo_crdt::RangeRemove;

/// A contiguous range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    start: Bytes,
    end: RangeEnd,
}

/// Where a [`KeyRange`] ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// The range is its start key alone.
    Single,
    /// The first key beyond the range.
    Before(Bytes),
    /// Every key from the start on.
    Unbounded,
}

impl From<&RangeRemove> for KeyRange {
    fn from(range: &RangeRemove) -> Self {
        let own = Bytes::copy_from_slice;
        match range {
            RangeRemove { start, end: Some(end) } => Self::before(own(start), own(end)),
            RangeRemove { start, end: None } => Self::from_key(own(start)),
        }
    }
}

impl KeyRange {
    /// The range of one key.
    pub fn single(key: Bytes) -> Self {
        Self { start: key, end: RangeEnd::Single }
    }

    /// `[start, end)`; empty when `end <= start`.
    pub fn before(start: Bytes, end: Bytes) -> Self {
        Self { start, end: RangeEnd::Before(end) }
    }

    /// Every key from `start` on.
    pub fn from_key(start: Bytes) -> Self {
        Self { start, end: RangeEnd::Unbounded }
    }

    /// Every key there is.
    pub fn all() -> Self {
        Self::from_key(Bytes::new())
    }

    /// Reads etcd's encoding: an empty `range_end` means the one key, `"\0"` means no end.
    pub fn from_etcd(key: Bytes, range_end: Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::single(key),
            [0] => Self::from_key(key),
            _ => Self::before(key, range_end),
        }
    }

    /// The first key of the range.
    pub fn start(&self) -> &Bytes {
        &self.start
    }

    /// Where the range ends.
    pub fn end(&self) -> &RangeEnd {
        &self.end
    }

    /// The key, when the range is a single one.
    pub fn as_single(&self) -> Option<&Bytes> {
        matches!(self.end, RangeEnd::Single).then_some(&self.start)
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if end <= &self.start)
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            RangeEnd::Unbounded => key >= self.start.as_ref(),
        }
    }

    /// The bounds for an ordered map. Ask [`KeyRange::is_empty`] first: ordered maps panic on reversed bounds.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = Bound::Included(self.start.as_ref());
        let end = match &self.end {
            RangeEnd::Single => Bound::Included(self.start.as_ref()),
            RangeEnd::Before(end) => Bound::Excluded(end.as_ref()),
            RangeEnd::Unbounded => Bound::Unbounded,
        };
        (start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::from_etcd(Bytes::from_static(key), Bytes::from_static(end))
    }

    #[test]
    fn etcd_ends_mean_what_etcd_says() {
        assert!(range(b"a", b"").contains(b"a"));
        assert!(!range(b"a", b"").contains(b"aa"));
        assert!(range(b"b", b"\0").contains(b"zzz"));
        assert!(!range(b"b", b"\0").contains(b"a"));
        assert!(range(b"a", b"c").contains(b"bzz"));
        assert!(!range(b"a", b"c").contains(b"c"));
        assert!(range(b"\0", b"\0").contains(b"\0"));
    }

    #[test]
    fn a_reversed_range_is_empty() {
        assert!(range(b"b", b"a").is_empty());
        assert!(range(b"b", b"b").is_empty());
        assert!(!range(b"b", b"b\0").is_empty());
        assert!(!range(b"b", b"a").contains(b"b"));
    }
}
