//! The operations of a record: what it added, and what it removed by name.
//!
//! An operation is a delta, not an intent: it says which elements appear and which disappear, so that applying it needs no
//! knowledge of what the author's client asked for. Kinds are numbered for ever. An unknown kind is kept as bytes, because a
//! relay must pass on what it cannot interpret; a replica that meets one stops applying there.

use bytes::Bytes;

use crate::{
    DecodeError, Element, ReplicaId,
    codec::{Reader, put_bytes, put_elements, put_replica, put_varint},
};

const PUT: u64 = 1;
const REMOVE: u64 = 2;
const RANGE_REMOVE: u64 = 3;
const LEASE_GRANT: u64 = 4;
const LEASE_END: u64 = 5;

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
        /// Seconds to live.
        ttl_s: u64,
    },
    /// Removes a lease.
    LeaseEnd {
        /// The lease.
        lease: LeaseRef,
        /// The elements its grants added, ascending, at least one.
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
            Self::Put { .. } | Self::LeaseGrant { .. } => 1,
            Self::Remove { .. } | Self::RangeRemove(_) | Self::LeaseEnd { .. } | Self::Unknown { .. } => 0,
        }
    }

    /// Appends `kind ‖ length ‖ body`.
    pub(crate) fn encode(&self, author: ReplicaId, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        put_varint(out, self.kind());
        if let Self::Put { key, value, lease, supersedes } = self {
            // The value, most of the bytes, goes straight to its place.
            put_bytes(scratch, key);
            put_lease(scratch, *lease, author);
            put_elements(scratch, supersedes, author);
            put_varint(out, (scratch.len() + value.len()) as u64);
            out.extend_from_slice(scratch);
            out.extend_from_slice(value);
        } else {
            self.encode_body(author, scratch);
            put_bytes(out, scratch);
        }
    }

    fn kind(&self) -> u64 {
        match self {
            Self::Put { .. } => PUT,
            Self::Remove { .. } => REMOVE,
            Self::RangeRemove(_) => RANGE_REMOVE,
            Self::LeaseGrant { .. } => LEASE_GRANT,
            Self::LeaseEnd { .. } => LEASE_END,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    fn encode_body(&self, author: ReplicaId, out: &mut Vec<u8>) {
        match self {
            Self::Put { key, value, lease, supersedes } => {
                put_bytes(out, key);
                put_lease(out, *lease, author);
                put_elements(out, supersedes, author);
                out.extend_from_slice(value);
            }
            Self::Remove { key, elements } => {
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
            Self::Unknown { body, .. } => out.extend_from_slice(body),
        }
    }

    pub(crate) fn decode(reader: &mut Reader, author: ReplicaId) -> Result<Self, DecodeError> {
        let kind = reader.varint("operation kind")?;
        let body = reader.bytes("operation")?;
        if !(PUT..=LEASE_END).contains(&kind) {
            return Ok(Self::Unknown { kind, body });
        }
        let mut body = Reader::new(body);
        let operation = match kind {
            PUT => {
                let key = body.bytes("key")?;
                let lease = lease(&mut body, author)?;
                let supersedes = body.elements(author, "superseded elements")?;
                return Ok(Self::Put { key, value: body.rest(), lease, supersedes });
            }
            REMOVE => Self::Remove { key: body.bytes("key")?, elements: some_elements(&mut body, author)? },
            RANGE_REMOVE => Self::RangeRemove(RangeRemove { start: body.bytes("range start")?, end: end(&mut body)? }),
            LEASE_GRANT => Self::LeaseGrant { id: lease_id(&mut body)?, ttl_s: body.varint("lease ttl")? },
            _ => Self::LeaseEnd {
                lease: lease(&mut body, author)?.ok_or(DecodeError::NotCanonical { what: "ended lease" })?,
                elements: some_elements(&mut body, author)?,
            },
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

fn some_elements(reader: &mut Reader, author: ReplicaId) -> Result<Vec<Element>, DecodeError> {
    let elements = reader.elements(author, "removed elements")?;
    if elements.is_empty() { Err(DecodeError::NotCanonical { what: "removed elements" }) } else { Ok(elements) }
}

fn end(reader: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    match reader.u8("range end")? {
        0 => Ok(None),
        1 => reader.bytes("range end").map(Some),
        _ => Err(DecodeError::NotCanonical { what: "range end" }),
    }
}
