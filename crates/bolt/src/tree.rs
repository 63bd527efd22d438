//! The tree of one bucket on its way to the file: a leaf that is being filled, and above it the branches that wait for children.
//!
//! Pages are written when the next entry does not fit, children before parents. No branch is left with one child, unless nothing
//! lies beside it: bbolt splits and merges pages and expects two.

use std::{
    io::{Seek, SeekFrom, Write},
    mem,
};

use crate::{
    WriteError,
    layout::{self, BRANCH, BUCKET_HEADER, ELEMENT, IS_BUCKET, LEAF, PAGE_HEADER},
};

/// The file, as pages.
#[derive(Debug)]
pub(crate) struct Sink<W> {
    pub(crate) inner: W,
    pub(crate) page_size: u32,
    /// The number of the page that is written next.
    pub(crate) next: u64,
    has_failed: bool,
    buffer: Vec<u8>,
}

/// An entry of a leaf.
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) is_bucket: bool,
}

/// A written page, as its parent needs to know it.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) page: u64,
    least: Vec<u8>,
}

/// Where a bucket's pairs lie once it is written.
pub(crate) enum RootOf {
    Page(u64),
    /// A page that goes into the bucket's value.
    Inline(Vec<u8>),
}

/// The leaf that is being filled: the elements' lengths, and keys and values one after the other.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    elements: Vec<(u32, u32, u32)>,
    data: Vec<u8>,
    has_bucket: bool,
}

/// The branches above the leaves, lowest level first.
#[derive(Debug, Default)]
pub(crate) struct Branches {
    levels: Vec<Level>,
}

/// Children of one level that have no parent yet.
#[derive(Debug, Default)]
struct Level {
    /// A full branch. It waits, so that it can give a child to one that would have but one.
    full: Vec<Child>,
    filling: Vec<Child>,
    filling_bytes: usize,
}

impl<W: Write + Seek> Sink<W> {
    pub(crate) fn new(mut inner: W, page_size: u32) -> Result<Self, WriteError> {
        inner.seek(SeekFrom::Start(0))?;
        Ok(Self { inner, page_size, next: 0, has_failed: false, buffer: Vec::new() })
    }

    /// Refuses to go on where something is missing.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if self.has_failed { Err(WriteError::Failed) } else { Ok(()) }
    }

    /// Writes the next page, with as many pages behind it as its body needs.
    pub(crate) fn page(&mut self, flags: u16, count: u16, body: &[u8]) -> Result<u64, WriteError> {
        self.check()?;
        let id = self.next;
        let pages = (PAGE_HEADER + body.len()).div_ceil(self.page_size as usize);
        let overflow = u32::try_from(pages - 1).map_err(|_| WriteError::ValueLength(body.len()))?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&layout::page_header(id, flags, count, overflow));
        self.buffer.extend_from_slice(body);
        self.buffer.resize(pages * self.page_size as usize, 0);
        self.has_failed = true;
        self.inner.write_all(&self.buffer)?;
        self.has_failed = false;
        self.buffer.shrink_to(2 * self.page_size as usize);
        self.next += pages as u64;
        Ok(id)
    }
}

