//! A walk over one bucket in the order of its keys.

use std::{
    collections::HashSet,
    io::{Read, Seek},
};

use bytes::Bytes;

use crate::{
    Bucket, Database, PageFault, ReadError,
    page::{Kind, Page},
};

/// Branches above a leaf. Sixteen would do for every page that can be numbered, even if each led to two others only.
pub(crate) const DEPTH_MAX: usize = 64;

/// An iterator over a bucket's items. It checks what it walks over, and ends on every file: a branch above itself is an error, and a leaf
/// that it meets twice is one too, because keys must ascend. After an error it gives nothing more.
#[derive(Debug)]
pub struct Cursor<'a, R> {
    database: &'a mut Database<R>,
    /// The bucket, until its root is read.
    start: Option<Bucket>,
    /// From the root to the leaf, each with the element that is next.
    path: Vec<(Page, u16)>,
    /// Leaves without keys, of which no key says that they were met before.
    empty: HashSet<u64>,
    last: Option<Bytes>,
}

/// One key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// What it leads to.
    pub value: Value,
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes.
    Bytes(Bytes),
    /// A bucket within the bucket.
    Bucket(Bucket),
}

impl<'a, R: Read + Seek> Cursor<'a, R> {
    pub(crate) fn new(database: &'a mut Database<R>, bucket: &Bucket) -> Self {
        let start = Some(bucket.clone());
        Self { database, start, path: Vec::new(), empty: HashSet::new(), last: None }
    }

    /// The same walk, beginning with the first key that is not below `key`. To be called before anything else.
    ///
    /// # Errors
    ///
    /// When a page on the way there is damaged.
    pub fn seek(mut self, key: &[u8]) -> Result<Self, ReadError> {
        let Some(bucket) = self.start.take() else { return Ok(self) };
        let mut page = self.database.root_page(&bucket)?;
        loop {
            let (index, is_exact) = page.search(key)?;
            if page.kind == Kind::Leaf {
                self.path.push((page, index));
                return Ok(self);
            }
            // A branch's key is the least of its child's: one less is where `key` would be.
            let index = if is_exact { index } else { index.saturating_sub(1) };
            let child = page.child(index)?;
            self.path.push((page, index + 1));
            page = self.visit(child)?;
        }
    }

    fn visit(&mut self, id: u64) -> Result<Page, ReadError> {
        let wrong = |fault| Err(ReadError::Page { page: id, fault });
        if self.path.len() > DEPTH_MAX {
            return wrong(PageFault::Depth(DEPTH_MAX));
        }
        if self.path.iter().any(|(page, _)| page.id == id) {
            return wrong(PageFault::Repeated);
        }
        let page = self.database.page(id)?;
        if page.count() == 0 && !self.empty.insert(id) {
            return wrong(PageFault::Repeated);
        }
        Ok(page)
    }

    fn step(&mut self) -> Result<Option<Item>, ReadError> {
        if let Some(bucket) = self.start.take() {
            let root = self.database.root_page(&bucket)?;
            self.path.push((root, 0));
        }
        while let Some((page, next)) = self.path.last_mut() {
            let index = *next;
            if index >= page.count() {
                self.path.pop();
                continue;
            }
            *next += 1;
            if page.kind == Kind::Branch {
                let child = page.child(index)?;
                let page = self.visit(child)?;
                self.path.push((page, 0));
                continue;
            }
            let element = page.leaf(index)?;
            if self.last.as_ref().is_some_and(|last| *last >= element.key) {
                return Err(page.wrong(PageFault::KeyOrder { index }));
            }
            let value = match element.is_bucket {
                true => Value::Bucket(Bucket::decode(page.id, index, &element.value)?),
                false => Value::Bytes(element.value),
            };
            self.last = Some(element.key.clone());
            return Ok(Some(Item { key: element.key, value }));
        }
        Ok(None)
    }
}

impl<R: Read + Seek> Iterator for Cursor<'_, R> {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.path.clear();
        }
        step.transpose()
    }
}
