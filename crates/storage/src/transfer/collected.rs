//! A transfer of which everything has come: first as what a provider has sent, then as what it has proven.
//!
//! Whoever drives a [`Receiver`](super::Receiver) knows keys, and this crate does not. So it is handed what is to be judged, and a [`CompleteTransfer`],
//! which alone can be joined, is had in no other way than by judging it.

use std::{collections::HashSet, fmt, sync::atomic::Ordering};

use bytes::Bytes;
use tombolo_crdt::{Element, Operation, SignedHead};

use super::{
    header::Header,
    join::Holder,
    mending::Mended,
    staging::{self, StagedElements, StagedRow},
};
use crate::{ReadError, Store};

/// A transfer of which everything has come, and of which nobody has looked at the signatures.
pub struct CollectedTransfer {
    store: Store,
    transfer: CompleteTransfer,
}

/// A transfer that was proven, to be [joined](crate::Committer::publish_transfer).
#[derive(Clone, Debug)]
pub struct CompleteTransfer {
    pub(crate) header: Header,
    /// Our last commit when the provider was asked.
    pub(crate) since: u64,
    /// Our elements that the provider's vector covers and the provider lacks.
    pub(crate) removed: Vec<(Element, Holder)>,
    /// What is to be mended besides.
    pub(crate) mended: Option<Mended>,
    pub(crate) staged: StagedElements,
    /// The hashes of the keys of which more than one element is staged.
    pub(crate) crowded: HashSet<u64>,
    /// The ordinal after the last staged row.
    pub(crate) end: u64,
}

/// One write of the system's data that a transfer brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtSystem {
    /// Its key.
    pub key: Bytes,
    /// Its name.
    pub element: Element,
    /// Its value.
    pub value: Bytes,
}

impl fmt::Debug for CollectedTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectedTransfer").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

impl CollectedTransfer {
    pub(crate) fn new(store: Store, transfer: CompleteTransfer) -> Self {
        Self { store, transfer }
    }

    /// For each author of whom it brings something, the head at its last record, ascending by author.
    pub fn heads(&self) -> &[SignedHead] {
        &self.transfer.header.heads
    }

    /// What it brings of the system's data below a prefix: who the authors are that are not known here yet may be written there. All that
    /// was staged has to be on disk. Reads all of it.
    ///
    /// # Errors
    ///
    /// The engine cannot read.
    pub fn system(&self, prefix: &[u8]) -> Result<Vec<BroughtSystem>, ReadError> {
        let shared = self.store.shared();
        let snapshot = shared.engine.snapshot();
        let mut brought = Vec::new();
        for row in staging::rows(&*snapshot, shared.staged_from.load(Ordering::Acquire)) {
            let (ordinal, row) = row?;
            let StagedRow::Page(parts) = StagedRow::decode(ordinal, &row) else { continue };
            for part in parts {
                for (index, operation) in part.numbered() {
                    let element = part.dot().element(index);
                    if let Operation::SystemPut { key, value, .. } = operation
                        && key.starts_with(prefix)
                        && self.transfer.staged.places.contains_key(&element)
                    {
                        brought.push(BroughtSystem { key: key.clone(), element, value: value.clone() });
                    }
                }
            }
        }
        Ok(brought)
    }

    /// Has the signatures judged. O(authors) signatures for whoever does.
    ///
    /// # Errors
    ///
    /// What the judge says.
    pub fn prove<E>(self, judge: impl FnOnce(&Self) -> Result<(), E>) -> Result<CompleteTransfer, E> {
        judge(&self)?;
        Ok(self.transfer)
    }
}
