//! The rows of etcd's table of revisions: what its hash is of, and what its snapshots hold.

use prost::Message as _;
use tombolo_proto::mvccpb;
use tombolo_storage::{Event, Kept, KeyValue};

/// The name of etcd's table.
pub(super) const TABLE: &[u8] = b"key";

/// A row as etcd stores it.
pub(super) fn row(kept: Kept) -> (Vec<u8>, Vec<u8>) {
    let mut key = Vec::with_capacity(18);
    key.extend_from_slice(&kept.revision.to_be_bytes());
    key.push(b'_');
    key.extend_from_slice(&i64::from(kept.ordinal).to_be_bytes());
    let pair = match kept.event {
        Event::Put(KeyValue { key, value, create_revision, mod_revision, version, lease }) => {
            mvccpb::KeyValue { key, create_revision, mod_revision, version, value, lease }
        }
        Event::Delete { key: removed, .. } => {
            key.push(b't');
            mvccpb::KeyValue { key: removed, ..Default::default() }
        }
    };
    (key, pair.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_storage::Revision;

    use super::*;

    #[test]
    fn rows_are_those_that_etcd_stores() {
        let put = KeyValue {
            key: Bytes::from_static(b"a"),
            value: Bytes::from_static(b"1"),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            lease: 0,
        };
        let (key, value) = row(Kept { revision: 2, ordinal: 0, event: Event::Put(put) });
        assert_eq!(key, b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0");
        assert_eq!(value, b"\x0a\x01a\x10\x02\x18\x02\x20\x01\x2a\x011");
        let gone = Event::Delete { key: Bytes::from_static(b"a"), revision: Revision::new(3).unwrap() };
        let (key, value) = row(Kept { revision: 3, ordinal: 1, event: gone });
        assert_eq!(key, b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\x01t");
        assert_eq!(value, b"\x0a\x01a");
    }
}
