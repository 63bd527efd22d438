//! Reads and writes database files of bbolt, the engine of etcd: enough to take a store over, and to hand one back.
//!
//! A [`Database`] reads a finished file from anything that can be read and sought. It maps nothing into memory and trusts
//! nothing it finds: each length, page number and depth is checked, and what is wrong is a [`ReadError`] that names the page and the
//! [`PageFault`]. A [`Writer`] builds a new file in one pass out of ascending pairs, and holds about a page of each level.
//!
//! [`etcd`] knows what etcd keeps in which bucket, as raw bytes; decoding the messages is left to who has the contracts.
//!
//! It is no database: it does not change a file, and a file that a server is writing to is not to be read with it.

pub use cursor::{Cursor, Item, Value};
pub use database::{Bucket, Database};
pub use error::{MetaFault, PageFault, ReadError, WriteError};
pub use writer::{Finished, Writer};

mod check;
mod cursor;
mod database;
mod error;
pub mod etcd;
mod layout;
mod meta;
mod page;
mod tree;
mod writer;

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
