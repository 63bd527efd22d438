//! The operations of a record: what it added, and what it removed by name.
//!
//! An operation is a delta, not an intent: it says which elements appear and which disappear, so that applying it needs no
//! knowledge of what the author's client asked for. Kinds are numbered for ever. An unknown kind is kept as bytes, because a
//! relay must pass on what it cannot interpret; a replica that meets one stops applying there.

use bytes::Bytes;

use crate::{
    DecodeError, Dot, Element, ReplicaId,
    codec::{Reader, insert_varint, put_bytes, put_elements, put_replica, put_varint},
};

/// The longest lease, in seconds: etcd's bound, and little enough that a deadline never overflows.
pub const LEASE_TTL_S_MAX: u64 = 9_000_000_000;

/// The longest key of system data, in bytes.
pub const SYSTEM_KEY_BYTES_MAX: usize = 1 << 10;

/// The largest value of system data, in bytes. Every replica holds all of them in memory.
pub const SYSTEM_VALUE_BYTES_MAX: usize = 64 << 10;

const PUT: u64 = 1;
const REMOVE: u64 = 2;
const RANGE_REMOVE: u64 = 3;
const LEASE_GRANT: u64 = 4;
const LEASE_END: u64 = 5;
const SYSTEM_PUT: u64 = 6;
const SYSTEM_REMOVE: u64 = 7;

/// A lease: a number, and the replica that counts its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseRef {
    /// The replica that granted it.
    pub home: ReplicaId,
    /// Its number at that replica, not 0.
    pub id: i64,
}

/// One operation of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds one element, a value, to the register of a key, and removes the named siblings.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// The lease the value is attached to.
        lease: Option<LeaseRef>,
        /// The siblings that this write replaces, ascending.
        supersedes: Vec<Element>,
    },
    /// Removes the named siblings of a key.
    Remove {
        /// The key.
        key: Bytes,
        /// The siblings, ascending, at least one.
        elements: Vec<Element>,
    },
    /// Removes everything in a range of keys that the author's context covers.
    RangeRemove(RangeRemove),
    /// Adds one element: a lease, at home where the record was written.
    LeaseGrant {
        /// The lease's number.
        id: i64,
        /// Seconds to live, at most [`LEASE_TTL_S_MAX`].
        ttl_s: u64,
    },
    /// Removes a lease.
    LeaseEnd {
        /// The lease.
        lease: LeaseRef,
        /// The elements its grants added, ascending, at least one.
        elements: Vec<Element>,
    },
    /// Adds one element, a value, to the register of a key of the system's own data, and removes the named siblings. These
    /// registers are a keyspace of their own, which no range removal reaches.
    SystemPut {
        /// The key, at most [`SYSTEM_KEY_BYTES_MAX`].
        key: Bytes,
        /// The value, at most [`SYSTEM_VALUE_BYTES_MAX`].
        value: Bytes,
        /// The siblings that this write replaces, ascending.
        supersedes: Vec<Element>,
    },
    /// Removes the named siblings of a key of the system's own data.
    SystemRemove {
        /// The key, at most [`SYSTEM_KEY_BYTES_MAX`].
        key: Bytes,
        /// The siblings, ascending, at least one.
        elements: Vec<Element>,
    },
    /// An operation of a kind that this version cannot interpret.
    Unknown {
        /// The kind's number.
        kind: u64,
        /// The body as written.
        body: Bytes,
    },
}

/// A range of keys to remove: from `start` up to, not including, `end`; without `end`, to the last key there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRemove {
    /// The first key.
    pub start: Bytes,
    /// The first key beyond.
    pub end: Option<Bytes>,
}

impl Operation {
    /// How many elements the operation adds.
    pub fn adds(&self) -> u32 {
        match self {
            Self::Put { .. } | Self::LeaseGrant { .. } | Self::SystemPut { .. } => 1,
            Self::Remove { .. }
            | Self::RangeRemove(_)
            | Self::LeaseEnd { .. }
            | Self::SystemRemove { .. }
            | Self::Unknown { .. } => 0,
        }
    }

