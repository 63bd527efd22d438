//! Writes a database file in one pass.

use std::io::{Seek, SeekFrom, Write};

use crate::{
    WriteError,
    layout::{FREELIST, KEY_BYTES_MAX, VALUE_BYTES_MAX},
    meta::{Meta, bucket_header},
    tree::{Branches, Entry, Leaf, RootOf, Sink},
};

/// The page with the list of free pages, of which a new file has none.
const FREELIST_PAGE: u64 = 2;
/// The sizes of page that an operating system gives bbolt.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 1 << 10..=64 << 10;

/// Builds a file out of buckets whose keys are given in ascending order.
///
/// ```
/// # use std::io::Cursor;
/// # use tombolo_bolt::{Database, Value, Writer};
/// let mut writer = Writer::new(Cursor::new(Vec::new()))?;
/// writer.begin(b"lamps")?;
/// writer.put(b"quay", b"on")?;
/// writer.end()?;
/// let file = writer.finish()?.sink;
///
/// let mut database = Database::open(file)?;
/// let lamps = database.bucket(b"lamps")?.expect("was just written");
/// assert_eq!(database.get(&lamps, b"quay")?, Some(Value::Bytes("on".into())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It holds a page for each level of each bucket that is open, and one value. Pages go to the sink one after the other, each with one
/// write; only the metas are written at the end, so that a file which was not finished is none.
#[derive(Debug)]
pub struct Writer<W> {
    sink: Sink<W>,
    /// The bucket of buckets, and those begun in it.
    open: Vec<Open>,
}

/// A bucket that is being written.
#[derive(Debug, Default)]
struct Open {
    name: Vec<u8>,
    leaf: Leaf,
    branches: Branches,
    last: Option<Vec<u8>>,
}

/// A finished file.
#[derive(Debug)]
pub struct Finished<W> {
    /// Where it was written to. Nothing was flushed or synced.
    pub sink: W,
    /// Its length.
    pub bytes: u64,
}

impl<W: Write + Seek> Writer<W> {
    /// A file of pages of 4 KiB, as etcd's on nearly all machines. The sink is written from its beginning.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn new(sink: W) -> Result<Self, WriteError> {
        Self::with_page_size(sink, 4096)
    }

    /// A file of pages of this size.
    ///
    /// # Errors
    ///
    /// [`WriteError::PageSize`] for what is no size of a page; and when the sink fails.
    pub fn with_page_size(sink: W, page_size: u32) -> Result<Self, WriteError> {
        if !PAGE_SIZES.contains(&page_size) || !page_size.is_power_of_two() {
            return Err(WriteError::PageSize(page_size));
        }
        let mut sink = Sink::new(sink, page_size)?;
        // The metas' places, for now without metas.
        sink.page(0, 0, &[])?;
        sink.page(0, 0, &[])?;
        sink.page(FREELIST, 0, &[])?;
        Ok(Self { sink, open: vec![Open::default()] })
    }

    /// Begins a bucket in the one that is open, or beside nothing. Its name is a key there, and must be above those before.
    ///
    /// # Errors
    ///
    /// For a name that does not ascend or is too long; and when the sink fails.
    pub fn begin(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.sink.check()?;
        self.ascend(name)?;
        self.open.push(Open { name: name.to_vec(), ..Open::default() });
        Ok(())
    }

    /// Adds a pair to the bucket that was begun last.
    ///
    /// # Errors
    ///
    /// For a key that does not ascend, a key or value that is too long, and where no bucket is open; and when the sink fails.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.sink.check()?;
        if self.open.len() < 2 {
            return Err(WriteError::NoBucket);
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(WriteError::ValueLength(value.len()));
        }
        self.ascend(key)?;
        self.add(Entry { key, value, is_bucket: false })
    }

    /// Ends the bucket that was begun last.
    ///
    /// # Errors
    ///
    /// Where none is open; and when the sink fails.
    pub fn end(&mut self) -> Result<(), WriteError> {
        self.sink.check()?;
        if self.open.len() < 2 {
            return Err(WriteError::NoBucket);
        }
        let Some(bucket) = self.open.pop() else { return Err(WriteError::NoBucket) };
        let name = bucket.name.clone();
        let value = match bucket.close(&mut self.sink, true)? {
            RootOf::Page(root) => bucket_header(root, 0).to_vec(),
            RootOf::Inline(page) => [bucket_header(0, 0).as_slice(), &page].concat(),
        };
        self.add(Entry { key: &name, value: &value, is_bucket: true })
    }

    /// Ends the buckets that are open, and writes the metas.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn finish(mut self) -> Result<Finished<W>, WriteError> {
        while self.open.len() > 1 {
            self.end()?;
        }
        let root = self.open.pop().unwrap_or_default();
        let root = match root.close(&mut self.sink, false)? {
            RootOf::Page(root) => root,
            RootOf::Inline(_) => return Err(WriteError::Failed),
        };
        let Sink { mut inner, page_size, next, .. } = self.sink;
        let meta = Meta { page_size, root, sequence: 0, freelist: FREELIST_PAGE, pages: next, transaction: 0 };
        for (page, transaction) in [(0, 2), (1, 1)] {
            inner.seek(SeekFrom::Start(page * u64::from(page_size)))?;
            inner.write_all(&Meta { transaction, ..meta }.encode(page))?;
        }
        let bytes = next * u64::from(page_size);
        inner.seek(SeekFrom::Start(bytes))?;
        Ok(Finished { sink: inner, bytes })
    }

    /// Holds a key to the one before it in the open bucket.
    fn ascend(&mut self, key: &[u8]) -> Result<(), WriteError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(WriteError::KeyLength(key.len()));
        }
        let Some(open) = self.open.last_mut() else { return Err(WriteError::Failed) };
        match &mut open.last {
            Some(last) if last.as_slice() >= key => return Err(WriteError::KeyOrder),
            Some(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            last @ None => *last = Some(key.to_vec()),
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry<'_>) -> Result<(), WriteError> {
        let Some(open) = self.open.last_mut() else { return Err(WriteError::Failed) };
        if !open.leaf.has_room(&entry, self.sink.page_size) {
            let child = open.leaf.write(&mut self.sink)?;
            open.branches.add(0, child, &mut self.sink)?;
        }
        open.leaf.push(&entry);
        Ok(())
    }
}

