//! The numbers of the file format, as bbolt's `internal/common` package lays them out on every platform that etcd is built for:
//! little-endian, without padding.
//!
//! ```text
//! page    := id u64 ‖ flags u16 ‖ count u16 ‖ overflow u32 ‖ body        of 1 + overflow pages
//! meta    := magic u32 ‖ version u32 ‖ page size u32 ‖ flags u32 ‖ bucket ‖ freelist u64 ‖ pages u64 ‖ transaction u64
//!            ‖ FNV-1a of all before, u64
//! leaf    := count × (flags u32 ‖ pos u32 ‖ key length u32 ‖ value length u32) ‖ keys and values
//! branch  := count × (pos u32 ‖ key length u32 ‖ page u64) ‖ keys
//! bucket  := root page u64 ‖ sequence u64 [ ‖ leaf page, where the root page is 0 ]
//! ```
//!
//! A `pos` counts from the beginning of the element that holds it.

/// The first four bytes of a meta.
pub(crate) const MAGIC: u32 = 0xED0C_DAED;
/// The version of the format, the same since 2014.
pub(crate) const VERSION: u32 = 2;

/// Bytes of a page's header.
pub(crate) const PAGE_HEADER: usize = 16;
/// Bytes of a meta after the page's header.
pub(crate) const META_LEN: usize = 64;
/// Bytes of a leaf's element and of a branch's.
pub(crate) const ELEMENT: usize = 16;
/// Bytes of a bucket's header.
pub(crate) const BUCKET_HEADER: usize = 16;

/// Flags of a page: exactly one of these.
pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;

/// Flag of a leaf's element whose value is a bucket.
pub(crate) const IS_BUCKET: u32 = 0x01;

/// The sizes of page that are taken for one. bbolt takes the operating system's, which is 4 KiB to 64 KiB.
pub(crate) const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=1 << 20;

/// The longest key that bbolt takes.
pub(crate) const KEY_BYTES_MAX: usize = 32_768;
/// The longest value that bbolt takes.
pub(crate) const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A page's header.
pub(crate) fn page_header(id: u64, flags: u16, count: u16, overflow: u32) -> [u8; PAGE_HEADER] {
    let mut header = [0; PAGE_HEADER];
    header[..8].copy_from_slice(&id.to_le_bytes());
    header[8..10].copy_from_slice(&flags.to_le_bytes());
    header[10..12].copy_from_slice(&count.to_le_bytes());
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}
