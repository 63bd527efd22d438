//! Ranges of keys as etcd's API spells them: a first key and an end that is left out.
//!
//! Two spellings are easy to get wrong, and are made here once: "every key with this prefix" and "from this key on".

use bytes::Bytes;

/// The end that stands for "no end": every key from the first one on.
const OPEN_END: &[u8] = b"\0";

/// The keys a request is about: `key` alone when `end` is empty, else the half-open range `[key, end)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub key: Bytes,
    /// The first key after the range; empty for a single key, `\0` for no end.
    pub end: Bytes,
}

impl KeyRange {
    /// Exactly this key.
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: Bytes::new() }
    }

    /// The keys from `key` up to, and without, `end`.
    pub fn between(key: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: end.into() }
    }

    /// Every key that begins with `prefix`; the empty prefix is every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key = prefix.into();
        if key.is_empty() {
            return Self::from_key(key);
        }
        Self { end: prefix_end(&key), key }
    }

    /// Every key from `key` on; from the empty key, every key.
    pub fn from_key(key: impl Into<Bytes>) -> Self {
        let key = key.into();
        // The API refuses an empty key; the one-byte key `\0` is the smallest there is.
        let key = if key.is_empty() { Bytes::from_static(b"\0") } else { key };
        Self { key, end: Bytes::from_static(OPEN_END) }
    }
}

/// The end of the range of all keys with `prefix`: the smallest key that is greater than each of them.
///
/// A prefix of nothing but `0xff` has no such key, and the answer is then `\0`, the API's word for "no end".
///
/// ```
/// assert_eq!(tombolo_client::prefix_end(b"lamp/"), &b"lamp0"[..]);
/// assert_eq!(tombolo_client::prefix_end(b"a\xff"), &b"b"[..]);
/// assert_eq!(tombolo_client::prefix_end(b"\xff"), &b"\0"[..]);
/// ```
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte < 0xff) {
        None => Bytes::from_static(OPEN_END),
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_above_all_its_keys_and_below_the_next() {
        for prefix in [&b"a"[..], b"a/b", b"a\xff\xff", b"\0", b"\xfe"] {
            let end = prefix_end(prefix);
            let last = [prefix, &[0xff; 8]].concat();
            assert!(last.as_slice() < &end[..], "{prefix:?}");
            assert!(!end.starts_with(prefix), "{prefix:?}");
        }
    }

    #[test]
    fn a_prefix_without_a_successor_has_no_end() {
        assert_eq!(prefix_end(b"\xff\xff"), OPEN_END);
        assert_eq!(prefix_end(b""), OPEN_END);
    }

    #[test]
    fn the_empty_prefix_and_the_empty_start_are_every_key() {
        let all = KeyRange::between(&b"\0"[..], &b"\0"[..]);
        assert_eq!(KeyRange::prefix(""), all);
        assert_eq!(KeyRange::from_key(""), all);
        assert_eq!(KeyRange::prefix("a"), KeyRange::between("a", "b"));
        assert_eq!(KeyRange::from_key("a"), KeyRange::between("a", &b"\0"[..]));
        assert!(KeyRange::single("a").end.is_empty());
    }
}
