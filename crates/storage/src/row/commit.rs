//! `c ‖ commit number`: one applied transaction, with its values, and what it changed for etcd clients here.
//!
//! ```text
//! content := form (1) ‖ revision ‖ flags (1)
//!            ‖ [ part ]                               of the mesh layer, then of the private layer, as flagged
//!            ‖ count ‖ { key ‖ elements }             what range removals removed here
//!            ‖ count ‖ { effect }
//!            ‖ { ordinal }                             of each effect, in forms 3, 4 and 5
//!            ‖ count ‖ { lease ‖ elements }           of form 5: grants that a transfer removed here
//!            ‖ count ‖ { key ‖ elements }             of form 5: system data that it removed
//! part    := length ‖ record
//!            ‖ [ count ‖ { element index } ]          in form 2
//!            ‖ [ vector ]                             of a record that removes a range: its full context
//! ```
//!
//! Form 1 holds the records as their authors wrote them. Form 2 is what compaction leaves of a row of which only some
//! values are still needed: a record-shaped remainder of the operations that added them, with their element indices.
//! Forms 3 and 4 are 1 and 2 of which earlier effects have gone, so that the others' places in the transaction have to be written down.
//! Form 5 has no part: it is what a transfer of state removed here, and what it changed besides, see [`transfer`](crate::transfer).
//! The `revision` is the replica's after the commit; it is the commit's own when there are effects.
//!
//! Effects are this replica's own: another one may apply the same record to other effects. They are what makes history
//! replayable without the state it was made from.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;
use tombolo_crdt::{
    Chain, DecodeError, Dot, Element, Hlc, LeaseRef, Operation, Record, RecordHeader, ReplicaId, VersionVector,
    codec::{Reader, put_bytes, put_elements, put_varint},
};

use super::{Kind, put_vector, read_vector, seal, unseal};
use crate::{ReadError, Revision, view::Stored};

mod effect;

const WHOLE: u8 = 1;
const REMAINDER: u8 = 2;
/// What a form is raised by when the ordinals of its effects are written down.
const NUMBERED: u8 = 2;
/// A row without a record.
const BARE: u8 = 5;

const HAS_MESH: u8 = 1;
const HAS_PRIVATE: u8 = 2;

/// A commit as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitRow {
    /// The replica's revision after the commit.
    pub(crate) revision: Revision,
    /// The records, the mesh layer's first.
    pub(crate) parts: Vec<Part>,
    /// What range removals removed here, by key.
    pub(crate) cleared: Vec<Cleared>,
    /// What changed for etcd clients, in the order of the transaction.
    pub(crate) effects: SmallVec<[Effect; 1]>,
    /// Which of the transaction's changes each effect is, when earlier ones have gone. Empty: they are the first ones.
    pub(crate) ordinals: Vec<u32>,
    /// What a transfer removed that is not under a key.
    pub(crate) apart: Option<Box<Apart>>,
}

/// Grants and system data that are removed by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    pub(crate) leases: Vec<(LeaseRef, Vec<Element>)>,
    pub(crate) system: Vec<Cleared>,
}

/// One layer's record within a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) layer: Layer,
    pub(crate) record: Record,
    /// The record as its author wrote it, or the remainder of it.
    pub(crate) bytes: Bytes,
    /// In a remainder, the element index of each operation that is left.
    pub(crate) indices: Option<Vec<u32>>,
    /// What the author had seen, when the record removes a range: at a cut, the range says what goes, not the state of here.
    pub(crate) context: Option<VersionVector>,
    /// Whether the record was written here and has no chain yet: see [`Bound`](super::bound::Bound).
    pub(crate) is_unbound: bool,
}

/// What is replicated, and what stays at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Layer {
    Mesh,
    Private,
}

/// Elements of one key that a range removal removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cleared {
    pub(crate) key: Bytes,
    pub(crate) elements: Vec<Element>,
}

