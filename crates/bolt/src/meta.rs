//! The two metas at the beginning of a file: its root, how many pages are in use, and what vouches for that.
//!
//! A transaction writes one of the two, turn about, so that one is whole whatever happens. The newer whole one counts.

use crate::{
    MetaFault,
    layout::{self, BUCKET_HEADER, MAGIC, META_LEN, PAGE_HEADER, PAGE_SIZES, VERSION, u32_at, u64_at},
};

/// A meta page's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: u32,
    /// The root page of the bucket of buckets.
    pub(crate) root: u64,
    pub(crate) sequence: u64,
    pub(crate) freelist: u64,
    /// The pages in use: those below this number.
    pub(crate) pages: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    /// Reads the meta on a page.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, MetaFault> {
        let meta = page.get(PAGE_HEADER..PAGE_HEADER + META_LEN).ok_or(MetaFault::Missing)?;
        let word = |at| u32_at(meta, at).ok_or(MetaFault::Missing);
        let long = |at| u64_at(meta, at).ok_or(MetaFault::Missing);
        if word(0)? != MAGIC {
            return Err(MetaFault::Magic);
        }
        match word(4)? {
            VERSION => {}
            other => return Err(MetaFault::Version(other)),
        }
        if fnv1a(&meta[..META_LEN - 8]) != long(META_LEN - 8)? {
            return Err(MetaFault::Checksum);
        }
        let page_size = word(8)?;
        if !PAGE_SIZES.contains(&page_size) || !page_size.is_power_of_two() {
            return Err(MetaFault::PageSize(page_size));
        }
        Ok(Self {
            page_size,
            root: long(16)?,
            sequence: long(24)?,
            freelist: long(32)?,
            pages: long(40)?,
            transaction: long(48)?,
        })
    }

    /// The first bytes of the meta page with this number.
    pub(crate) fn encode(&self, page: u64) -> Vec<u8> {
        let mut out = layout::page_header(page, layout::META, 0, 0).to_vec();
        for word in [MAGIC, VERSION, self.page_size, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&bucket_header(self.root, self.sequence));
        for long in [self.freelist, self.pages, self.transaction] {
            out.extend_from_slice(&long.to_le_bytes());
        }
        let checksum = fnv1a(&out[PAGE_HEADER..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// The header of a bucket, as it stands in a meta and at the beginning of a bucket's value.
pub(crate) fn bucket_header(root: u64, sequence: u64) -> [u8; BUCKET_HEADER] {
    let mut header = [0; BUCKET_HEADER];
    header[..8].copy_from_slice(&root.to_le_bytes());
    header[8..].copy_from_slice(&sequence.to_le_bytes());
    header
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta { page_size: 4096, root: 3, sequence: 0, freelist: 2, pages: 4, transaction: 1 };

    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_meta_reads_as_it_was_written() {
        assert_eq!(Meta::decode(&META.encode(0)), Ok(META));
    }

    #[test]
    fn each_fault_of_a_meta_has_its_name() {
        let page = META.encode(1);
        assert_eq!(Meta::decode(&page[..79]), Err(MetaFault::Missing));
        let with = |at: usize| {
            let mut page = page.clone();
            page[at] ^= 1;
            Meta::decode(&page)
        };
        assert_eq!(with(16), Err(MetaFault::Magic));
        assert_eq!(with(20), Err(MetaFault::Version(3)));
        for at in 24..page.len() {
            assert_eq!(with(at), Err(MetaFault::Checksum), "{at}");
        }
        let odd = Meta { page_size: 4095, ..META };
        assert_eq!(Meta::decode(&odd.encode(0)), Err(MetaFault::PageSize(4095)));
    }
}
