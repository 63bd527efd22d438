//! Fragments: what is transferred of one record, as the operations that added its live elements.
//!
//! ```text
//! fragment := bytes(body of the remainder) ‖ { element index }     one for each operation
//! ```
//!
//! It is the remainder that compaction leaves of a record, without its chain, which means nothing and would be sixteen bytes
//! that no compression makes smaller.

use bytes::Bytes;
use tombolo_crdt::{
    Chain, DecodeError, Element, Operation, Record, VersionVector,
    codec::{Reader, put_bytes, put_varint},
};

use crate::{
    digest::share_of,
    row::commit::{Layer, Part},
};

/// Appends a remainder.
pub(crate) fn put(out: &mut Vec<u8>, part: &Part) {
    put_bytes(out, &part.bytes[..part.bytes.len() - Chain::LEN]);
    part.indices.iter().flatten().for_each(|index| put_varint(out, u64::from(*index)));
}

/// Reads a fragment. Everything that a remainder may not hold is refused.
pub(crate) fn read(reader: &mut Reader) -> Result<Part, DecodeError> {
    let what = "fragment";
    let not_canonical = DecodeError::NotCanonical { what };
    let body = reader.bytes(what)?;
    let mut bytes = Vec::with_capacity(body.len() + Chain::LEN);
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(Chain::BEGINNING.link(&body).as_bytes());
    let bytes = Bytes::from(bytes);
    let record = Record::decode(bytes.clone())?;
    let is_bare = |operation: &Operation| operation.adds() == 1 && operation.named().is_empty();
    if record.operations.is_empty()
        || !record.operations.iter().all(is_bare)
        || record.header.context_delta != VersionVector::new()
    {
        return Err(not_canonical);
    }
    let mut indices: Vec<u32> = Vec::with_capacity(record.operations.len());
    for _ in &record.operations {
        let index = u32::try_from(reader.varint(what)?).map_err(|_| DecodeError::NotCanonical { what })?;
        if indices.last().is_some_and(|last| *last >= index) {
            return Err(not_canonical);
        }
        indices.push(index);
    }
    Ok(Part { layer: Layer::Mesh, record, bytes, indices: Some(indices), context: None, is_unbound: false })
}

/// The elements of a remainder, with their shares.
pub(crate) fn elements(part: &Part) -> impl Iterator<Item = (Element, u128)> {
    let dot = part.dot();
    part.numbered().filter_map(move |(index, operation)| {
        let element = dot.element(index);
        Some((element, share_of(element, operation)?))
    })
}
