//! A page of a bucket's tree, with the pages that continue it. Its elements are looked at one by one, and checked then.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{
    PageFault, ReadError,
    layout::{BRANCH, ELEMENT, IS_BUCKET, LEAF, PAGE_HEADER, u16_at, u32_at, u64_at},
};

/// A branch or a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its number; of an inline bucket's page, the number of the page that the bucket's value lies in.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    count: u16,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Branch,
    Leaf,
}

/// An element of a leaf.
pub(crate) struct LeafElement {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) is_bucket: bool,
}

/// What a page says about itself in its first bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) flags: u16,
    pub(crate) count: u16,
    pub(crate) overflow: u32,
}

impl Header {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            flags: u16_at(bytes, 8)?,
            count: u16_at(bytes, 10)?,
            overflow: u32_at(bytes, 12)?,
        })
    }
}

impl Page {
    /// Takes the bytes for a page, header first. `id` is for errors.
    pub(crate) fn new(id: u64, bytes: Bytes) -> Result<Self, ReadError> {
        let wrong = |fault| ReadError::Page { page: id, fault };
        let header = Header::decode(&bytes).ok_or(wrong(PageFault::CutOff))?;
        let kind = match header.flags {
            BRANCH => Kind::Branch,
            LEAF => Kind::Leaf,
            flags => return Err(wrong(PageFault::Kind { flags })),
        };
        let count = header.count;
        if PAGE_HEADER + usize::from(count) * ELEMENT > bytes.len() {
            return Err(wrong(PageFault::Count { count }));
        }
        if kind == Kind::Branch && count == 0 {
            return Err(wrong(PageFault::EmptyBranch));
        }
        Ok(Self { id, kind, count, bytes })
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// The error that says so of this page.
    pub(crate) fn wrong(&self, fault: PageFault) -> ReadError {
        ReadError::Page { page: self.id, fault }
    }

    pub(crate) fn leaf(&self, index: u16) -> Result<LeafElement, ReadError> {
        let [flags, pos, key_len, value_len] = self.words(index)?;
        let key = self.slice(index, pos, 0, key_len)?;
        let value = self.slice(index, pos, key_len, value_len)?;
        Ok(LeafElement { key, value, is_bucket: flags & IS_BUCKET != 0 })
    }

    /// The child that a branch's element leads to.
    pub(crate) fn child(&self, index: u16) -> Result<u64, ReadError> {
        let [_, _, low, high] = self.words(index)?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    pub(crate) fn key(&self, index: u16) -> Result<Bytes, ReadError> {
        let [first, second, third, _] = self.words(index)?;
        match self.kind {
            Kind::Branch => self.slice(index, first, 0, second),
            Kind::Leaf => self.slice(index, second, 0, third),
        }
    }

    /// The first element whose key is not below `key`, and whether it is that key.
    pub(crate) fn search(&self, key: &[u8]) -> Result<(u16, bool), ReadError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle)?.as_ref().cmp(key) {
                Ordering::Equal => return Ok((middle, true)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok((low, false))
    }

    fn words(&self, index: u16) -> Result<[u32; 4], ReadError> {
        let start = PAGE_HEADER + usize::from(index) * ELEMENT;
        let word = |at: usize| u32_at(&self.bytes, start + at * 4).ok_or(self.wrong(PageFault::Element { index }));
        Ok([word(0)?, word(1)?, word(2)?, word(3)?])
    }

    /// `len` bytes at `skip` behind the place that an element's `pos` points at.
    fn slice(&self, index: u16, pos: u32, skip: u32, len: u32) -> Result<Bytes, ReadError> {
        let element = PAGE_HEADER as u64 + u64::from(index) * ELEMENT as u64;
        let start = element + u64::from(pos) + u64::from(skip);
        let end = start + u64::from(len);
        if end > self.bytes.len() as u64 {
            return Err(self.wrong(PageFault::Element { index }));
        }
        Ok(self.bytes.slice(start as usize..end as usize))
    }
}
