//! The digest at a cut a short while ago: of the state in which exactly the records of the cut are applied.
//!
//! It is made from the present digest. The log tells which records lie above the cut: what they added is taken out, and what they removed is
//! put back, unless a record of the cut that came later here removes it too. What a removed element weighed is
//! [remembered](crate::index::Departed) for as many as may have gone lately. Two sites whose frontiers differ at every moment can so
//! compare what both have: the [meet](VersionVector::meet) of two frontiers is a cut. No older cut is asked for, and none is answered.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use bytes::Bytes;
use tombolo_crdt::{Element, Operation, RangeRemove, VersionVector};

use super::{Digest, share_of};
use crate::{
    ReadError, Store,
    engine::Snapshot,
    index::Gone,
    row::{
        base::Gaps,
        commit::{CommitRow, Layer, Part},
    },
    rows::NumberedRows,
};

/// Commits looked at, at most. The state is locked for none of them.
const ROWS_MAX: u64 = 1 << 17;

impl Store {
    /// The digest of the state in which exactly the records of `cut` are applied; of a vector that is no cut it is nothing in particular. `None`
    /// when something of the cut is not applied here, or when it lies below what compaction left or a transfer brought, or too far back:
    /// more than some ten thousand changes. It reads the log from there on.
    ///
    /// # Errors
    ///
    /// A damaged row.
    pub fn digest_at(&self, cut: &VersionVector) -> Result<Option<u128>, ReadError> {
        let Some(present) = Present::of(self, cut) else { return Ok(None) };
        self.shared().noting(present.without_what_is_above(cut))
    }
}

/// Where a store stands, and what led there lately.
struct Present {
    digest: u128,
    /// The stretch of the log in which all records above the cut are.
    first: u64,
    last: u64,
    gaps: Gaps,
    snapshot: Box<dyn Snapshot>,
    gone: Vec<Gone>,
    /// What earlier commits removed may have been forgotten.
    complete_after: u64,
}

impl Present {
    fn of(store: &Store, cut: &VersionVector) -> Option<Self> {
        let state = store.shared().state.read();
        if !state.frontier.includes(cut) || !cut.includes(&state.cuts_from) {
            return None;
        }
        let (first, last) = (state.milestones.covered(cut).max(state.floor.commit) + 1, state.published.commit);
        let departed = &state.index.departed;
        (last.saturating_sub(first) < ROWS_MAX).then(|| Self {
            digest: state.digest,
            first,
            last,
            gaps: state.floor.gaps.clone(),
            // Under the lock: nothing is published between the one and the other.
            snapshot: store.shared().engine.snapshot(),
            gone: departed.between(first - 1, last),
            complete_after: departed.complete_after(),
        })
    }

    fn without_what_is_above(self, cut: &VersionVector) -> Result<Option<u128>, ReadError> {
        let mut past = Past {
            cut,
            gone: self.gone.iter().map(|gone| (gone.element, *gone)).collect(),
            digest: Digest(self.digest),
            restored: BTreeMap::new(),
            restored_apart: HashMap::new(),
        };
        let (mut next, mut is_above) = (self.gaps.past(self.first), false);
        for row in NumberedRows::commits(&*self.snapshot, next, self.last).readable() {
            let (number, row) = row?;
            if number != next {
                return Err(ReadError::Rot { commit: next });
            }
            let row = CommitRow::decode(&row, number)?;
            if !is_above && past.lacks(&row) {
                is_above = true;
                if number <= self.complete_after {
                    return Ok(None);
                }
            }
            // What a transfer brought does not say what its records removed.
            if is_above && (row.is_remainder() || row.is_bare()) {
                return Ok(None);
            }
            if is_above {
                past.row(number, &row);
            }
            next = self.gaps.past(number + 1);
        }
        if next <= self.last {
            return Err(ReadError::Rot { commit: next });
        }
        Ok(Some(past.digest()))
    }
}

/// What the present becomes as records above a cut are taken out of it, in the order in which they came.
struct Past<'a> {
    cut: &'a VersionVector,
    /// Every element that went in the stretch.
    gone: HashMap<Element, Gone>,
    /// What is live now and of the cut, or was added by a record of the cut.
    digest: Digest,
    /// The shares of what is put back, so far, by key.
    restored: BTreeMap<Bytes, Vec<(Element, u128)>>,
    /// The same of leases and of the system's data.
    restored_apart: HashMap<Element, u128>,
}

