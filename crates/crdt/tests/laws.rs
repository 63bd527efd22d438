//! The laws of every join, in one table over the types.
//!
//! Each law is tried on every pair or triple of small states, and on random larger ones. `convergence.rs` tries the same
//! types through records and histories.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

mod support {
    pub(crate) mod sample;
}

use std::fmt::Debug;

use proptest::prelude::*;
use support::sample::{Sample, Under, any_state, every_state};
use tombolo_crdt::{DotFun, DotMap, DotSet, Register, VersionVector};

macro_rules! laws {
    ($($name:ident: $type:ty),+ $(,)?) => {$(
        mod $name {
            use super::*;

            #[test]
            fn join_is_commutative() {
                for_pairs::<$type>(commutative);
            }

            #[test]
            fn join_is_associative() {
                for_triples::<$type>(associative);
            }

            #[test]
            fn join_is_idempotent_and_absorbs_what_was_joined_before() {
                for_pairs::<$type>(idempotent);
            }

            #[test]
            fn joined_state_belongs_to_the_joined_context() {
                for_pairs::<$type>(belongs_to_its_context);
            }

            #[test]
            fn what_is_covered_and_absent_stays_absent_and_all_else_is_kept() {
                for_pairs::<$type>(keeps_exactly_what_nobody_removed);
            }
        }
    )+};
}

laws! {
    version_vector: VersionVector,
    dot_set: Under<DotSet>,
    dot_fun: Under<DotFun<u64>>,
    dot_map: Under<DotMap<u64, DotFun<u64>>>,
    dot_map_of_maps: Under<DotMap<u64, DotMap<u64, DotSet>>>,
    register: Under<Register<u64>>,
}

fn joined<T: Sample>(left: &T, right: &T) -> T {
    let mut joined = left.clone();
    joined.join(right);
    joined
}

fn commutative<T: Sample>(a: &T, b: &T) {
    assert_eq!(joined(a, b), joined(b, a), "{a:?} with {b:?}");
}

fn associative<T: Sample>(a: &T, b: &T, c: &T) {
    assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)), "{a:?} with {b:?} with {c:?}");
}

fn idempotent<T: Sample>(a: &T, b: &T) {
    assert_eq!(joined(a, a), *a);
    let both = joined(a, b);
    assert_eq!(joined(&both, a), both);
    assert_eq!(joined(b, &both), both);
}

fn belongs_to_its_context<T: Sample>(a: &T, b: &T) {
    let both = joined(a, b);
    assert!(both.context().includes(a.context()) && both.context().includes(b.context()));
    for entry in both.context().iter() {
        assert_eq!(entry.seq, a.context().seq(entry.replica).max(b.context().seq(entry.replica)));
    }
    assert!(both.live().iter().all(|element| both.context().covers_element(*element)));
}

/// An element lives on when both have it, or when one has it and the other has not seen it.
fn keeps_exactly_what_nobody_removed<T: Sample>(a: &T, b: &T) {
    let both = joined(a, b);
    let (left, right) = (a.live(), b.live());
    let removed = |element| {
        let by = |side: &T, has: bool| side.context().covers_element(element) && !has;
        by(a, left.contains(&element)) || by(b, right.contains(&element))
    };
    let expected = left.union(&right).copied().filter(|element| !removed(*element)).collect();
    assert_eq!(both.live(), expected, "{a:?} with {b:?}");
}

fn for_pairs<T: Sample + Debug>(law: fn(&T, &T)) {
    // Two replicas with two records each, and three replicas with one.
    for seqs in [&[2, 2][..], &[1, 1, 1]] {
        let states = every_state::<T>(seqs);
        states.iter().for_each(|a| states.iter().for_each(|b| law(a, b)));
    }
    proptest!(|(a in any_state::<T>(), b in any_state::<T>())| law(&a, &b));
}

fn for_triples<T: Sample + Debug>(law: fn(&T, &T, &T)) {
    for seqs in [&[2, 1][..], &[1, 1, 1]] {
        let states = every_state::<T>(seqs);
        for a in &states {
            states.iter().for_each(|b| states.iter().for_each(|c| law(a, b, c)));
        }
    }
    proptest!(|(a in any_state::<T>(), b in any_state::<T>(), c in any_state::<T>())| law(&a, &b, &c));
}
