//! Who wins among concurrent writes, and that clocks have no say among others.

#![expect(clippy::unwrap_used, reason = "what the helpers unwrap fails the test that called them")]

use std::collections::BTreeMap;

use proptest::{collection::btree_map, prelude::*};
use tombolo_crdt::{Clock, Dot, DotStore, Element, Hlc, Register, ReplicaId, Stamp, VersionVector};

proptest! {
    #[test]
    fn the_winner_has_the_greatest_stamp_whatever_came_first(
        writes in any_writes(),
        order: u64,
    ) {
        let register = written(writes.iter());
        let expected = writes.iter().map(|(element, hlc)| Stamp { hlc: *hlc, element: *element }).max();
        prop_assert_eq!(stamp_of_winner(&register), expected);

        let mut shuffled: Vec<_> = writes.iter().collect();
        shuffled.sort_by_key(|(element, _)| (element.dot.seq ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        prop_assert_eq!(written(shuffled), register);
    }

    #[test]
    fn stamps_are_totally_ordered(a in any_stamp(), b in any_stamp(), c in any_stamp()) {
        prop_assert_eq!(a < b, b > a);
        prop_assert_eq!([a < b, a == b, a > b].iter().filter(|holds| **holds).count(), 1);
        prop_assert!(!(a <= b && b <= c) || a <= c);
        prop_assert!(a.hlc == b.hlc || (a < b) == (a.hlc < b.hlc));
        let key = |stamp: Stamp| (stamp.hlc, stamp.element.dot.replica, stamp.element.dot.seq, stamp.element.index);
        prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
    }

    /// A put that has seen a sibling replaces it: by its operation, and by the join of its state on either side.
    #[test]
    fn a_superseded_write_never_wins_whatever_its_stamp(
        writes in any_writes(),
        seen in any::<u64>(),
        hlc in any_hlc(),
    ) {
        let before = written(writes.iter());
        let context: VersionVector = writes.keys().map(|element| element.dot).collect();
        let superseded: Vec<Element> =
            writes.keys().enumerate().filter(|(at, _)| seen >> (at % 64) & 1 == 1).map(|(_, element)| *element).collect();
        let put = Dot::new(id(9), 1).element(0);

        let mut after = before.clone();
        superseded.iter().for_each(|element| _ = after.remove(*element));
        after.add(put, hlc, 0);
        let mut seen = context.clone();
        seen.raise(id(9), 1);

        let mut late = before.clone();
        late.join(&context, &after, &seen);
        let mut early = after.clone();
        early.join(&seen, &before, &context);
        for register in [after, late, early] {
            let (winner, _) = register.winner().unwrap();
            prop_assert!(!superseded.contains(&winner));
            prop_assert!(register.siblings().all(|(element, _)| !superseded.contains(&element)));
            prop_assert_eq!(register.siblings().len(), writes.len() - superseded.len() + 1);
        }
    }

    #[test]
    fn a_stamp_is_above_all_that_it_supersedes(last in 0_u64..u64::MAX, floor in 0_u64..u64::MAX, wall_ms: u64) {
        let (last, floor) = (Hlc::from_bits(last), Hlc::from_bits(floor));
        let stamp = Clock::resume(last).tick(wall_ms, floor);
        prop_assert!(stamp > last && stamp > floor);
    }
}

#[test]
fn a_register_of_the_far_future_yields_to_one_who_has_seen_it() {
    let mut register = Register::default();
    register.add(Dot::new(id(1), 1).element(0), Hlc::from_bits(u64::MAX), "future");
    let put = Dot::new(id(2), 1).element(0);
    register.remove(Dot::new(id(1), 1).element(0));
    register.add(put, Hlc::default(), "now");
    assert_eq!(register.winner().map(|(element, sibling)| (element, sibling.value)), Some((put, "now")));
}

#[test]
fn a_register_without_writes_has_no_winner() {
    assert_eq!(Register::<u8>::default().winner(), None);
}

fn written<'a>(writes: impl IntoIterator<Item = (&'a Element, &'a Hlc)>) -> Register<u64> {
    let mut register = Register::default();
    writes.into_iter().for_each(|(element, hlc)| register.add(*element, *hlc, element.dot.seq));
    register
}

fn stamp_of_winner(register: &Register<u64>) -> Option<Stamp> {
    register.winner().map(|(element, sibling)| Stamp { hlc: sibling.hlc, element })
}

fn any_writes() -> impl Strategy<Value = BTreeMap<Element, Hlc>> {
    btree_map(any_element(), any_hlc(), 1..12)
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    (any_hlc(), any_element()).prop_map(|(hlc, element)| Stamp { hlc, element })
}

fn any_element() -> impl Strategy<Value = Element> {
    (1_u64..4, 1_u64..4, 0_u32..3).prop_map(|(replica, seq, index)| Dot::new(id(replica), seq).element(index))
}

/// Few stamps, so that ties are common, and the ends of time.
fn any_hlc() -> impl Strategy<Value = Hlc> {
    prop_oneof![0_u64..4, Just(u64::MAX), any::<u64>()].prop_map(Hlc::from_bits)
}

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}
