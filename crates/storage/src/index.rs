//! The key index, in memory: for each key its live siblings, and which revisions changed what etcd clients see of it.
//!
//! Values are not here but in the commit rows that [`Location`]s name; the index is rebuilt from those rows at opening. It
//! may be ahead of what is published: readers bound what they look at by the published revision.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Bound,
};

use bytes::Bytes;
use smallvec::SmallVec;
use tombolo_crdt::{Element, LeaseRef, Register, ReplicaId, mutation::Mutation};

use crate::{KeyRange, RequestError, row::commit::Location};

pub(crate) use self::departed::Gone;
use self::{departed::Departed, keys::Keys};

mod beside;
mod departed;
mod keys;

/// Keys, their history, and the leases they are attached to.
#[derive(Default)]
pub(crate) struct Index {
    keys: Keys,
    leases: HashMap<LeaseRef, LeaseEntry>,
    /// Who grants a lease of this number.
    homes: HashMap<i64, SmallVec<[ReplicaId; 1]>>,
    /// The removals of ranges, ascending by commit. They may matter to keys that they did not touch here.
    range_removals: Vec<(u64, KeyRange)>,
    /// What went since what is published.
    pub(crate) departed: Departed,
    /// The keys that were changed, while an index is [made beside](Self::beside) this one.
    touched: Option<HashSet<Bytes>>,
}

/// One key: what it holds, and what of it was visible when.
#[derive(Clone, Default)]
pub(crate) struct KeyEntry {
    /// The concurrent writes of the key.
    pub(crate) register: Register<Held>,
    /// The commits that touched the key, ascending.
    pub(crate) touches: SmallVec<[Touch; 1]>,
}

/// What a live element holds. The value itself is in its commit's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) commit: u64,
    pub(crate) lease: Option<LeaseRef>,
    /// Hash of value and lease, from which the element's share of the state digest is made.
    pub(crate) payload: u64,
}

/// One commit's doing at one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) commit: u64,
    /// The revision, or 0 when etcd clients saw no change: a concurrent write that lost.
    pub(crate) revision: i64,
    pub(crate) view: View,
}

/// What etcd clients see of a key from a touch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Shown(Shown),
    Gone,
    /// As before.
    Unchanged,
}

/// A value on show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) at: Location,
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
}

/// A pair as it stands at some revision, its value still to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    pub(crate) mod_revision: i64,
    pub(crate) shown: Shown,
}

/// A lease: the grants that made it, and the elements attached to it.
#[derive(Default)]
pub(crate) struct LeaseEntry {
    pub(crate) grants: Vec<(Element, Grant)>,
    pub(crate) attached: BTreeSet<(Box<[u8]>, Element)>,
}

/// A grant of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) commit: u64,
    pub(crate) ttl_s: u64,
}

impl KeyEntry {
    /// What is visible at `revision`: the last touch not above it that changed the view. O(touches above it).
    pub(crate) fn visible(&self, revision: i64) -> Option<Visible> {
        visible(&self.touches, revision)
    }

    /// What etcd clients are to see of the key once its register is as it is now, a change of it taking revision `next`.
    pub(crate) fn next_view(&self, next: i64) -> View {
        next_view(&self.register, &self.touches, next)
    }

    fn is_forgotten(&self) -> bool {
        self.register.is_empty() && self.touches.is_empty()
    }
}

/// What is visible at `revision` after these touches of a key.
pub(crate) fn visible(touches: &[Touch], revision: i64) -> Option<Visible> {
    let touch = touches.iter().rev().find(|touch| touch.revision != 0 && touch.revision <= revision)?;
    match touch.view {
        View::Shown(shown) => Some(Visible { mod_revision: touch.revision, shown }),
        View::Gone | View::Unchanged => None,
    }
}

