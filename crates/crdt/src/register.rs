//! The multi-value register (Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data Types*,
//! 2011): the value type behind every key of the etcd API.
//!
//! Its siblings are exactly the concurrent writes. The register itself never chooses: [`Register::winner`] is the one etcd
//! clients are shown, the others stay visible to who asks for them.

use crate::{DotFun, DotStore, Element, Hlc, VersionVector};

/// The order among concurrent writes: stamp, then replica, seq, index. Total, and the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The stamp of the record.
    pub hlc: Hlc,
    /// The element, which breaks ties of equal stamps.
    pub element: Element,
}

/// One of the concurrent writes of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sibling<V> {
    /// The stamp of the record that wrote it.
    pub hlc: Hlc,
    /// What was written.
    pub value: V,
}

/// A multi-value register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register<V> {
    siblings: DotFun<Sibling<V>>,
}

impl<V> Register<V> {
    /// Adds a write.
    pub fn add(&mut self, element: Element, hlc: Hlc, value: V) {
        self.siblings.insert(element, Sibling { hlc, value });
    }

    /// Removes a write by name and returns it. A name that is not there was removed before.
    pub fn remove(&mut self, element: Element) -> Option<Sibling<V>> {
        self.siblings.remove(element)
    }

    /// Removes writes by name, given ascending, and returns those that were there. O(siblings), and those given, but for a logarithm.
    pub fn remove_all(&mut self, ascending: &[Element]) -> impl IntoIterator<Item = (Element, Sibling<V>)> + use<V> {
        self.siblings.remove_all(ascending)
    }

    /// Whether a write is among the siblings. O(log siblings).
    pub fn holds(&self, element: Element) -> bool {
        self.siblings.get(element).is_some()
    }

    /// The write that etcd clients see: the one with the greatest [`Stamp`]. O(siblings).
    pub fn winner(&self) -> Option<(Element, &Sibling<V>)> {
        self.siblings.iter().max_by_key(|(element, sibling)| Stamp { hlc: sibling.hlc, element: *element })
    }

    /// All concurrent writes, ascending by element.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = (Element, &Sibling<V>)> {
        self.siblings.iter()
    }

    /// Whether nothing was written, or everything was removed.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty()
    }
}

impl<V> Default for Register<V> {
    fn default() -> Self {
        Self { siblings: DotFun::default() }
    }
}

impl<V: Clone> DotStore for Register<V> {
    fn join(&mut self, ours: &VersionVector, other: &Self, theirs: &VersionVector) {
        self.siblings.join(ours, &other.siblings, theirs);
    }

    fn is_empty(&self) -> bool {
        self.siblings.is_empty()
    }

    fn for_each_element(&self, visit: &mut dyn FnMut(Element)) {
        self.siblings.for_each_element(visit);
    }
}
