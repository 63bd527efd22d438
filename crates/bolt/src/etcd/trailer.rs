//! The checksum at the end of a snapshot file: a plain copy of a member's database has none.

/// Bytes of the SHA-256 of all that comes before it.
pub const CHECKSUM_LEN: u64 = 32;

/// Whether a file of this length ends with a checksum. A database is whole pages, and a page is a multiple of 512 bytes: etcd too
/// tells by that.
pub const fn has_checksum(file_bytes: u64) -> bool {
    file_bytes % 512 == CHECKSUM_LEN
}
