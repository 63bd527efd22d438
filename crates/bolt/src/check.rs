//! A look at everything that a file holds.

use std::{
    collections::HashSet,
    io::{Read, Seek},
};

use crate::{
    Bucket, Database, PageFault, ReadError, Value,
    database::Root,
    page::{Kind, Page},
};

/// Buckets within buckets. Nobody goes so deep; etcd has one level.
const NESTING_MAX: usize = 64;

impl<R: Read + Seek> Database<R> {
    /// Reads every page that the file uses, and counts the pairs: `Ok` says that all of it can be read.
    ///
    /// # Errors
    ///
    /// The first damage that is found.
    pub fn check(&mut self) -> Result<u64, ReadError> {
        let mut pairs = 0;
        let mut seen = HashSet::new();
        let mut waiting: Vec<(Bucket, usize)> = vec![(self.root()?, 0)];
        while let Some((bucket, depth)) = waiting.pop() {
            if let Root::Page(id) = bucket.root {
                let wrong = |fault| Err(ReadError::Page { page: id.get(), fault });
                if depth > NESTING_MAX {
                    return wrong(PageFault::Depth(NESTING_MAX));
                }
                if !seen.insert(id.get()) {
                    return wrong(PageFault::Repeated);
                }
            }
            let root = self.root_page(&bucket)?;
            self.check_branches(root, &mut seen)?;
            for item in self.cursor(&bucket) {
                match item?.value {
                    Value::Bytes(_) => pairs += 1,
                    Value::Bucket(inner) => waiting.push((inner, depth + 1)),
                }
            }
        }
        Ok(pairs)
    }

    /// The keys of branches ascend and bound those of their children: without that a key is not found, though a walk meets it.
    fn check_branches(&mut self, root: Page, seen: &mut HashSet<u64>) -> Result<(), ReadError> {
        let mut waiting = Vec::new();
        waiting.extend((root.kind == Kind::Branch).then_some(root));
        while let Some(page) = waiting.pop() {
            for index in 0..page.count() {
                let key = page.key(index)?;
                let next = if index + 1 < page.count() { Some(page.key(index + 1)?) } else { None };
                if next.as_ref().is_some_and(|next| key >= *next) {
                    return Err(page.wrong(PageFault::KeyOrder { index: index + 1 }));
                }
                let id = page.child(index)?;
                if !seen.insert(id) {
                    return Err(ReadError::Page { page: id, fault: PageFault::Repeated });
                }
                let child = self.page(id)?;
                let Some(last) = child.count().checked_sub(1) else { continue };
                if index > 0 && child.key(0)? < key {
                    return Err(child.wrong(PageFault::KeyOrder { index: 0 }));
                }
                let highest = child.key(last)?;
                if next.is_some_and(|next| highest >= next) {
                    return Err(child.wrong(PageFault::KeyOrder { index: last }));
                }
                waiting.extend((child.kind == Kind::Branch).then_some(child));
            }
        }
        Ok(())
    }
}