/// What etcd clients are to see of a key that holds this, after these touches, a change of it taking revision `next`.
pub(crate) fn next_view(register: &Register<Held>, touches: &[Touch], next: i64) -> View {
    let shown = visible(touches, i64::MAX).map(|visible| visible.shown);
    let winner = if Mutation::LastArrivalWins.is_on() {
        register.siblings().max_by_key(|(_, sibling)| sibling.value.commit)
    } else {
        register.winner()
    };
    match (winner, shown) {
        (None, None) => View::Unchanged,
        (None, Some(_)) => View::Gone,
        // The same element in another row is what a repair has brought in its place.
        (Some((element, sibling)), Some(shown)) if shown.at == (Location { commit: sibling.value.commit, element }) => {
            View::Unchanged
        }
        (Some((element, sibling)), shown) => View::Shown(Shown {
            at: Location { commit: sibling.value.commit, element },
            create_revision: shown.map_or(next, |shown| shown.create_revision),
            version: shown.map_or(1, |shown| shown.version + 1),
        }),
    }
}

impl Index {
    /// An empty index. Its keys are hashed under a seed drawn from `entropy`, which does not give the rest of it away.
    pub(crate) fn new(entropy: &[u8; 32]) -> Self {
        let drawn = blake3::derive_key("tombolo index seed", entropy);
        let seed = drawn.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        Self { keys: Keys::seeded(seed), ..Self::default() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.keys.get(key)
    }

    /// The entry of a key, which is made when it is not there.
    pub(crate) fn entry(&mut self, key: &[u8]) -> &mut KeyEntry {
        self.note_touch(key);
        self.keys.entry(key)
    }

    /// The same, and where to note what goes from it.
    pub(crate) fn entry_and_departed(&mut self, key: &[u8]) -> (&mut KeyEntry, &mut Departed) {
        self.note_touch(key);
        (self.keys.entry(key), &mut self.departed)
    }

    /// The same of a key that is there.
    pub(crate) fn entry_and_departed_if_present(&mut self, key: &[u8]) -> Option<(&mut KeyEntry, &mut Departed)> {
        self.note_touch(key);
        Some((self.keys.get_mut(key)?, &mut self.departed))
    }

    pub(crate) fn entry_if_present(&mut self, key: &[u8]) -> Option<&mut KeyEntry> {
        self.note_touch(key);
        self.keys.get_mut(key)
    }

    /// The keys of a range, ascending, whatever is visible of them.
    pub(crate) fn range<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = (&'a [u8], &'a KeyEntry)> + use<'a> {
        (!range.is_empty()).then(|| self.keys.range(range.bounds())).into_iter().flatten()
    }