/// A change of what etcd clients see of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A key shows the value of an element.
    Show {
        key: Bytes,
        /// Where the value is: in this commit or, when a removal uncovered an older sibling, in an earlier one.
        at: Location,
        create_revision: i64,
        version: i64,
    },
    /// A key is gone.
    Gone { key: Bytes },
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// The commit whose row holds it.
    pub(crate) commit: u64,
    /// The element it is the value of.
    pub(crate) element: Element,
}

impl Apart {
    /// As a row has it, which nearly always is nothing.
    pub(crate) fn some(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Effect {
    pub(crate) fn key(&self) -> &Bytes {
        match self {
            Self::Show { key, .. } | Self::Gone { key } => key,
        }
    }
}

impl Part {
    /// The operations with the index of the first element each adds.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, &Operation)> {
        let own = self.indices.is_none().then(|| self.record.numbered());
        let left = self.indices.iter().flatten().copied().zip(&self.record.operations);
        own.into_iter().flatten().chain(left)
    }

    pub(crate) fn dot(&self) -> Dot {
        self.record.header.dot
    }

    /// What is left of the record when only these elements are needed: the operations that added them.
    pub(crate) fn remainder(&self, is_needed: impl Fn(Element) -> bool) -> Self {
        let dot = self.dot();
        let (mut indices, mut operations) = (Vec::new(), Vec::new());
        for (index, operation) in self.numbered().filter(|(at, op)| op.adds() > 0 && is_needed(dot.element(*at))) {
            indices.push(index);
            operations.push(match operation.clone() {
                // What it replaced is gone too.
                Operation::Put { key, value, lease, .. } => {
                    Operation::Put { key, value, lease, supersedes: Vec::new() }
                }
                Operation::SystemPut { key, value, .. } => Operation::SystemPut { key, value, supersedes: Vec::new() },
                other => other,
            });
        }
        Self::of_remainder(self.layer, dot, self.record.header.hlc, operations, indices)
    }

    /// A remainder of these operations, each of which adds the element of the index beside it.
    pub(crate) fn of_remainder(
        layer: Layer,
        dot: Dot,
        hlc: Hlc,
        operations: Vec<Operation>,
        indices: Vec<u32>,
    ) -> Self {
        let header = RecordHeader { dot, hlc, context_delta: VersionVector::new(), chain: Chain::BEGINNING };
        let mut record = Record { header, operations };
        let (bytes, chain) = record.encode(&Chain::BEGINNING);
        record.header.chain = chain;
        Self { layer, record, bytes, indices: Some(indices), context: None, is_unbound: false }
    }

    pub(crate) fn removes_ranges(&self) -> bool {
        self.record.operations.iter().any(|operation| matches!(operation, Operation::RangeRemove(_)))
    }
}

impl CommitRow {
    /// Whether this is what compaction left of a row.
    pub(crate) fn is_remainder(&self) -> bool {
        self.parts.iter().any(|part| part.indices.is_some())
    }

    /// Whether something was removed here without a record of ours: by a transfer.
    pub(crate) fn is_bare(&self) -> bool {
        self.parts.is_empty() && (!self.cleared.is_empty() || self.apart.is_some())
    }

