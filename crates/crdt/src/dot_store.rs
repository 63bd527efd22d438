//! The dot-store algebra (Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018), under store-wide contexts.
//!
//! A dot store is a set of elements with something attached. It is always read together with a context, the version vector
//! of everything its replica has seen: an element that the context covers and the store lacks was removed. That one rule is
//! the join, and the reason why removals need no tombstones:
//!
//! > keep what both have, and what one has that the other has not seen.
//!
//! One context for the whole store in the place of one per key is DottedDB's idea (Gonçalves et al., *DottedDB:
//! Anti-Entropy without Merkle Trees, Deletes without Tombstones*, 2017).

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::{Element, VersionVector};

/// State under a causal context.
///
/// For stores `a`, `b`, `c` under contexts that cover their elements, [`join`](DotStore::join) is commutative, associative
/// and idempotent, and the joined store belongs to the join of the contexts.
pub trait DotStore: Default + Clone {
    /// Joins `other`, seen under `theirs`, into this store, seen under `ours`. The caller joins the contexts afterwards.
    ///
    /// Linear in the elements and keys of both stores, but for a logarithm.
    fn join(&mut self, ours: &VersionVector, other: &Self, theirs: &VersionVector);

    /// Whether nothing is left: what is empty need not be stored.
    fn is_empty(&self) -> bool;

    /// Calls `visit` with every element.
    fn for_each_element(&self, visit: &mut dyn FnMut(Element));
}

/// A set of elements with nothing attached: a flag, a presence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotSet {
    inner: DotFun<()>,
}

impl DotSet {
    /// Adds an element.
    pub fn insert(&mut self, element: Element) {
        self.inner.insert(element, ());
    }

    /// Removes an element, if it is there.
    pub fn remove(&mut self, element: Element) -> bool {
        self.inner.remove(element).is_some()
    }

    /// Whether the element is there.
    pub fn contains(&self, element: Element) -> bool {
        self.inner.get(element).is_some()
    }
}

impl DotStore for DotSet {
    fn join(&mut self, ours: &VersionVector, other: &Self, theirs: &VersionVector) {
        self.inner.join(ours, &other.inner, theirs);
    }

    fn is_empty(&self) -> bool {
        DotStore::is_empty(&self.inner)
    }

    fn for_each_element(&self, visit: &mut dyn FnMut(Element)) {
        self.inner.for_each_element(visit);
    }
}

/// Elements up to which each is removed for itself.
const FEW: usize = 4;

/// Elements with a value each. An element is written once, so that equal elements carry equal values.
///
/// Kept as a sorted list: nearly every store of this kind holds exactly one element. Finding one is O(log elements),
/// adding and removing one O(elements).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotFun<V> {
    entries: SmallVec<[(Element, V); 1]>,
}

impl<V> DotFun<V> {
    /// Adds an element; one that is there already stays as it is.
    pub fn insert(&mut self, element: Element, value: V) {
        if let Err(at) = self.position(element) {
            self.entries.insert(at, (element, value));
        }
    }

    /// Removes an element and returns its value.
    pub fn remove(&mut self, element: Element) -> Option<V> {
        self.position(element).ok().map(|at| self.entries.remove(at).1)
    }

    /// Removes elements, given ascending, and returns those that were there with their values. O(elements), here and given, but for a logarithm; O(1) when none is given.
    pub fn remove_all(&mut self, ascending: &[Element]) -> SmallVec<[(Element, V); 1]> {
        if ascending.len() <= FEW {
            let found = ascending.iter().filter_map(|element| Some((*element, self.remove(*element)?)));
            return found.collect();
        }
        let entries = std::mem::take(&mut self.entries);
        let (gone, left) = entries.into_iter().partition(|(element, _)| ascending.binary_search(element).is_ok());
        self.entries = left;
        gone
    }

    /// The element's value.
    pub fn get(&self, element: Element) -> Option<&V> {
        self.position(element).ok().map(|at| &self.entries[at].1)
    }

    /// The elements and their values, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Element, &V)> {
        self.entries.iter().map(|(element, value)| (*element, value))
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, element: Element) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&element, |(element, _)| *element)
    }
}

impl<V> Default for DotFun<V> {
    fn default() -> Self {
        Self { entries: SmallVec::new() }
    }
}

impl<V: Clone> DotStore for DotFun<V> {
    fn join(&mut self, ours: &VersionVector, other: &Self, theirs: &VersionVector) {
        self.entries.retain(|(element, _)| other.get(*element).is_some() || !theirs.covers_element(*element));
        for (element, value) in other.iter() {
            if !ours.covers_element(element) {
                self.insert(element, value.clone());
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn for_each_element(&self, visit: &mut dyn FnMut(Element)) {
        self.entries.iter().for_each(|(element, _)| visit(*element));
    }
}

/// Dot stores by key. A key whose store is empty is not there. Finding a key is O(log keys).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotMap<K: Ord, S> {
    entries: BTreeMap<K, S>,
}

impl<K: Ord + Clone, S: DotStore> DotMap<K, S> {
    /// The store of a key.
    pub fn get(&self, key: &K) -> Option<&S> {
        self.entries.get(key)
    }

    /// Changes the store of a key; it appears with its first element and disappears with its last.
    pub fn update<R>(&mut self, key: K, change: impl FnOnce(&mut S) -> R) -> R {
        let mut store = self.entries.remove(&key).unwrap_or_default();
        let result = change(&mut store);
        if !store.is_empty() {
            self.entries.insert(key, store);
        }
        result
    }

    /// The keys and their stores, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.entries.iter()
    }
}

impl<K: Ord, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, S: DotStore> DotStore for DotMap<K, S> {
    fn join(&mut self, ours: &VersionVector, other: &Self, theirs: &VersionVector) {
        let nothing = S::default();
        let absent: Vec<K> = other.entries.keys().filter(|key| !self.entries.contains_key(key)).cloned().collect();
        for (key, store) in &mut self.entries {
            store.join(ours, other.entries.get(key).unwrap_or(&nothing), theirs);
        }
        for key in absent {
            let mut store = S::default();
            store.join(ours, &other.entries[&key], theirs);
            self.entries.insert(key, store);
        }
        self.entries.retain(|_, store| !store.is_empty());
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn for_each_element(&self, visit: &mut dyn FnMut(Element)) {
        self.entries.values().for_each(|store| store.for_each_element(visit));
    }
}
