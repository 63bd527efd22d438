//! What compaction leaves of a key's history, and of a row.
//!
//! Both rules are about the same thing. A touch of a key is kept when some readable revision shows it, or when what it added
//! was live at the newest base or is live now; a value is kept when it is live, was live then, or a kept touch shows it.

use std::collections::HashSet;

use bytes::Bytes;
use smallvec::SmallVec;
use tombolo_crdt::{Element, LeaseRef, Operation, Sibling};

use crate::{
    index::{Grant, Held, Index, Touch, View, own_key},
    row::commit::{CommitRow, Effect, Location},
    since_base::SinceBase,
    system::SystemRegisters,
};

/// What becomes of a row.
pub(super) enum Fate {
    /// All of it is needed.
    Kept,
    /// Some of it is.
    Reduced(CommitRow),
    /// Nothing of it is.
    Dropped,
}

/// Forgets what a key did up to `horizon`, all but what is visible at `revision`, and returns the commits that lost something.
pub(super) fn forget(index: &mut Index, since: &SinceBase, key: &[u8], revision: i64, horizon: u64) -> Vec<u64> {
    let Some(entry) = index.entry_if_present(key) else { return Vec::new() };
    let newest = entry.touches.iter().rposition(|touch| touch.revision != 0 && touch.commit <= horizon);
    let is_shown = |at: usize, touch: &Touch| {
        // A removal at the oldest readable revision is still told, as history starts there.
        touch.commit > horizon || (newest == Some(at) && (touch.view != View::Gone || touch.revision == revision))
    };
    let mut held: HashSet<u64> = entry.register.siblings().map(|(_, sibling)| sibling.value.commit).collect();
    held.extend(since.commits(key));
    // What an uncovering shows was added by an earlier commit, which cuts are folded from.
    held.extend(entry.touches.iter().enumerate().filter(|(at, touch)| is_shown(*at, touch)).filter_map(
        |(_, touch)| match touch.view {
            View::Shown(shown) => Some(shown.at.commit),
            View::Gone | View::Unchanged => None,
        },
    ));
    let mut lost = Vec::new();
    let mut at = 0;
    entry.touches.retain(|touch| {
        let is_kept = is_shown(at, touch) || held.contains(&touch.commit);
        at += 1;
        if !is_kept {
            lost.push(touch.commit);
            if let View::Shown(shown) = touch.view {
                lost.push(shown.at.commit);
            }
        }
        is_kept
    });
    index.forget_if_empty(key);
    lost
}

/// Has keys of which nothing is left in a row point to it no more: cuts are folded from the rows that keys point to. One that was not looked at
/// for this sweep may have needed the row when it was looked at last, for a sibling that has gone since.
pub(super) fn unlink(index: &mut Index, number: u64, row: &CommitRow, rest: Option<&CommitRow>) {
    let left: HashSet<Bytes> = rest.into_iter().flat_map(keys).collect();
    for key in keys(row).into_iter().filter(|key| !left.contains(key)) {
        if let Some(entry) = index.entry_if_present(&key) {
            entry.touches.retain(|touch| touch.commit != number || touch.view != View::Unchanged);
        }
        index.forget_if_empty(&key);
    }
}

/// Who may need what a row added.
pub(super) struct Needs<'a> {
    pub(super) index: &'a Index,
    pub(super) system: &'a SystemRegisters,
    pub(super) since: &'a SinceBase,
}

/// What becomes of a row, once the histories of its keys are forgotten.
pub(super) fn fate(needs: &Needs<'_>, number: u64, row: &CommitRow) -> Fate {
    let mut needed = HashSet::new();
    let mut adds = 0;
    for part in &row.parts {
        for (at, operation) in part.numbered().filter(|(_, operation)| operation.adds() > 0) {
            adds += 1;
            let element = part.dot().element(at);
            if needs.since.holds(element, number) || is_needed(needs, (number, element), operation) {
                needed.insert(element);
            }
        }
    }
    let mut ordinals = Vec::new();
    let mut effects: SmallVec<[Effect; 1]> = SmallVec::new();
    for (at, effect) in row.effects.iter().enumerate().filter(|(_, effect)| is_told(needs.index, effect, number)) {
        ordinals.push(row.ordinal(at));
        effects.push(effect.clone());
    }
    if needed.is_empty() && effects.is_empty() {
        return Fate::Dropped;
    }
    if needed.len() == adds && effects.len() == row.effects.len() && !removes(row) {
        return Fate::Kept;
    }
    let parts = row.parts.iter().map(|part| part.remainder(|element| needed.contains(&element))).collect();
    let rest = CommitRow { revision: row.revision, parts, cleared: Vec::new(), effects, ordinals, apart: None }
        .with_plain_ordinals_left_out();
    if rest == *row { Fate::Kept } else { Fate::Reduced(rest) }
}

/// Whether what an operation added in this row is live, or shown by a readable revision. What a repair has brought anew is in a later row as well,
/// and this one's is not needed for it.
fn is_needed(needs: &Needs<'_>, (number, element): (u64, Element), operation: &Operation) -> bool {
    let index = needs.index;
    match operation {
        Operation::SystemPut { key, .. } => needs.system.holds(key, element, number),
        Operation::Put { key, .. } => index.get(key).is_some_and(|entry| {
            let at = Location { commit: number, element };
            let shows = |touch: &Touch| matches!(touch.view, View::Shown(shown) if shown.at == at);
            let is_it = |(live, sibling): (Element, &Sibling<Held>)| live == element && sibling.value.commit == number;
            entry.register.siblings().any(is_it) || entry.touches.iter().any(shows)
        }),
        Operation::LeaseGrant { id, .. } => {
            let lease = LeaseRef { home: element.dot.replica, id: *id };
            let is_it = |(granted, grant): &(Element, Grant)| *granted == element && grant.commit == number;
            index.lease(lease).is_some_and(|entry| entry.grants.iter().any(is_it))
        }
        _ => false,
    }
}

/// Whether the index still knows an effect.
fn is_told(index: &Index, effect: &Effect, number: u64) -> bool {
    let touches = index.get(effect.key()).map(|entry| entry.touches.as_slice()).unwrap_or_default();
    touches.iter().any(|touch| touch.commit == number && touch.view != View::Unchanged)
}

/// The keys that a row touches.
pub(super) fn keys(row: &CommitRow) -> Vec<Bytes> {
    let operations = row.parts.iter().flat_map(|part| &part.record.operations);
    let named = operations.filter_map(|operation| match operation {
        Operation::Put { key, .. } | Operation::Remove { key, .. } => Some(own_key(key)),
        _ => None,
    });
    let cleared = row.cleared.iter().map(|cleared| own_key(&cleared.key));
    // In a remainder, an effect can be all that is left of a key.
    named.chain(cleared).chain(row.effects.iter().map(|effect| own_key(effect.key()))).collect()
}

/// Whether a row did anything but add.
fn removes(row: &CommitRow) -> bool {
    let mut operations = row.parts.iter().flat_map(|part| &part.record.operations);
    !row.cleared.is_empty() || row.apart.is_some() || operations.any(|operation| operation.adds() == 0)
}
