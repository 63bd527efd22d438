//! What can be wrong with a file, and what a writer refuses. Nothing in a file makes this crate panic.

use std::io;

/// Why a file, or a part of it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed.
    #[error("reading the file failed")]
    Io(#[from] io::Error),
    /// Neither of the two metas is whole: this is no bbolt file, or its beginning is gone.
    #[error("not a bbolt file: the first meta {first}, the second {second}")]
    NoMeta {
        /// What is wrong with the first.
        first: MetaFault,
        /// What is wrong with the second.
        second: MetaFault,
    },
    /// A page is not what it must be.
    #[error("page {page}: {fault}")]
    Page {
        /// The page.
        page: u64,
        /// What is wrong with it.
        fault: PageFault,
    },
}

/// What is wrong with a meta, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaFault {
    /// The file ends before it.
    #[error("is missing")]
    Missing,
    /// It does not begin as a meta does.
    #[error("is none")]
    Magic,
    /// Another version of the format.
    #[error("is of version {0}")]
    Version(u32),
    /// Its checksum does not match.
    #[error("has a wrong checksum")]
    Checksum,
    /// No file has pages of this size.
    #[error("speaks of pages of {0} bytes")]
    PageSize(u32),
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// It lies beyond the pages that are in use, or is one of the metas.
    #[error("is none of the {pages} pages in use")]
    OutOfRange {
        /// The pages in use, as the meta has it.
        pages: u64,
    },
    /// The file ends before or within it.
    #[error("the file ends before it does")]
    CutOff,
    /// It says that it is another page.
    #[error("says that it is page {found}")]
    OtherPage {
        /// The number it bears.
        found: u64,
    },
    /// It is neither a branch nor a leaf.
    #[error("has flags {flags:#06x}, which no page of a bucket has")]
    Kind {
        /// Its flags.
        flags: u16,
    },
    /// It would reach beyond the pages in use.
    #[error("goes on for {overflow} pages, beyond the last")]
    Overflow {
        /// The pages that follow it.
        overflow: u32,
    },
    /// A branch without children.
    #[error("is a branch that leads nowhere")]
    EmptyBranch,
    /// Its elements do not fit in it.
    #[error("cannot hold {count} elements")]
    Count {
        /// How many it says it has.
        count: u16,
    },
    /// An element's key or value lies outside the page.
    #[error("element {index} reaches beyond the page")]
    Element {
        /// The element's ordinal, from 0.
        index: u16,
    },
    /// A key is not above the one before.
    #[error("the key of element {index} is not above the one before")]
    KeyOrder {
        /// The element's ordinal, from 0.
        index: u16,
    },
    /// The value of a bucket's element is too short for a bucket.
    #[error("element {index} is a bucket without a header")]
    BucketHeader {
        /// The element's ordinal, from 0.
        index: u16,
    },
    /// Two ways lead to it, or one leads in a circle.
    #[error("is reached a second time")]
    Repeated,
    /// More branches lie above it than any file has.
    #[error("lies below {0} others")]
    Depth(usize),
}

/// Why a writer refused a call.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The sink failed. The writer takes nothing more.
    #[error("writing the file failed")]
    Io(#[from] io::Error),
    /// An earlier call failed halfway.
    #[error("the file is incomplete, because writing it failed before")]
    Failed,
    /// No file has pages of this size: a power of two from 1 KiB to 64 KiB is.
    #[error("a page cannot have {0} bytes")]
    PageSize(u32),
    /// Keys of a bucket, and names of buckets among them, must ascend.
    #[error("the key is not above the one before")]
    KeyOrder,
    /// A key is empty or longer than 32 KiB.
    #[error("a key cannot have {0} bytes")]
    KeyLength(usize),
    /// A value has 2 GiB or more.
    #[error("a value cannot have {0} bytes")]
    ValueLength(usize),
    /// A pair was given, or a bucket ended, where no bucket was begun.
    #[error("no bucket was begun")]
    NoBucket,
}
