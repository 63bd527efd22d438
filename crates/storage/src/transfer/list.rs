//! The live elements of a published moment, sorted: what a transfer is cut from, and what fingerprints are made of.
//!
//! The index is walked in stretches, so that writers wait for milliseconds only, and it moves on meanwhile. What was added since
//! the moment says so itself; what went since is [kept](crate::index::Gone) until the list is made.

use std::collections::HashMap;

use bytes::Bytes;
use tombolo_crdt::{Element, SignedHead, VersionVector, mutation::Mutation};

use super::{ElementRange, Fingerprint};
use crate::{
    ReadError, Store, SystemSibling,
    digest::{self, share},
    engine::Snapshot,
    index::own_key,
    log::Stream,
    store::State,
};

/// Keys looked at while the state is locked.
const STRETCH_KEYS: usize = 4096;

/// An element, where its row is, and its share of the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) element: Element,
    /// 0 for an element of the system's data, whose value is in memory.
    pub(crate) commit: u64,
    pub(crate) share: u128,
}

/// One published moment of a store.
pub(crate) struct Moment {
    pub(crate) commit: u64,
    pub(crate) vector: VersionVector,
    pub(crate) streams: Vec<(tombolo_crdt::ReplicaId, Stream)>,
    /// What peers have signed of it, ascending by author.
    pub(crate) heads: Vec<SignedHead>,
    pub(crate) digest: u128,
    pub(crate) row_bytes: u64,
    pub(crate) snapshot: Box<dyn Snapshot>,
    pub(crate) system: HashMap<Element, (Bytes, SystemSibling)>,
    /// All live elements of the mesh layer, ascending.
    pub(crate) elements: Vec<Listed>,
}

impl Moment {
    /// The moment that is published now. It takes about half a microsecond for each key, and locks the state for
    /// stretches of it.
    ///
    /// # Errors
    ///
    /// The elements do not add up to the digest: the index is not what the rows say.
    pub(crate) fn of(store: &Store) -> Result<Self, ReadError> {
        let moment = Self::unproven(store);
        if moment.drift() == 0 { Ok(moment) } else { Err(ReadError::Rot { commit: moment.commit }) }
    }

    /// What is to be added to the digest so that it is what the elements add up to.
    pub(crate) fn drift(&self) -> u128 {
        fingerprint(&self.elements).sum.wrapping_sub(self.digest)
    }

    /// The same, whatever the digest.
    pub(crate) fn unproven(store: &Store) -> Self {
        let mut moment = {
            let state = &mut *store.shared().state.write();
            state.index.departed.begin(state.published.commit);
            // Under the lock: nothing is published between the one and the other.
            Self::begin(state, store.shared().engine.snapshot())
        };
        let mut last: Option<Bytes> = None;
        loop {
            let state = store.shared().state.read();
            let before = last.take();
            let mut seen = 0;
            for (key, entry) in state.index.after(before.as_deref()).take(STRETCH_KEYS) {
                seen += 1;
                for (element, sibling) in entry.register.siblings() {
                    moment.list(element, sibling.value.commit, || share(element, key, sibling.value.payload));
                }
                if seen == STRETCH_KEYS {
                    last = Some(own_key(key));
                }
            }
            if last.is_none() {
                break;
            }
        }
        let gone = store.shared().state.write().index.departed.end(moment.commit);
        moment.elements.extend(gone.iter().map(|gone| Listed {
            element: gone.element,
            commit: gone.added,
            share: gone.share,
        }));
        moment.elements.sort_unstable_by_key(|listed| listed.element);
        // What went while we walked may have been met before.
        moment.elements.dedup_by_key(|listed| listed.element);
        if Mutation::VectorAheadOfState.is_on() {
            moment.elements.retain(|listed| listed.commit < moment.commit);
            moment.digest = fingerprint(&moment.elements).sum;
        }
        moment
    }

    fn begin(state: &State, snapshot: Box<dyn Snapshot>) -> Self {
        let mut moment = Self {
            commit: state.published.commit,
            vector: state.frontier.clone(),
            streams: state.streams.iter().map(|(author, stream)| (*author, stream.clone())).collect(),
            heads: state.heads.values().map(|(_, head)| *head).collect(),
            digest: state.digest,
            row_bytes: state.row_bytes,
            snapshot,
            system: HashMap::new(),
            elements: Vec::new(),
        };
        for (lease, grants) in state.index.grants() {
            for (element, grant) in grants {
                let share = || share(*element, &lease.id.to_be_bytes(), digest::grant_payload(grant.ttl_s));
                moment.list(*element, grant.commit, share);
            }
        }
        for (key, siblings) in &state.system {
            for sibling in siblings.iter() {
                let share = share(sibling.element, key, digest::system_payload(&sibling.value));
                moment.elements.push(Listed { element: sibling.element, commit: 0, share });
                moment.system.insert(sibling.element, (key.clone(), sibling.clone()));
            }
        }
        moment
    }

    fn list(&mut self, element: Element, commit: u64, share: impl FnOnce() -> u128) {
        // The private layer's elements are in no vector that is told.
        if commit <= self.commit && self.vector.covers_element(element) {
            self.elements.push(Listed { element, commit, share: share() });
        }
    }
}

/// The elements of a range, in a sorted list, and the place of the first.
pub(crate) fn within<'a>(list: &'a [Listed], range: &ElementRange) -> (usize, &'a [Listed]) {
    let place = |bound: Option<Element>, or: usize| {
        bound.map_or(or, |bound| list.partition_point(|listed| listed.element < bound))
    };
    let from = place(range.from, 0);
    let to = place(range.to, list.len()).max(from);
    (from, &list[from..to])
}

/// The fingerprint of some elements.
pub(crate) fn fingerprint(list: &[Listed]) -> Fingerprint {
    list.iter().map(|listed| listed.share).sum()
}