impl Open {
    /// Writes what is left of the bucket. A small one can go into its parent.
    fn close<W: Write + Seek>(mut self, sink: &mut Sink<W>, may_inline: bool) -> Result<RootOf, WriteError> {
        if self.branches.is_empty() {
            if may_inline && let Some(page) = self.leaf.inline(sink.page_size) {
                return Ok(RootOf::Inline(page));
            }
            return Ok(RootOf::Page(self.leaf.write(sink)?.page));
        }
        let child = self.leaf.write(sink)?;
        self.branches.add(0, child, sink)?;
        Ok(RootOf::Page(self.branches.close(sink)?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Error, Write};

    use super::*;

    #[test]
    fn what_would_make_a_wrong_file_is_refused_and_changes_nothing() {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        assert!(matches!(writer.put(b"a", b""), Err(WriteError::NoBucket)));
        assert!(matches!(writer.end(), Err(WriteError::NoBucket)));
        writer.begin(b"b").unwrap();
        writer.put(b"b", b"").unwrap();
        assert!(matches!(writer.put(b"b", b""), Err(WriteError::KeyOrder)));
        assert!(matches!(writer.put(b"a", b""), Err(WriteError::KeyOrder)));
        assert!(matches!(writer.put(b"", b""), Err(WriteError::KeyLength(0))));
        assert!(matches!(writer.put(&[0xff; KEY_BYTES_MAX + 1], b""), Err(WriteError::KeyLength(32_769))));
        writer.put(&[b'c'; KEY_BYTES_MAX], b"").unwrap();
        writer.end().unwrap();
        assert!(matches!(writer.begin(b"b"), Err(WriteError::KeyOrder)));
        let mut database = crate::Database::open(writer.finish().unwrap().sink).unwrap();
        assert_eq!(database.check().unwrap(), 2);
    }

    #[test]
    fn a_page_has_the_size_of_a_page() {
        for size in [0, 512, 4095, 128 << 10] {
            assert!(matches!(
                Writer::with_page_size(Cursor::new(Vec::new()), size),
                Err(WriteError::PageSize(found)) if found == size
            ));
        }
    }

    /// A disk that is full after some bytes.
    struct Full(Cursor<Vec<u8>>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.get_ref().len() + bytes.len() > self.1 {
                return Err(Error::other("full"));
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn after_the_sink_failed_nothing_more_is_taken() {
        let mut writer = Writer::new(Full(Cursor::new(Vec::new()), 16_384)).unwrap();
        writer.begin(b"b").unwrap();
        let mut numbers = 0_u32..;
        let failed = numbers.find_map(|number| writer.put(&number.to_be_bytes(), &[0; 1000]).err());
        assert!(matches!(failed, Some(WriteError::Io(_))));
        assert!(matches!(writer.put(&[0xff; 8], b""), Err(WriteError::Failed)));
        assert!(matches!(writer.finish(), Err(WriteError::Failed)));
    }
}
