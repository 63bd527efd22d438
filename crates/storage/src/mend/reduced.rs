//! Rows that were compacted, made again of what a peer still holds of their records.
//!
//! What is left of such a row follows from what is needed of it, as it did when it was compacted: all of the record if all of it is needed, and
//! otherwise the operations that added what is. The index knows what is needed, and what clients were shown.

use std::collections::HashMap;

use bytes::Bytes;
use tombolo_crdt::Operation;

use super::{Material, MendError, survey::Survey};
use crate::{
    Revision,
    index::View,
    row::commit::{CommitRow, Effect, Layer, Part},
};

/// Makes a row again. `before` is the revision of the row before it.
pub(super) fn remake(survey: &Survey, commit: u64, material: &Material, before: Revision) -> Result<Bytes, MendError> {
    let Material { bytes, record, context, indices } = material.clone();
    let part = Part { layer: Layer::Mesh, record, bytes, indices, context, is_unbound: false };
    let dot = part.dot();
    let is_whole = part.indices.is_none()
        && part.record.operations.iter().all(|operation| operation.adds() > 0)
        && part.numbered().all(|(index, _)| survey.needs(dot.element(index)));
    // Effects stand in the order of the operations, and an operation that adds was one change of the transaction; those whose operations are gone
    // cannot be placed.
    let places: HashMap<&Bytes, u32> =
        part.numbered().filter_map(|(at, operation)| Some((key(operation)?, at))).collect();
    let mut views = Vec::new();
    for (key, view) in survey.views(commit) {
        views.push((*places.get(key).ok_or(MendError::Compacted { commit })?, key, view));
    }
    views.sort_by_key(|(place, ..)| *place);
    let ordinals = views.iter().map(|(place, ..)| *place).collect();
    let effects = views.iter().filter_map(|(_, key, view)| effect(key, *view)).collect();
    let revision = survey.revision(commit).unwrap_or(before);
    let part = if is_whole { part } else { part.remainder(|element| survey.needs(element)) };
    let row =
        CommitRow { revision, parts: vec![part], cleared: Vec::new(), effects, ordinals, apart: Default::default() }
            .with_plain_ordinals_left_out();
    Ok(row.encode(commit))
}

fn key(operation: &Operation) -> Option<&Bytes> {
    match operation {
        Operation::Put { key, .. } | Operation::Remove { key, .. } => Some(key),
        _ => None,
    }
}

fn effect(key: &Bytes, view: View) -> Option<Effect> {
    let key = key.clone();
    match view {
        View::Shown(shown) => {
            Some(Effect::Show { key, at: shown.at, create_revision: shown.create_revision, version: shown.version })
        }
        View::Gone => Some(Effect::Gone { key }),
        View::Unchanged => None,
    }
}
