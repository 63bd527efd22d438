//! The hashes by which operators compare replicas: byte for byte what etcd computes from the same history.
//!
//! `HashKV` is a CRC-32C over etcd's table of revisions: the table's name, then each kept row's key (revision, ordinal, a mark on removals) and
//! value. What compaction has taken, or may have taken, does not count. Two replicas of a mesh count revisions of their own, so that their hashes
//! differ where etcd's members' are equal; `tombolo mesh status` compares those.

use std::ops::ControlFlow;

use tombolo_storage::{Below, KeptSpan, ReadError, Store};

use super::table::{TABLE, row};

/// A hash, and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) hash: u32,
    pub(super) span: KeptSpan,
}

/// The hash of the keys' history up to `revision`, 0 being the current one. Reads everything there is.
pub(super) fn of_keys(store: &Store, revision: i64) -> Result<Hashed, ReadError> {
    let mut hash = crc32c::crc32c(TABLE);
    // Nothing was ever at a negative revision, which etcd does not refuse.
    let (asked, is_any) = if revision < 0 { (0, false) } else { (revision, true) };
    let span = store.kept(asked, Below::Shown, &mut |kept| {
        if !is_any {
            return ControlFlow::Break(());
        }
        let (key, value) = row(kept);
        hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &key), &value);
        ControlFlow::Continue(())
    })?;
    let last = if is_any { span.last } else { revision };
    Ok(Hashed { hash, span: KeptSpan { last, ..span } })
}

/// The hash of all that a replica holds: of its keys, its leases and the system's data. It is good for seeing that a copy is one.
pub(super) fn of_everything(store: &Store) -> Result<Hashed, ReadError> {
    let Hashed { mut hash, span } = of_keys(store, 0)?;
    let mut add = |bytes: &[u8]| hash = crc32c::crc32c_append(hash, bytes);
    let mut leases = store.leases();
    leases.sort_unstable();
    add(b"lease");
    for (id, ttl_s) in leases {
        add(&id.to_be_bytes());
        add(&ttl_s.to_be_bytes());
    }
    add(b"system");
    for entry in store.system(b"") {
        add(&entry.key);
        entry.siblings.iter().for_each(|sibling| add(&sibling.value));
    }
    Ok(Hashed { hash, span })
}