impl Leaf {
    /// Whether an entry fits beside those there are. The first fits always: it may go on over pages of its own.
    pub(crate) fn has_room(&self, entry: &Entry<'_>, page_size: u32) -> bool {
        let after = self.bytes() + ELEMENT + entry.key.len() + entry.value.len();
        self.elements.is_empty() || (after <= page_size as usize && self.elements.len() < usize::from(u16::MAX))
    }

    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        let flags = if entry.is_bucket { IS_BUCKET } else { 0 };
        self.elements.push((flags, entry.key.len() as u32, entry.value.len() as u32));
        self.data.extend_from_slice(entry.key);
        self.data.extend_from_slice(entry.value);
        self.has_bucket |= entry.is_bucket;
    }

    /// Writes the page, and begins an empty one.
    pub(crate) fn write<W: Write + Seek>(&mut self, sink: &mut Sink<W>) -> Result<Child, WriteError> {
        let leaf = mem::take(self);
        let least = leaf.elements.first().map_or(&[][..], |(_, key, _)| &leaf.data[..*key as usize]);
        let page = sink.page(LEAF, leaf.elements.len() as u16, &leaf.body())?;
        Ok(Child { page, least: least.to_vec() })
    }

    /// The page, if it is one that bbolt too would put into its bucket's value: without buckets, and a quarter of a page at most.
    pub(crate) fn inline(&self, page_size: u32) -> Option<Vec<u8>> {
        let is_small = BUCKET_HEADER + self.bytes() <= page_size as usize / 4;
        (is_small && !self.has_bucket).then(|| {
            let mut page = layout::page_header(0, LEAF, self.elements.len() as u16, 0).to_vec();
            page.extend_from_slice(&self.body());
            page
        })
    }

    fn bytes(&self) -> usize {
        PAGE_HEADER + self.elements.len() * ELEMENT + self.data.len()
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes());
        let mut at = self.elements.len() * ELEMENT;
        for (index, &(flags, key, value)) in self.elements.iter().enumerate() {
            let pos = (at - index * ELEMENT) as u32;
            for word in [flags, pos, key, value] {
                body.extend_from_slice(&word.to_le_bytes());
            }
            at += key as usize + value as usize;
        }
        body.extend_from_slice(&self.data);
        body
    }
}

impl Branches {
    /// Whether no leaf was written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Takes in a page of the level below `level`.
    pub(crate) fn add<W: Write + Seek>(
        &mut self,
        mut level: usize,
        mut child: Child,
        sink: &mut Sink<W>,
    ) -> Result<(), WriteError> {
        loop {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            match self.levels[level].add(child, sink)? {
                Some(parent) => (level, child) = (level + 1, parent),
                None => return Ok(()),
            }
        }
    }

    /// Writes the branches that wait, up to the root.
    pub(crate) fn close<W: Write + Seek>(mut self, sink: &mut Sink<W>) -> Result<u64, WriteError> {
        let mut level = 0;
        loop {
            let mut last = mem::take(&mut self.levels[level]);
            if last.filling.len() == 1 && !last.full.is_empty() {
                last.filling.splice(..0, last.full.pop());
            }
            let is_top = level + 1 == self.levels.len() && last.full.is_empty();
            if is_top && let [child] = last.filling.as_slice() {
                return Ok(child.page);
            }
            if !last.full.is_empty() {
                let parent = write_branch(&last.full, sink)?;
                self.add(level + 1, parent, sink)?;
            }
            let parent = write_branch(&last.filling, sink)?;
            if is_top {
                return Ok(parent.page);
            }
            self.add(level + 1, parent, sink)?;
            level += 1;
        }
    }
}

impl Level {
    /// Takes in a child; gives back a branch that was written because of it.
    fn add<W: Write + Seek>(&mut self, child: Child, sink: &mut Sink<W>) -> Result<Option<Child>, WriteError> {
        let bytes = ELEMENT + child.least.len();
        let is_full = PAGE_HEADER + self.filling_bytes + bytes > sink.page_size as usize && self.filling.len() > 2;
        let mut written = None;
        if is_full {
            let full = mem::replace(&mut self.full, mem::take(&mut self.filling));
            self.filling_bytes = 0;
            if !full.is_empty() {
                written = Some(write_branch(&full, sink)?);
            }
        }
        self.filling_bytes += bytes;
        self.filling.push(child);
        Ok(written)
    }
}

fn write_branch<W: Write + Seek>(children: &[Child], sink: &mut Sink<W>) -> Result<Child, WriteError> {
    let mut body = Vec::new();
    let mut at = children.len() * ELEMENT;
    for (index, child) in children.iter().enumerate() {
        body.extend_from_slice(&((at - index * ELEMENT) as u32).to_le_bytes());
        body.extend_from_slice(&(child.least.len() as u32).to_le_bytes());
        body.extend_from_slice(&child.page.to_le_bytes());
        at += child.least.len();
    }
    for child in children {
        body.extend_from_slice(&child.least);
    }
    let page = sink.page(BRANCH, children.len() as u16, &body)?;
    Ok(Child { page, least: children.first().map(|child| child.least.clone()).unwrap_or_default() })
}