    /// Which of the transaction's changes the effect at this place is, from 0.
    pub(crate) fn ordinal(&self, at: usize) -> u32 {
        self.ordinals.get(at).copied().unwrap_or_else(|| u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// The row in its one form: what is plain is not written down.
    pub(crate) fn with_plain_ordinals_left_out(mut self) -> Self {
        self.leave_out_plain_ordinals();
        self
    }

    pub(crate) fn leave_out_plain_ordinals(&mut self) {
        if self.ordinals.iter().enumerate().all(|(at, ordinal)| u32::try_from(at) == Ok(*ordinal)) {
            self.ordinals = Vec::new();
        }
    }

    /// Takes the value that an element has in this row out of it; `None` when the row holds no such value.
    pub(crate) fn take_value(&mut self, element: Element) -> Option<Stored> {
        let part = self.parts.iter_mut().find(|part| part.dot() == element.dot)?;
        let at = part.numbered().position(|(index, operation)| index == element.index && operation.adds() > 0)?;
        match part.record.operations.get_mut(at)? {
            Operation::Put { value, lease, .. } => Some(Stored { value: std::mem::take(value), lease: *lease }),
            _ => None,
        }
    }

    /// The operation that added an element.
    pub(crate) fn operation(&self, element: Element) -> Option<&Operation> {
        let part = self.parts.iter().find(|part| part.dot() == element.dot)?;
        part.numbered().find(|(index, operation)| *index == element.index && operation.adds() > 0).map(|(_, op)| op)
    }

    pub(crate) fn encode(&self, number: u64) -> Bytes {
        let mut out = Vec::new();
        self.write(number, &mut out, |_, _| debug_assert!(false, "a row of its own has all chains"));
        seal(&mut out, 0, number);
        out.into()
    }

    /// Appends the row to `out`, all but its hash. Tells where records lie that are still to be bound.
    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>, mut unbound: impl FnMut(Layer, Range<usize>)) {
        out.reserve(self.parts.iter().map(|part| part.bytes.len() + 8).sum::<usize>() + 64);
        let is_whole = self.parts.iter().all(|part| part.indices.is_none());
        let form = if is_whole { WHOLE } else { REMAINDER };
        let is_bare = self.is_bare();
        out.push(match (is_bare, self.ordinals.is_empty()) {
            (true, _) => BARE,
            (false, true) => form,
            (false, false) => form + NUMBERED,
        });
        put_varint(out, self.revision.get().cast_unsigned());
        out.push(self.parts.iter().fold(0, |flags, part| flags | part.layer.flag()));
        for part in &self.parts {
            put_bytes(out, &part.bytes);
            if part.is_unbound {
                unbound(part.layer, out.len() - part.bytes.len()..out.len());
            }
            if !is_whole {
                put_indices(out, part);
            }
            if let Some(context) = &part.context {
                put_vector(out, context);
            }
        }
        put_varint(out, self.cleared.len() as u64);
        for Cleared { key, elements } in &self.cleared {
            put_bytes(out, key);
            put_elements(out, elements, self.author());
        }
        put_varint(out, self.effects.len() as u64);
        for effect in &self.effects {
            self.put_effect(out, number, effect);
        }
        if is_bare {
            (0..self.effects.len()).for_each(|at| put_varint(out, u64::from(self.ordinal(at))));
            self.put_apart(out);
        } else {
            self.ordinals.iter().for_each(|ordinal| put_varint(out, u64::from(*ordinal)));
        }
    }

    /// Reads a row; what does not carry its own hash is rot, not data.
    pub(crate) fn decode(row: &Bytes, number: u64) -> Result<Self, ReadError> {
        let content = unseal(row, number).ok_or(ReadError::Rot { commit: number })?;
        Self::decode_content(content, number).map_err(|_| ReadError::Rot { commit: number })
    }

    fn decode_content(content: Bytes, number: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        let found = reader.u8("form")?;
        let is_numbered = found > NUMBERED;
        let form = if is_numbered && found != BARE { found - NUMBERED } else { found };
        if form != WHOLE && form != REMAINDER && form != BARE {
            return Err(DecodeError::UnknownVersion { found });
        }
        let revision = revision(&mut reader)?;
        let flags = reader.u8("flags")?;
        let mut parts = Vec::with_capacity(1);
        for layer in [Layer::Mesh, Layer::Private] {
            if flags & layer.flag() != 0 && form != BARE {
                parts.push(read_part(&mut reader, layer, form)?);
            }
        }
        let mut row =
            Self { revision, parts, cleared: Vec::new(), effects: SmallVec::new(), ordinals: Vec::new(), apart: None };
        for _ in 0..reader.varint("cleared keys")? {
            let key = reader.bytes("cleared key")?;
            let elements = reader.elements(row.author(), "cleared elements")?;
            row.cleared.push(Cleared { key, elements });
        }
        for _ in 0..reader.varint("effects")? {
            let effect = row.read_effect(&mut reader, number)?;
            row.effects.push(effect);
        }
        if is_numbered {
            row.ordinals = row.effects.iter().map(|_| index(&mut reader)).collect::<Result<_, _>>()?;
        }
        if form == BARE {
            row.leave_out_plain_ordinals();
            row.apart = Apart::some(read_apart(&mut reader)?);
        }
        reader.finish("row")?;
        Ok(row)
    }

    /// Elements are written relative to the first part's author; a row without parts names elements of nobody in particular.
    fn author(&self) -> ReplicaId {
        self.parts.first().map_or(NOBODY, |part| part.dot().replica)
    }
}

/// Whom the elements of a row without parts are written relative to.
const NOBODY: ReplicaId = match ReplicaId::new(u64::MAX) {
    Some(id) => id,
    None => unreachable!(),
};

impl CommitRow {
    fn put_apart(&self, out: &mut Vec<u8>) {
        let nothing = Apart::default();
        let apart = self.apart.as_deref().unwrap_or(&nothing);
        put_varint(out, apart.leases.len() as u64);
        for (lease, elements) in &apart.leases {
            out.extend_from_slice(&lease.home.get().to_be_bytes());
            out.extend_from_slice(&lease.id.to_be_bytes());
            put_elements(out, elements, NOBODY);
        }
        put_varint(out, apart.system.len() as u64);
        for Cleared { key, elements } in &apart.system {
            put_bytes(out, key);
            put_elements(out, elements, NOBODY);
        }
    }
}

impl Layer {
    fn flag(self) -> u8 {
        match self {
            Self::Mesh => HAS_MESH,
            Self::Private => HAS_PRIVATE,
        }
    }
}

fn read_apart(reader: &mut Reader) -> Result<Apart, DecodeError> {
    let what = "what a transfer removed";
    let mut apart = Apart::default();
    for _ in 0..reader.varint(what)? {
        let lease = LeaseRef { home: reader.replica_id(what)?, id: reader.u64(what)?.cast_signed() };
        apart.leases.push((lease, reader.elements(NOBODY, what)?));
    }
    for _ in 0..reader.varint(what)? {
        let key = reader.bytes(what)?;
        apart.system.push(Cleared { key, elements: reader.elements(NOBODY, what)? });
    }
    Ok(apart)
}

fn put_indices(out: &mut Vec<u8>, part: &Part) {
    let indices: Vec<u32> = part.numbered().map(|(index, _)| index).collect();
    put_varint(out, indices.len() as u64);
    indices.iter().for_each(|&index| put_varint(out, index.into()));
}

fn read_part(reader: &mut Reader, layer: Layer, form: u8) -> Result<Part, DecodeError> {
    let bytes = reader.bytes("record")?;
    let record = Record::decode(bytes.clone())?;
    let mut indices = None;
    if form == REMAINDER {
        let count = reader.varint("indices")?;
        if count != record.operations.len() as u64 {
            return Err(DecodeError::NotCanonical { what: "indices" });
        }
        indices = Some((0..count).map(|_| index(reader)).collect::<Result<_, _>>()?);
    }
    let mut part = Part { layer, record, bytes, indices, context: None, is_unbound: false };
    if part.removes_ranges() {
        part.context = Some(read_vector(reader)?);
    }
    Ok(part)
}

fn revision(reader: &mut Reader) -> Result<Revision, DecodeError> {
    let number = reader.varint("revision")?;
    i64::try_from(number).ok().and_then(Revision::new).ok_or(DecodeError::NotCanonical { what: "revision" })
}

fn index(reader: &mut Reader) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint("index")?).map_err(|_| DecodeError::NotCanonical { what: "index" })
}

/// The key of a commit's row.
pub(crate) fn key(number: u64) -> Bytes {
    Kind::Commit.key(number)
}
