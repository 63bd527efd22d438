//! A database file, open for reading.

use std::{
    io::{ErrorKind, Read, Seek, SeekFrom},
    num::NonZeroU64,
};

use bytes::Bytes;

use crate::{
    Cursor, MetaFault, PageFault, ReadError, Value,
    layout::{BUCKET_HEADER, META_LEN, PAGE_HEADER, u64_at},
    meta::Meta,
    page::{Header, Page},
};

/// Where the second meta may lie when the first does not say: at the sizes of page that are in use.
const SECOND_META: [u64; 8] = [4 << 10, 16 << 10, 64 << 10, 8 << 10, 32 << 10, 1 << 10, 2 << 10, 512];

/// A bbolt file in anything that can be read and sought: a file, or a byte slice in a [`std::io::Cursor`].
///
/// It keeps no page. What it gives out are slices of pages that it has read, and memory is bounded by the file's length: by the
/// longest run of pages that a page in use claims.
#[derive(Debug)]
pub struct Database<R> {
    source: R,
    meta: Meta,
    length: u64,
}

/// A bucket of a database: where its pairs begin. It holds no pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub(crate) root: Root,
    pub(crate) sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Page(NonZeroU64),
    /// A small bucket lies within its parent's leaf.
    Inline {
        page: u64,
        bytes: Bytes,
    },
}

impl Bucket {
    /// The bucket's own counter. etcd does not use it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The bucket in the value of a leaf's element.
    pub(crate) fn decode(page: u64, index: u16, value: &Bytes) -> Result<Self, ReadError> {
        let wrong = || ReadError::Page { page, fault: PageFault::BucketHeader { index } };
        let (root, sequence) = u64_at(value, 0).zip(u64_at(value, 8)).ok_or_else(wrong)?;
        let root = match NonZeroU64::new(root) {
            Some(root) => Root::Page(root),
            None => Root::Inline { page, bytes: value.slice(BUCKET_HEADER..) },
        };
        Ok(Self { root, sequence })
    }
}

impl<R: Read + Seek> Database<R> {
    /// Reads the metas; the newer whole one counts.
    ///
    /// # Errors
    ///
    /// [`ReadError::NoMeta`] when neither is whole: then it is no bbolt file, or one that is beyond reading.
    pub fn open(mut source: R) -> Result<Self, ReadError> {
        let length = source.seek(SeekFrom::End(0))?;
        let first = meta_at(&mut source, 0)?;
        let second = match first {
            Ok(meta) => meta_at(&mut source, meta.page_size.into())?,
            Err(_) => second_meta(&mut source)?,
        };
        let meta = match (first, second) {
            (Ok(first), Ok(second)) if second.transaction > first.transaction => second,
            (Ok(first), _) => first,
            (Err(_), Ok(second)) => second,
            (Err(first), Err(second)) => return Err(ReadError::NoMeta { first, second }),
        };
        Ok(Self { source, meta, length })
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> u32 {
        self.meta.page_size
    }

    /// The number of the transaction that wrote the file last.
    pub fn transaction(&self) -> u64 {
        self.meta.transaction
    }

    /// Bytes that the database has, by its own account. A file may be longer, for instance by a checksum.
    pub fn bytes_in_use(&self) -> u64 {
        self.meta.pages.saturating_mul(self.meta.page_size.into())
    }

    /// The bucket that holds all others.
    ///
    /// # Errors
    ///
    /// When the meta names none.
    pub fn root(&self) -> Result<Bucket, ReadError> {
        let root = NonZeroU64::new(self.meta.root).ok_or(self.out_of_range(0))?;
        Ok(Bucket { root: Root::Page(root), sequence: self.meta.sequence })
    }

    /// The bucket with this name in the root.
    ///
    /// # Errors
    ///
    /// When a page on the way to it is damaged.
    pub fn bucket(&mut self, name: &[u8]) -> Result<Option<Bucket>, ReadError> {
        let root = self.root()?;
        Ok(match self.get(&root, name)? {
            Some(Value::Bucket(bucket)) => Some(bucket),
            Some(Value::Bytes(_)) | None => None,
        })
    }

    /// What a bucket holds under a key.
    ///
    /// # Errors
    ///
    /// When a page on the way to it is damaged.
    pub fn get(&mut self, bucket: &Bucket, key: &[u8]) -> Result<Option<Value>, ReadError> {
        let item = self.cursor(bucket).seek(key)?.next().transpose()?;
        Ok(item.filter(|item| item.key == key).map(|item| item.value))
    }

    /// All pairs and buckets of a bucket, in the order of their keys.
    pub fn cursor(&mut self, bucket: &Bucket) -> Cursor<'_, R> {
        Cursor::new(self, bucket)
    }

