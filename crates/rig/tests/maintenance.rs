//! What operators do to a server, on Tombolo and on a real etcd side by side: hashes, alarms, quotas, compaction that nobody asked for,
//! defragmentation, members, downgrades, and every flag that etcd has.

mod maintenance {
    mod alarms;
    mod calls;
    mod flags;
    mod hashes;
    mod heads;
    mod space;
}