    /// The pairs of a range visible at `revision`, ascending by key.
    pub(crate) fn visible<'a>(
        &'a self,
        range: &KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = (&'a [u8], Visible)> + use<'a> {
        let single = range.as_single().map(|key| self.keys.get_key_value(key));
        let many = (single.is_none() && !range.is_empty()).then(|| self.keys.range(range.bounds()));
        let entries = single.into_iter().flatten().chain(many.into_iter().flatten());
        entries.filter_map(move |(key, entry)| Some((key, entry.visible(revision)?)))
    }

    /// Drops a key of which nothing is left.
    pub(crate) fn forget_if_empty(&mut self, key: &[u8]) {
        if self.keys.get(key).is_some_and(|entry| entry.is_forgotten()) {
            self.keys.remove(key);
        }
    }

    pub(crate) fn note_range_removal(&mut self, commit: u64, range: KeyRange) {
        self.range_removals.push((commit, range));
    }

    /// The commits that removed a range with this key in it.
    pub(crate) fn range_removals(&self, key: &[u8]) -> impl Iterator<Item = u64> {
        self.range_removals.iter().filter(move |(_, range)| range.contains(key)).map(|(commit, _)| *commit)
    }

    /// Drops the removals of ranges whose rows have gone.
    pub(crate) fn forget_range_removals(&mut self, last: u64) {
        self.range_removals.retain(|(commit, _)| *commit > last);
    }

    pub(crate) fn lease(&self, lease: LeaseRef) -> Option<&LeaseEntry> {
        self.leases.get(&lease)
    }

    /// The replicas that grant a lease of this number.
    pub(crate) fn lease_homes(&self, id: i64) -> &[ReplicaId] {
        self.homes.get(&id).map_or(&[], SmallVec::as_slice)
    }

    /// The lease that clients of a replica mean by a number: the one whose home is that replica, or that of the only one which grants it.
    pub(crate) fn lease_named(&self, id: i64, is_home: impl Fn(ReplicaId) -> bool) -> Result<LeaseRef, RequestError> {
        match *self.lease_homes(id) {
            [] => Err(RequestError::LeaseNotFound { id }),
            [home] => Ok(LeaseRef { home, id }),
            ref homes => {
                let own = homes.iter().find(|home| is_home(**home));
                own.map(|&home| LeaseRef { home, id }).ok_or(RequestError::LeaseAmbiguous { id })
            }
        }
    }

    pub(crate) fn grant(&mut self, lease: LeaseRef, element: Element, grant: Grant) {
        let grants = &mut self.leases.entry(lease).or_default().grants;
        if grants.is_empty() {
            self.homes.entry(lease.id).or_default().push(lease.home);
        }
        grants.push((element, grant));
    }

    /// Removes grants of a lease, and returns those that were there.
    pub(crate) fn end(&mut self, lease: LeaseRef, elements: &[Element]) -> Vec<(Element, Grant)> {
        let Some(entry) = self.leases.get_mut(&lease) else { return Vec::new() };
        let grants = std::mem::take(&mut entry.grants);
        let (ended, left): (Vec<_>, Vec<_>) = grants.into_iter().partition(|(element, _)| elements.contains(element));
        entry.grants = left;
        if entry.grants.is_empty()
            && let Some(homes) = self.homes.get_mut(&lease.id)
        {
            homes.retain(|home| *home != lease.home);
            if homes.is_empty() {
                self.homes.remove(&lease.id);
            }
        }
        self.forget_lease_if_empty(lease);
        ended
    }

    /// Drops a lease that nobody granted and nothing is attached to.
    fn forget_lease_if_empty(&mut self, lease: LeaseRef) {
        if self.leases.get(&lease).is_some_and(|entry| entry.grants.is_empty() && entry.attached.is_empty()) {
            self.leases.remove(&lease);
        }
    }

    /// The grants there are, of whatever commit.
    pub(crate) fn grants(&self) -> impl Iterator<Item = (LeaseRef, &[(Element, Grant)])> {
        self.leases.iter().map(|(lease, entry)| (*lease, entry.grants.as_slice()))
    }

    /// The keys above `after`, ascending, whatever is visible of them.
    pub(crate) fn after<'a>(
        &'a self,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a [u8], &'a KeyEntry)> + use<'a> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range((start, Bound::Unbounded))
    }

    /// The leases that exist, with their time to live.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (LeaseRef, u64)> {
        let granted = |(lease, entry): (&LeaseRef, &LeaseEntry)| Some((*lease, entry.grants.last()?.1.ttl_s));
        self.leases.iter().filter_map(granted)
    }

    /// The leases that do not exist, or not yet, and have elements attached.
    pub(crate) fn ended_leases(&self) -> impl Iterator<Item = LeaseRef> {
        self.leases.iter().filter(|(_, entry)| entry.grants.is_empty()).map(|(lease, _)| *lease)
    }

    /// The keys attached to a lease, ascending.
    pub(crate) fn keys_of(&self, lease: LeaseRef) -> Vec<Bytes> {
        let mut keys: Vec<Bytes> = Vec::new();
        for (key, _) in self.lease(lease).map(|entry| &entry.attached).into_iter().flatten() {
            if keys.last().is_none_or(|last| last.as_ref() != key.as_ref()) {
                keys.push(own_key(key));
            }
        }
        keys
    }

    /// Keys known, visible or not.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Removes the attachment of an element to its lease.
    pub(crate) fn detach(&mut self, lease: LeaseRef, key: &[u8], element: Element) {
        if let Some(entry) = self.leases.get_mut(&lease) {
            entry.attached.remove(&(key.into(), element));
            self.forget_lease_if_empty(lease);
        }
    }

    /// Attaches an element to a lease. Returns whether the lease exists.
    pub(crate) fn attach(&mut self, lease: LeaseRef, key: &[u8], element: Element) -> bool {
        let entry = self.leases.entry(lease).or_default();
        entry.attached.insert((key.into(), element));
        !entry.grants.is_empty()
    }
}

/// A copy of a key that does not keep the request's buffer alive.
pub(crate) fn own_key(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key)
}