    /// The root page of a bucket.
    pub(crate) fn root_page(&mut self, bucket: &Bucket) -> Result<Page, ReadError> {
        match &bucket.root {
            Root::Page(id) => self.page(id.get()),
            Root::Inline { page, bytes } => Page::new(*page, bytes.clone()),
        }
    }

    /// Reads a page and those that continue it.
    pub(crate) fn page(&mut self, id: u64) -> Result<Page, ReadError> {
        let wrong = |fault| ReadError::Page { page: id, fault };
        if id < 2 || id >= self.meta.pages {
            return Err(self.out_of_range(id));
        }
        let size = u64::from(self.meta.page_size);
        let start = id.checked_mul(size).ok_or(wrong(PageFault::CutOff))?;
        if start.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(wrong(PageFault::CutOff));
        }
        self.source.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; self.meta.page_size as usize];
        self.read_exact(id, &mut bytes)?;
        let header = Header::decode(&bytes).ok_or(wrong(PageFault::CutOff))?;
        if header.id != id {
            return Err(wrong(PageFault::OtherPage { found: header.id }));
        }
        let overflow = header.overflow;
        if id + 1 + u64::from(overflow) > self.meta.pages {
            return Err(wrong(PageFault::Overflow { overflow }));
        }
        if overflow > 0 {
            let run = size * (1 + u64::from(overflow));
            if start + run > self.length {
                return Err(wrong(PageFault::CutOff));
            }
            bytes.resize(usize::try_from(run).map_err(|_| wrong(PageFault::Overflow { overflow }))?, 0);
            self.read_exact(id, &mut bytes[size as usize..])?;
        }
        Page::new(id, bytes.into())
    }

    /// The source, to be used otherwise.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn out_of_range(&self, page: u64) -> ReadError {
        ReadError::Page { page, fault: PageFault::OutOfRange { pages: self.meta.pages } }
    }

    /// A source that ends sooner than it said is cut off like any other.
    fn read_exact(&mut self, page: u64, into: &mut [u8]) -> Result<(), ReadError> {
        self.source.read_exact(into).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => ReadError::Page { page, fault: PageFault::CutOff },
            _ => ReadError::Io(error),
        })
    }
}

fn meta_at<R: Read + Seek>(source: &mut R, at: u64) -> Result<Result<Meta, MetaFault>, ReadError> {
    source.seek(SeekFrom::Start(at))?;
    let mut page = Vec::with_capacity(PAGE_HEADER + META_LEN);
    source.by_ref().take((PAGE_HEADER + META_LEN) as u64).read_to_end(&mut page)?;
    Ok(Meta::decode(&page))
}

/// The second meta, where the first does not say how long it is. It must say so itself.
fn second_meta<R: Read + Seek>(source: &mut R) -> Result<Result<Meta, MetaFault>, ReadError> {
    let mut fault = MetaFault::Missing;
    for at in SECOND_META {
        match meta_at(source, at)? {
            Ok(meta) if u64::from(meta.page_size) == at => return Ok(Ok(meta)),
            // What is nearly a meta says more than what is none.
            Err(found) if telling(found) > telling(fault) => fault = found,
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Err(fault))
}

const fn telling(fault: MetaFault) -> u8 {
    match fault {
        MetaFault::Missing => 0,
        MetaFault::Magic => 1,
        MetaFault::Version(_) | MetaFault::PageSize(_) => 2,
        MetaFault::Checksum => 3,
    }
}
