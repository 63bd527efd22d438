//! What a transfer takes besides when it is to mend this store: what is here and at the provider, and is not the same.
//!
//! A provider that has applied all that we have, and perhaps more, can lack what we hold only because it was removed; and what it holds of what we
//! have applied, we must hold as well. So where the two differ its set takes the place of ours. What came here since the comparison stays: an element that a
//! later record has removed does not come back.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use tombolo_crdt::{Element, Operation, VersionVector};

use super::{
    CompleteTransfer, Fingerprint, TransferError, TransferFault,
    compare::Difference,
    fragment,
    header::Header,
    join::Holder,
    list::{Listed, Moment, fingerprint},
};
use crate::{
    KeyRange, ReadError,
    row::{
        Kind,
        commit::{self, CommitRow, Layer, Part},
    },
    store::Shared,
};

/// What a repair would change here, as far as the records go that both have applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MendCounts {
    /// Elements that are here alone and go.
    pub removed: u64,
    /// Elements that are at the provider alone and come.
    pub added: u64,
    /// Elements that hold something else, and are replaced.
    pub replaced: u64,
    /// Whether our digest is not what our own elements add up to, and is corrected.
    pub is_digest_wrong: bool,
}

impl MendCounts {
    /// Whether there is nothing to mend.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// How many elements come.
    pub(super) fn comes(self) -> u64 {
        self.added + self.replaced
    }
}

/// The receiver's side of it.
pub(super) struct Mending {
    /// Our own moment: what was applied, the last commit, all elements, and the keys of those that are the system's data.
    pub(super) vector: VersionVector,
    pub(super) commit: u64,
    own: Vec<Listed>,
    pub(super) system: HashMap<Element, Bytes>,
    drift: u128,
    /// What is to be taken of what we have applied, by place; unknown until the comparison is over.
    pub(super) wanted: Option<Vec<(u64, u64)>>,
    pub(super) counts: MendCounts,
    differing: Vec<Listed>,
    taken: BTreeMap<Element, (u128, Holder)>,
}

/// What is to be done when it is joined.
#[derive(Clone, Debug)]
pub(crate) struct Mended {
    /// What comes although it was applied here before, and where it belongs.
    pub(crate) taken: HashMap<Element, Holder>,
    /// What is to be added to the digest so that it is what the elements add up to.
    pub(crate) drift: u128,
}

