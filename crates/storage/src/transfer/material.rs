//! What a join is made of: the staged pages, read in order beside it, and what is here that the provider has not.

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
};

use tombolo_crdt::Element;

use super::{
    CompleteTransfer, TransferError,
    join::{Holder, Join},
    staging::{self, StagedRow},
};
use crate::{
    CommitError, ReadError,
    engine::{Change, EngineError},
    row::commit::{CommitRow, Layer, Part},
    rows::NumberedRows,
    store::Shared,
};

/// Bytes of rows written at a time: whoever writes beside waits for one batch.
pub(super) const BATCH_BYTES: usize = 1 << 17;
/// Pages that are read ahead of the join.
const PAGES_AHEAD: usize = 4;
/// Batches that wait to be written.
const BATCHES_AHEAD: usize = 4;

/// Whether a staged element counts that is in the row at hand.
pub(super) type Counts<'a> = dyn Fn(Element) -> bool + 'a;

/// What is here up to commit `last`, covered by the transfer's vector, and not in the transfer: it was removed. Of what we had when we asked, the
/// comparison said so; what has come here since must be among what is staged.
pub(super) fn gone(
    shared: &Shared,
    last: u64,
    transfer: &CompleteTransfer,
) -> Result<Vec<(Element, Holder)>, ReadError> {
    let CompleteTransfer { header, since, removed, staged, .. } = transfer;
    let mut gone = removed.clone();
    let (floor, snapshot) = (shared.state.read().floor.clone(), shared.engine.snapshot());
    // Where compaction has come, rows may have gone. Above it, what stayed for want of its row would be here for ever, and nowhere else.
    let must_be = |next: u64| floor.gaps.past(next.max(floor.commit + 1));
    let mut expected = must_be(since + 1);
    for row in NumberedRows::commits(&*snapshot, since + 1, last).readable() {
        let (number, row) = row?;
        if number > expected {
            return Err(ReadError::Rot { commit: expected });
        }
        expected = must_be(number + 1);
        let row = CommitRow::decode(&row, number)?;
        for part in row.parts.iter().filter(|part| part.layer == Layer::Mesh && header.vector.covers(part.dot())) {
            let elements = part.numbered().map(|(at, operation)| (part.dot().element(at), operation));
            let lacking = elements
                .filter(|(element, _)| !header.asked.covers_element(*element) && !staged.places.contains_key(element));
            gone.extend(lacking.filter_map(|(element, op)| Some((element, Holder::of(element, op)?))));
        }
    }
    if expected <= last { Err(ReadError::Rot { commit: expected }) } else { Ok(gone) }
}

/// Has what is staged added, page by page, and writes the rows that come of it; the last of them are left in `join`. Reading and writing are two
/// thirds of the work, and are done beside it.
pub(super) fn join_staged(
    shared: &Arc<Shared>,
    transfer: &CompleteTransfer,
    join: &mut Join,
    mut add: impl FnMut(&mut Join, Vec<Part>, &Counts<'_>),
) -> Result<(), TransferError> {
    let (reading, writing) = (Arc::clone(shared), Arc::clone(shared));
    let is_plain = transfer.staged.is_plain();
    let mut found = 0;
    thread::scope(|scope| -> Result<(), TransferError> {
        let (pages, staged) = mpsc::sync_channel(PAGES_AHEAD);
        let (rows, made) = mpsc::sync_channel::<Vec<Change>>(BATCHES_AHEAD);
        scope.spawn(move || read_staged(&reading, &pages));
        let writer = scope.spawn(move || made.iter().try_for_each(|rows| writing.write_beside(rows)));
        for page in staged {
            let (ordinal, parts) = page.map_err(ReadError::from)?;
            let counts = |element: Element| {
                is_plain || transfer.staged.places.get(&element).is_some_and(|place| place.row == ordinal)
            };
            let counted = |part: &Part| part.numbered().filter(|(at, _)| counts(part.dot().element(*at))).count();
            found += parts.iter().map(counted).sum::<usize>();
            add(join, parts, &counts);
            // Nobody takes them only when earlier ones failed, which is told at the end.
            if join.row_bytes >= BATCH_BYTES && rows.send(join.take_rows()).is_err() {
                break;
            }
        }
        drop(rows);
        let written = writer.join().unwrap_or_else(|_| Err("the thread that writes has panicked".to_owned()));
        written.map_err(|cause| CommitError::Poisoned { cause }.into())
    })?;
    // A row that was lost since it was staged.
    if found == transfer.staged.places.len() { Ok(()) } else { Err(ReadError::Rot { commit: join.number }.into()) }
}

/// A staged page with its ordinal.
type ReadPage = Result<(u64, Vec<Part>), EngineError>;

/// Reads the staged pages in order.
fn read_staged(shared: &Shared, pages: &mpsc::SyncSender<ReadPage>) {
    let snapshot = shared.engine.snapshot();
    for row in staging::rows(&*snapshot, shared.staged_from.load(Ordering::Acquire)) {
        let page = match row {
            Ok((ordinal, row)) => match StagedRow::decode(ordinal, &row) {
                StagedRow::Page(parts) => Ok((ordinal, parts)),
                StagedRow::Header { .. } | StagedRow::Damaged => continue,
            },
            Err(error) => Err(error),
        };
        // The other side hangs up at the first failure.
        if pages.send(page).is_err() {
            return;
        }
    }
}