impl Past<'_> {
    /// Whether a row holds a record above the cut.
    fn lacks(&self, row: &CommitRow) -> bool {
        mesh_part(row).is_some_and(|part| !self.cut.covers(part.dot()))
    }

    fn row(&mut self, number: u64, row: &CommitRow) {
        let Some(part) = mesh_part(row) else { return };
        if self.cut.covers(part.dot()) {
            return self.keep_removed(part);
        }
        for (index, operation) in part.numbered() {
            let element = part.dot().element(index);
            if let Some(share) = share_of(element, operation).filter(|_| !self.gone.contains_key(&element)) {
                self.digest.take_out(share);
            }
            match removed(operation) {
                Removed::OfKey(key, elements) => self.put_back(number, key, elements),
                Removed::Apart(elements) => {
                    let found = elements.iter().filter_map(|element| Some((*element, self.share(number, *element)?)));
                    let found: Vec<_> = found.collect();
                    self.restored_apart.extend(found);
                }
                // Those that went are named in the row.
                Removed::InRange(_) => {}
            }
        }
        row.cleared.iter().for_each(|cleared| self.put_back(number, &cleared.key, &cleared.elements));
    }

    /// What a record of the cut removes stays removed, though one above the cut was first here.
    fn keep_removed(&mut self, part: &Part) {
        for operation in &part.record.operations {
            match removed(operation) {
                Removed::OfKey(key, elements) => {
                    if let Some(restored) = self.restored.get_mut(key) {
                        restored.retain(|(element, _)| !elements.contains(element));
                    }
                }
                Removed::Apart(elements) => {
                    self.restored_apart.retain(|element, _| !elements.contains(element));
                }
                Removed::InRange(RangeRemove { start, end }) => {
                    let end =
                        end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.clone().max(start.clone())));
                    let Some(context) = &part.context else { continue };
                    for (_, restored) in self.restored.range_mut((Bound::Included(start.clone()), end)) {
                        restored.retain(|(element, _)| !context.covers_element(*element));
                    }
                }
            }
        }
    }

    fn put_back(&mut self, number: u64, key: &Bytes, elements: &[Element]) {
        for &element in elements {
            if let Some(share) = self.share(number, element) {
                self.restored.entry(key.clone()).or_default().push((element, share));
            }
        }
    }

    /// The share of an element of the cut, if it was this commit that took it away.
    fn share(&self, number: u64, element: Element) -> Option<u128> {
        let gone = self.gone.get(&element)?;
        (gone.by == number && self.cut.covers_element(element)).then_some(gone.share)
    }

    fn digest(mut self) -> u128 {
        let of_keys = self.restored.values().flatten().map(|(_, share)| *share);
        of_keys.chain(self.restored_apart.values().copied()).for_each(|share| self.digest.restore(share));
        self.digest.bits()
    }
}

/// What an operation says to remove.
enum Removed<'a> {
    OfKey(&'a Bytes, &'a [Element]),
    /// Grants of leases, or the system's data.
    Apart(&'a [Element]),
    InRange(&'a RangeRemove),
}

fn removed(operation: &Operation) -> Removed<'_> {
    match operation {
        Operation::Put { key, supersedes: elements, .. } | Operation::Remove { key, elements } => {
            Removed::OfKey(key, elements)
        }
        Operation::RangeRemove(range) => Removed::InRange(range),
        Operation::LeaseEnd { elements, .. }
        | Operation::SystemPut { supersedes: elements, .. }
        | Operation::SystemRemove { elements, .. } => Removed::Apart(elements),
        Operation::LeaseGrant { .. } | Operation::Unknown { .. } => Removed::Apart(&[]),
    }
}

/// The private layer is in no digest.
fn mesh_part(row: &CommitRow) -> Option<&Part> {
    row.parts.iter().find(|part| part.layer == Layer::Mesh)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Committer, OpenOptions, Put, Request, Store, WallTime, engine::memory::MemoryEngine};

    fn put(committer: &mut Committer, value: u64) {
        let value = Some(value.to_string().into());
        let put = Put { key: "k".into(), value, lease: Some(0), previous: false };
        committer.execute(WallTime(1), Request::Put(put)).unwrap();
        committer.commit().unwrap();
    }

    #[test]
    fn as_far_back_is_told_as_it_is_known_what_went() {
        let options = OpenOptions::new(WallTime(1), std::array::from_fn(|at| at as u8));
        let (store, mut committer) = Store::open_on(Box::new(Arc::new(MemoryEngine::new())), &options).unwrap();
        let mut passed = Vec::new();
        for value in 0..300 {
            put(&mut committer, value);
            passed.push((store.frontier(), store.digest()));
        }
        let told = |(cut, digest): &(_, u128)| store.digest_at(cut).unwrap().map(|found| found == *digest);
        let told: Vec<_> = passed.iter().map(told).collect();
        let known = told.iter().filter(|told| **told == Some(true)).count();
        assert_eq!(known, 257, "the last one lacks nothing, and each before it one more");
        assert!(told[..300 - known].iter().all(Option::is_none));
    }
}