impl Mending {
    pub(super) fn of(moment: Moment) -> Self {
        let drift = moment.drift();
        Self {
            vector: moment.vector,
            commit: moment.commit,
            own: moment.elements,
            system: moment.system.into_iter().map(|(element, (key, _))| (element, key)).collect(),
            drift,
            wanted: None,
            counts: MendCounts { is_digest_wrong: drift != 0, ..MendCounts::default() },
            differing: Vec::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Our elements as far as a header speaks of them, which must be all of them.
    pub(super) fn own(&self, header: &Header) -> Result<Vec<Listed>, TransferFault> {
        if header.vector.includes(&self.vector) { Ok(self.own.clone()) } else { Err(TransferFault::Behind) }
    }

    /// Takes what the comparison has found.
    pub(super) fn settle(&mut self, found: &Difference) {
        if self.wanted.is_some() {
            return;
        }
        let places = found.differing.iter().map(|(_, place)| (*place, place + 1));
        let mut wanted: Vec<_> = found.only_there.iter().copied().chain(places).collect();
        wanted.sort_unstable();
        // Neighbours come on one page.
        wanted.dedup_by(|next, last| {
            let adjoins = last.1 == next.0;
            last.1 = if adjoins { next.1 } else { last.1 };
            adjoins
        });
        wanted.reverse();
        let listed = |element| self.own.binary_search_by_key(&element, |listed| listed.element).ok();
        self.differing =
            found.differing.iter().filter_map(|(element, _)| listed(*element)).map(|at| self.own[at]).collect();
        self.counts = MendCounts {
            removed: found.only_here.len() as u64,
            added: found.only_there.iter().map(|(from, to)| to - from).sum(),
            replaced: found.differing.len() as u64,
            ..self.counts
        };
        self.wanted = Some(wanted);
    }

    /// Takes note of what has come of what we have applied.
    pub(super) fn note(&mut self, part: &Part) {
        for ((element, share), (_, operation)) in fragment::elements(part).zip(part.numbered()) {
            self.taken.extend(Holder::of(element, operation).map(|holder| (element, (share, holder))));
        }
    }

    /// What is ours once what goes has gone and what comes has come must be what the provider says it has.
    pub(super) fn prove(&self, header: &Header, only_here: &[Listed]) -> Result<(), TransferFault> {
        let (own, gone) = (fingerprint(&self.own), [fingerprint(only_here), fingerprint(&self.differing)]);
        let come: Fingerprint = self.taken.values().map(|(share, _)| *share).sum();
        let found = Fingerprint {
            count: (own.count + come.count).saturating_sub(gone[0].count + gone[1].count),
            sum: own.sum.wrapping_add(come.sum).wrapping_sub(gone[0].sum).wrapping_sub(gone[1].sum),
        };
        if found == header.within {
            return Ok(());
        }
        Err(TransferFault::Fingerprint { promised: header.within, found })
    }

    /// What is here in another place than where it belongs: it goes from there like what is here alone.
    pub(super) fn differing(&self) -> &[Listed] {
        &self.differing
    }

    pub(super) fn is_elsewhere(&self, element: Element, holder: &Holder) -> bool {
        self.taken.get(&element).is_none_or(|(_, belongs)| belongs != holder)
    }

    pub(super) fn mended(&self) -> Mended {
        let taken = self.taken.iter().map(|(element, (_, holder))| (*element, holder.clone())).collect();
        Mended { taken, drift: self.drift }
    }
}

impl CompleteTransfer {
    /// Whether there is something to be mended.
    pub(super) fn mends(&self) -> bool {
        let mended = self.mended.as_ref();
        mended.is_some_and(|mended| mended.drift != 0 || !mended.taken.is_empty() || !self.removed.is_empty())
    }
}

/// What still comes of what is to be mended: not what a record has removed that was applied here since.
pub(super) fn still_missing(
    shared: &Shared,
    last: u64,
    swept: u64,
    transfer: &CompleteTransfer,
) -> Result<HashSet<Element>, TransferError> {
    let Some(Mended { taken, .. }) = &transfer.mended else { return Ok(HashSet::new()) };
    // What was removed since is told by rows that are whole.
    if swept > transfer.since {
        return Err(TransferError::Overtaken);
    }
    let mut missing: HashSet<Element> = taken.keys().copied().collect();
    let snapshot = shared.engine.snapshot();
    for row in snapshot.scan(&commit::key(transfer.since + 1), &commit::key(last + 1)) {
        let (key, row) = row.map_err(ReadError::from)?;
        let number = Kind::Commit.number(&key).ok_or(ReadError::Rot { commit: transfer.since + 1 })?;
        let row = CommitRow::decode(&row, number)?;
        row.cleared.iter().flat_map(|cleared| &cleared.elements).for_each(|element| _ = missing.remove(element));
        for apart in row.apart.iter() {
            let leases = apart.leases.iter().flat_map(|(_, elements)| elements);
            let system = apart.system.iter().flat_map(|cleared| &cleared.elements);
            leases.chain(system).for_each(|element| _ = missing.remove(element));
        }
        for part in row.parts.iter().filter(|part| part.layer == Layer::Mesh) {
            for operation in &part.record.operations {
                operation.named().iter().for_each(|element| _ = missing.remove(element));
                if let (Operation::RangeRemove(range), Some(context)) = (operation, &part.context) {
                    let range = KeyRange::from(range);
                    let is_in = |holder: &Holder| matches!(holder, Holder::Key(key) if range.contains(key));
                    missing
                        .retain(|element| !context.covers_element(*element) || !taken.get(element).is_some_and(is_in));
                }
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests;
