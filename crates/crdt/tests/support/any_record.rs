//! Any record at all: every operation, every shape that the format allows, meaningful or not.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
};
use tombolo_crdt::{
    Chain, Dot, Element, Hlc, LEASE_TTL_S_MAX, LeaseRef, Operation, RangeRemove, Record, RecordHeader, ReplicaId,
};

pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let dot = (any_replica(), any_seq()).prop_map(|(replica, seq)| Dot::new(replica, seq));
    let small_dot = (any_replica(), 1_u64..4).prop_map(|(replica, seq)| Dot::new(replica, seq));
    prop_oneof![dot, small_dot].prop_flat_map(|dot| {
        let delta = btree_map(any_replica(), any_seq(), 0..5);
        let operations = vec(any_operation(dot), 0..6);
        (any::<u64>(), delta, operations)
            .prop_map(move |(hlc, delta, operations)| Record { header: header(dot, hlc, delta), operations })
    })
}

pub(crate) fn any_chain() -> impl Strategy<Value = Chain> {
    any::<[u8; Chain::LEN]>().prop_map(Chain::from_bytes)
}

fn header(dot: Dot, hlc: u64, mut delta: BTreeMap<ReplicaId, u64>) -> RecordHeader {
    delta.remove(&dot.replica);
    let context_delta = delta.into_iter().map(|(replica, seq)| Dot::new(replica, seq)).collect();
    RecordHeader { dot, hlc: Hlc::from_bits(hlc), context_delta, chain: Chain::BEGINNING }
}

fn any_operation(record: Dot) -> impl Strategy<Value = Operation> {
    let lease = || prop::option::of(any_lease());
    prop_oneof![
        (any_bytes(), any_bytes(), lease(), elements(record, 0))
            .prop_map(|(key, value, lease, supersedes)| Operation::Put { key, value, lease, supersedes }),
        (any_bytes(), elements(record, 1)).prop_map(|(key, elements)| Operation::Remove { key, elements }),
        (any_bytes(), prop::option::of(any_bytes())).prop_map(|(start, end)| {
            // Whatever is not above the start is made so by going on where the start ends.
            let end = end.map(|end| if end > start { end } else { [&start[..], b"\0", &end[..]].concat().into() });
            Operation::RangeRemove(RangeRemove { start, end })
        }),
        (any_lease_id(), any_number().prop_map(|number| number.min(LEASE_TTL_S_MAX)))
            .prop_map(|(id, ttl_s)| Operation::LeaseGrant { id, ttl_s }),
        (any_lease(), elements(record, 1)).prop_map(|(lease, elements)| Operation::LeaseEnd { lease, elements }),
        (any_bytes(), any_bytes(), elements(record, 0)).prop_map(|(key, value, supersedes)| Operation::SystemPut {
            key,
            value,
            supersedes
        }),
        (any_bytes(), elements(record, 1)).prop_map(|(key, elements)| Operation::SystemRemove { key, elements }),
        (prop_oneof![Just(0), 1_u64 << 63..], any_bytes()).prop_map(|(kind, body)| Operation::Unknown { kind, body }),
    ]
}

/// Elements that the record of this name may remove: none of its own and none of its author's future.
fn elements(record: Dot, at_least: usize) -> impl Strategy<Value = Vec<Element>> {
    let element = (any_replica(), any_seq(), any::<u32>(), 0_u32..3).prop_map(move |(replica, seq, index, small)| {
        let index = if index % 2 == 0 { index } else { small };
        let own = replica == record.replica;
        let dot = match record.seq - 1 {
            0 if own => Dot::new(another(replica), seq),
            earlier if own => Dot::new(replica, 1 + seq % earlier),
            _ => Dot::new(replica, seq),
        };
        dot.element(index)
    });
    btree_set(element, at_least..5).prop_map(|set: BTreeSet<Element>| set.into_iter().collect())
}

fn any_replica() -> impl Strategy<Value = ReplicaId> {
    prop_oneof![1_u64..5, 1..=u64::MAX].prop_map(|bits| ReplicaId::new(bits).unwrap())
}

fn another(replica: ReplicaId) -> ReplicaId {
    ReplicaId::new(replica.get() ^ 1).or(ReplicaId::new(2)).unwrap()
}

fn any_lease() -> impl Strategy<Value = LeaseRef> {
    (any_replica(), any_lease_id()).prop_map(|(home, id)| LeaseRef { home, id })
}

fn any_lease_id() -> impl Strategy<Value = i64> {
    any::<i64>().prop_map(|id| if id == 0 { 1 } else { id })
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 120..140)].prop_map(Bytes::from)
}

fn any_seq() -> impl Strategy<Value = u64> {
    any_number().prop_map(|number| number.clamp(1, Dot::SEQ_MAX))
}

/// Numbers of every varint length, and those where a length ends.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        (0_u32..64, 0_u64..3).prop_map(|(bit, add)| ((1_u64 << bit) - 1).saturating_add(add)),
        any::<u64>()
    ]
}