    /// The elements the operation removes by name, ascending. What a range removes is not among them: no operation lists it.
    pub fn named(&self) -> &[Element] {
        match self {
            Self::Put { supersedes, .. } | Self::SystemPut { supersedes, .. } => supersedes,
            Self::Remove { elements, .. } | Self::LeaseEnd { elements, .. } | Self::SystemRemove { elements, .. } => {
                elements
            }
            Self::RangeRemove(_) | Self::LeaseGrant { .. } | Self::Unknown { .. } => &[],
        }
    }

    /// Appends `kind ‖ length ‖ body`.
    pub(crate) fn encode(&self, author: ReplicaId, out: &mut Vec<u8>) {
        let tail: &[u8] = match self {
            Self::Put { value, .. } | Self::SystemPut { value, .. } => value,
            Self::Unknown { body, .. } => body,
            _ => &[],
        };
        put_varint(out, self.kind());
        let start = out.len();
        self.encode_head(author, out);
        // The tail, most of the bytes of most records, goes straight to its place, and only the head is moved for the length.
        insert_varint(out, start, (out.len() - start + tail.len()) as u64);
        out.extend_from_slice(tail);
    }

    fn kind(&self) -> u64 {
        match self {
            Self::Put { .. } => PUT,
            Self::Remove { .. } => REMOVE,
            Self::RangeRemove(_) => RANGE_REMOVE,
            Self::LeaseGrant { .. } => LEASE_GRANT,
            Self::LeaseEnd { .. } => LEASE_END,
            Self::SystemPut { .. } => SYSTEM_PUT,
            Self::SystemRemove { .. } => SYSTEM_REMOVE,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// The body up to what needs no length because it ends the body.
    fn encode_head(&self, author: ReplicaId, out: &mut Vec<u8>) {
        match self {
            Self::Put { key, lease, supersedes, .. } => {
                put_bytes(out, key);
                put_lease(out, *lease, author);
                put_elements(out, supersedes, author);
            }
            Self::SystemPut { key, supersedes, .. } => {
                put_bytes(out, key);
                put_elements(out, supersedes, author);
            }
            Self::Remove { key, elements } | Self::SystemRemove { key, elements } => {
                put_bytes(out, key);
                put_elements(out, elements, author);
            }
            Self::RangeRemove(RangeRemove { start, end }) => {
                put_bytes(out, start);
                match end {
                    None => out.push(0),
                    Some(end) => {
                        out.push(1);
                        put_bytes(out, end);
                    }
                }
            }
            Self::LeaseGrant { id, ttl_s } => {
                out.extend_from_slice(&id.to_be_bytes());
                put_varint(out, *ttl_s);
            }
            Self::LeaseEnd { lease, elements } => {
                put_lease(out, Some(*lease), author);
                put_elements(out, elements, author);
            }
            Self::Unknown { .. } => {}
        }
    }

    /// Reads what [`Operation::encode`] wrote in the record of this name.
    pub(crate) fn decode(reader: &mut Reader, record: Dot) -> Result<Self, DecodeError> {
        let kind = reader.varint("operation kind")?;
        let mut body = Reader::new(reader.bytes("operation")?);
        let operation = match kind {
            PUT => {
                let key = body.bytes("key")?;
                let lease = lease(&mut body, record.replica)?;
                let supersedes = earlier_elements(&mut body, record, "superseded elements")?;
                return Ok(Self::Put { key, value: body.rest(), lease, supersedes });
            }
            REMOVE => Self::Remove { key: body.bytes("key")?, elements: some_elements(&mut body, record)? },
            RANGE_REMOVE => Self::RangeRemove(range(&mut body)?),
            LEASE_GRANT => Self::LeaseGrant { id: lease_id(&mut body)?, ttl_s: lease_ttl(&mut body)? },
            LEASE_END => Self::LeaseEnd {
                lease: lease(&mut body, record.replica)?.ok_or(DecodeError::NotCanonical { what: "ended lease" })?,
                elements: some_elements(&mut body, record)?,
            },
            SYSTEM_PUT => {
                let key = system_key(&mut body)?;
                let supersedes = earlier_elements(&mut body, record, "superseded elements")?;
                return Ok(Self::SystemPut { key, value: system_value(body)?, supersedes });
            }
            SYSTEM_REMOVE => {
                Self::SystemRemove { key: system_key(&mut body)?, elements: some_elements(&mut body, record)? }
            }
            _ => return Ok(Self::Unknown { kind, body: body.rest() }),
        };
        body.finish("operation")?;
        Ok(operation)
    }
}

/// 0 for none; 1, the home and the number otherwise.
fn put_lease(out: &mut Vec<u8>, lease: Option<LeaseRef>, author: ReplicaId) {
    match lease {
        None => out.push(0),
        Some(LeaseRef { home, id }) => {
            out.push(1);
            put_replica(out, home, author);
            out.extend_from_slice(&id.to_be_bytes());
        }
    }
}

fn lease(reader: &mut Reader, author: ReplicaId) -> Result<Option<LeaseRef>, DecodeError> {
    match reader.u8("lease")? {
        0 => Ok(None),
        1 => Ok(Some(LeaseRef { home: reader.replica(author, "lease home")?, id: lease_id(reader)? })),
        _ => Err(DecodeError::NotCanonical { what: "lease" }),
    }
}

fn lease_id(reader: &mut Reader) -> Result<i64, DecodeError> {
    match reader.array("lease number").map(i64::from_be_bytes)? {
        0 => Err(DecodeError::NotCanonical { what: "lease number" }),
        id => Ok(id),
    }
}

fn lease_ttl(reader: &mut Reader) -> Result<u64, DecodeError> {
    match reader.varint("lease ttl")? {
        ttl_s @ 0..=LEASE_TTL_S_MAX => Ok(ttl_s),
        _ => Err(DecodeError::NotCanonical { what: "lease ttl" }),
    }
}

fn system_key(reader: &mut Reader) -> Result<Bytes, DecodeError> {
    at_most(reader.bytes("system key")?, SYSTEM_KEY_BYTES_MAX, "system key")
}

fn system_value(reader: Reader) -> Result<Bytes, DecodeError> {
    at_most(reader.rest(), SYSTEM_VALUE_BYTES_MAX, "system value")
}

fn at_most(bytes: Bytes, max: usize, what: &'static str) -> Result<Bytes, DecodeError> {
    if bytes.len() > max { Err(DecodeError::TooLarge { what, bytes: bytes.len(), max }) } else { Ok(bytes) }
}

fn some_elements(reader: &mut Reader, record: Dot) -> Result<Vec<Element>, DecodeError> {
    let what = "removed elements";
    let elements = earlier_elements(reader, record, what)?;
    if elements.is_empty() { Err(DecodeError::NotCanonical { what }) } else { Ok(elements) }
}

/// Elements of which none is the record's own or a later one of its author: a record removes only what was there before it.
fn earlier_elements(reader: &mut Reader, record: Dot, what: &'static str) -> Result<Vec<Element>, DecodeError> {
    let elements = reader.elements(record.replica, what)?;
    let is_later = |element: &Element| element.dot.replica == record.replica && element.dot.seq >= record.seq;
    if elements.iter().any(is_later) { Err(DecodeError::NotCanonical { what }) } else { Ok(elements) }
}

/// A range that can hold a key: an empty one would be an operation that does nothing, in many forms.
fn range(reader: &mut Reader) -> Result<RangeRemove, DecodeError> {
    let what = "range end";
    let start = reader.bytes("range start")?;
    let end = match reader.u8(what)? {
        0 => None,
        1 => Some(reader.bytes(what)?),
        _ => return Err(DecodeError::NotCanonical { what }),
    };
    if end.as_ref().is_some_and(|end| *end <= start) {
        return Err(DecodeError::NotCanonical { what });
    }
    Ok(RangeRemove { start, end })
}
