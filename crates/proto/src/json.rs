//! The JSON form of etcd's messages, as etcd's gateway writes and reads it.
//!
//! [`read`] turns JSON into an encoded message, [`write`] an encoded message into JSON; both walk the message's [`Shape`], which is generated from the
//! contracts, so that no call has code of its own. Names are those of the contracts (`range_end`, `ID`, `peerURLs`), 64-bit integers are
//! strings, bytes are base64, defaults are left out. A reader takes what etcd's takes: names in lower camel case too, integers with and without
//! quotes, enumerations by name and by number, `null` for "not given"; it passes over names it does not know.

use crate::Method;

pub use self::{
    read::{ReadError, read},
    write::{WriteError, text, write},
};

mod read;
mod write;

/// The messages of one method.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What a client sends.
    pub request: &'static Shape,
    /// What the server answers.
    pub answer: &'static Shape,
}

/// A message's fields, in the order of its contract.
#[derive(Debug)]
pub struct Shape {
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    json_name: &'static str,
    number: u32,
    kind: Kind,
    is_repeated: bool,
    /// Whether it is one of several of which a message has at most one: then a default is said too.
    is_choice: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bool,
    Bytes,
    Enum(&'static Names),
    Int64,
    Message(&'static Shape),
    String,
    Uint32,
    Uint64,
}

/// The values of an enumeration.
#[derive(Debug)]
struct Names {
    name: &'static str,
    values: &'static [(&'static str, i32)],
}

include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

#[cfg(test)]
mod tests;
