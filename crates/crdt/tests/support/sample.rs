//! States to try laws on: any context, and any part of what it covers as the living elements.
//!
//! Every such pair is a state that some history leads to, so nothing is lost by not generating histories here. What an
//! element carries follows from its name, because an element is written once.

use std::{collections::BTreeSet, fmt::Debug};

use proptest::{collection::vec, prelude::*};
use tombolo_crdt::{Dot, DotFun, DotMap, DotSet, DotStore, Element, Hlc, Register, ReplicaId, VersionVector};

/// A state of a type under test.
pub(crate) trait Sample: Clone + PartialEq + Debug {
    fn sample(context: &VersionVector, live: &[Element]) -> Self;
    fn join(&mut self, other: &Self);
    fn context(&self) -> &VersionVector;
    fn live(&self) -> BTreeSet<Element>;
}

impl Sample for VersionVector {
    fn sample(context: &VersionVector, _live: &[Element]) -> Self {
        context.clone()
    }

    fn join(&mut self, other: &Self) {
        self.join(other);
    }

    fn context(&self) -> &VersionVector {
        self
    }

    fn live(&self) -> BTreeSet<Element> {
        BTreeSet::new()
    }
}

/// A dot store with the context it is read under.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Under<S> {
    store: S,
    context: VersionVector,
}

impl<S: Store> Sample for Under<S> {
    fn sample(context: &VersionVector, live: &[Element]) -> Self {
        let mut store = S::default();
        live.iter().for_each(|element| store.add(*element));
        Self { store, context: context.clone() }
    }

    fn join(&mut self, other: &Self) {
        self.store.join(&self.context, &other.store, &other.context);
        self.context.join(&other.context);
    }

    fn context(&self) -> &VersionVector {
        &self.context
    }

    fn live(&self) -> BTreeSet<Element> {
        let mut live = BTreeSet::new();
        self.store.for_each_element(&mut |element| assert!(live.insert(element), "{element} is there twice"));
        assert_eq!(live.is_empty(), self.store.is_empty());
        live
    }
}

/// A dot store that can be filled by element names.
pub(crate) trait Store: DotStore + PartialEq + Debug {
    fn add(&mut self, element: Element);
}

impl Store for DotSet {
    fn add(&mut self, element: Element) {
        self.insert(element);
    }
}

impl Store for DotFun<u64> {
    fn add(&mut self, element: Element) {
        self.insert(element, payload(element));
    }
}

impl Store for Register<u64> {
    fn add(&mut self, element: Element) {
        // Stamps run against the order of seqs, so that a join that compares them gives itself away.
        self.add(element, Hlc::from_millis(1000 - element.dot.seq), payload(element));
    }
}

impl<S: Store> Store for DotMap<u64, S> {
    fn add(&mut self, element: Element) {
        self.update(payload(element) % 2, |store| store.add(element));
    }
}

fn payload(element: Element) -> u64 {
    element.dot.replica.get() + 10 * element.dot.seq + 100 * u64::from(element.index)
}

/// Every state there is over these numbers of records per replica, one element a record.
pub(crate) fn every_state<T: Sample>(seqs: &[u64]) -> Vec<T> {
    let contexts = every_vector(seqs);
    let states = |context: &VersionVector| {
        let covered = elements_of(context, 1);
        let live_part = |bits: u32| -> Vec<Element> {
            covered.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, element)| *element).collect()
        };
        (0..1_u32 << covered.len()).map(|bits| T::sample(context, &live_part(bits))).collect::<Vec<_>>()
    };
    contexts.iter().flat_map(states).collect()
}

fn every_vector(seqs: &[u64]) -> Vec<VersionVector> {
    seqs.iter().zip(1..).fold(vec![VersionVector::new()], |vectors, (&seq_max, replica)| {
        let raised = |vector: &VersionVector, seq| {
            let mut vector = vector.clone();
            vector.raise(id(replica), seq);
            vector
        };
        vectors.iter().flat_map(|vector| (0..=seq_max).map(|seq| raised(vector, seq)).collect::<Vec<_>>()).collect()
    })
}

/// States of up to four replicas, with several elements a record.
pub(crate) fn any_state<T: Sample>() -> impl Strategy<Value = T> {
    (vec(0_u64..6, 4), any::<u64>()).prop_map(|(seqs, bits)| {
        let context: VersionVector = seqs.iter().zip(1..).map(|(&seq, replica)| Dot::new(id(replica), seq)).collect();
        let covered = elements_of(&context, 2);
        let live: Vec<_> =
            covered.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, element)| *element).collect();
        T::sample(&context, &live)
    })
}

fn elements_of(context: &VersionVector, per_record: u32) -> Vec<Element> {
    let dots = context.iter().flat_map(|head| (1..=head.seq).map(move |seq| Dot::new(head.replica, seq)));
    dots.flat_map(|dot| (0..per_record).map(move |index| dot.element(index))).collect()
}

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}
