//! What etcd keeps in a database file: which buckets there are, and what their keys are made of.
//!
//! Values are handed out as they lie there. They are protobuf messages of etcd's (`mvccpb.KeyValue`, `leasepb.Lease`, `authpb.User`,
//! `authpb.Role`, `etcdserverpb.AlarmMember`) or JSON, and are decoded by who has the contracts.
//!
//! | bucket | keys | values |
//! | --- | --- | --- |
//! | `alarm` | an `AlarmMember` | nothing |
//! | `auth` | `authEnabled`, `authRevision` | one byte, 0 or 1; eight bytes, big-endian |
//! | `authRoles`, `authUsers` | the name | `Role`, `User` |
//! | `cluster` | `clusterVersion`, `downgrade` | text; JSON |
//! | `key` | a [`RevisionKey`] | `KeyValue`; of a tombstone its key alone |
//! | `lease` | the lease's number, eight bytes, big-endian | `Lease` |
//! | `members`, `members_removed` | the member's number in hexadecimal digits | JSON; `removed` |
//! | `meta` | see [`meta`] | |

pub use revision::RevisionKey;
pub use trailer::{CHECKSUM_LEN, has_checksum};

mod revision;
mod trailer;

/// Names of the buckets, in the order in which a [`Writer`](crate::Writer) wants them.
pub mod bucket {
    /// The alarms that are raised.
    pub const ALARM: &[u8] = b"alarm";
    /// Whether users are asked who they are.
    pub const AUTH: &[u8] = b"auth";
    /// The roles.
    pub const AUTH_ROLES: &[u8] = b"authRoles";
    /// The users.
    pub const AUTH_USERS: &[u8] = b"authUsers";
    /// What the cluster has agreed on.
    pub const CLUSTER: &[u8] = b"cluster";
    /// Every write that is kept, by revision.
    pub const KEY: &[u8] = b"key";
    /// The leases.
    pub const LEASE: &[u8] = b"lease";
    /// The members.
    pub const MEMBERS: &[u8] = b"members";
    /// The numbers of members that are gone.
    pub const MEMBERS_REMOVED: &[u8] = b"members_removed";
    /// Where the consensus log and compaction stand.
    pub const META: &[u8] = b"meta";

    /// All of them.
    pub const ALL: [&[u8]; 10] =
        [ALARM, AUTH, AUTH_ROLES, AUTH_USERS, CLUSTER, KEY, LEASE, MEMBERS, MEMBERS_REMOVED, META];
}

/// Keys of the bucket `meta`.
pub mod meta {
    /// The index of the last applied entry of the consensus log, eight bytes, big-endian.
    pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    /// The term of that entry, eight bytes, big-endian.
    pub const TERM: &[u8] = b"term";
    /// The members of the consensus, `raftpb.ConfState` as JSON. Since 3.5.
    pub const CONF_STATE: &[u8] = b"confState";
    /// The revision of the compaction that was asked for last, a [`RevisionKey`](super::RevisionKey).
    pub const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
    /// The revision of the compaction that was finished last, a [`RevisionKey`](super::RevisionKey).
    pub const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
    /// The version of this layout. Since 3.6.
    pub const STORAGE_VERSION: &[u8] = b"storageVersion";
}

/// Keys of the bucket `auth`.
pub mod auth {
    /// Whether users are asked who they are: one byte, 0 or 1.
    pub const ENABLED: &[u8] = b"authEnabled";
    /// The number of the last change of users and roles, eight bytes, big-endian.
    pub const REVISION: &[u8] = b"authRevision";
}

/// Keys of the bucket `cluster`.
pub mod cluster {
    /// The version that all members understand, as text.
    pub const VERSION: &[u8] = b"clusterVersion";
    /// A downgrade that is under way, as JSON.
    pub const DOWNGRADE: &[u8] = b"downgrade";
}

/// The key of a lease in the bucket `lease`.
pub fn lease_key(id: i64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The lease that a key of the bucket `lease` names; `None` for what is no such key.
pub fn lease_id(key: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(key.try_into().ok()?))
}
