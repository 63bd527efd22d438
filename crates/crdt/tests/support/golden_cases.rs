//! The records that the golden files hold, built from their parts.

use bytes::Bytes;
use tombolo_crdt::{
    Chain, Dot, Element, Hlc, LEASE_TTL_S_MAX, LeaseRef, Operation, RangeRemove, Record, RecordHeader, ReplicaId,
    VersionVector,
};

/// A record and the chain it follows.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) previous: Chain,
    pub(crate) record: Record,
}

const HERE: u64 = 0xa1;
const THERE: u64 = 0xb2b2_b2b2_b2b2_b2b2;
/// The first millisecond of the year 2026, counter 2.
const HLC: u64 = (1_767_225_600_000 << 16) | 2;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        first("empty", &[], vec![]),
        first("put_minimal", &[], vec![put("k", "", None, vec![])]),
        later("put_own_lease", vec![put("lamp", "on", Some(lease(HERE, 77)), vec![element(HERE, 2, 0)])]),
        later("put_foreign_lease", vec![put("lamp", "on", Some(lease(THERE, -1)), vec![])]),
        later("put_supersedes", vec![put("lamp", "\0\u{ff}", None, elements())]),
        later("remove", vec![Operation::Remove { key: "lamp".into(), elements: elements() }]),
        later("range_remove", vec![range("a", Some("b")), range("", Some("\0")), range("", None), range("z", None)]),
        later("lease_grant", vec![grant(1, 1), grant(i64::MAX, 60), grant(i64::MIN, LEASE_TTL_S_MAX)]),
        later("lease_end", vec![end(lease(HERE, 77), vec![element(HERE, 1, 3)]), end(lease(THERE, 5), elements())]),
        later("system_put", vec![system_put("member/a", "1", vec![]), system_put("", "", elements())]),
        later("system_remove", vec![Operation::SystemRemove { key: "member/a".into(), elements: elements() }]),
        later("system_and_more", system_and_more()),
        later("unknown", vec![unknown(0, b""), unknown(1 << 63, b"\x01\x02"), unknown(u64::MAX, &[7; 130])]),
        later("every_operation", every_operation()),
        large_numbers(),
        full_context_delta(),
    ];
    cases.extend(chain_of_three());
    cases
}

fn every_operation() -> Vec<Operation> {
    vec![
        grant(9, 300),
        put("a", "1", Some(lease(HERE, 9)), vec![element(HERE, 2, 0)]),
        Operation::Remove { key: "b".into(), elements: vec![element(THERE, 300, 1)] },
        range("c", Some("d")),
        end(lease(HERE, 77), vec![element(HERE, 1, 3)]),
        put("e", "2", None, vec![]),
        unknown(1 << 63, b"?"),
    ]
}

/// Elements are numbered over both keyspaces.
fn system_and_more() -> Vec<Operation> {
    vec![
        grant(9, 300),
        system_put("a", "1", vec![element(HERE, 2, 0)]),
        put("a", "1", None, vec![]),
        Operation::SystemRemove { key: "b".into(), elements: vec![element(THERE, 300, 1)] },
        system_put("c", "2", vec![]),
    ]
}

fn large_numbers() -> Case {
    let dot = Dot::new(id(u64::MAX), Dot::SEQ_MAX);
    let last = Dot::new(id(u64::MAX), Dot::SEQ_MAX - 1).element(u32::MAX);
    let named = [127, 128, 16_383, 16_384, 1 << 32, Dot::SEQ_MAX].map(|seq| Dot::new(id(1), seq).element(128)).to_vec();
    let operations = vec![
        put("k", "v", Some(lease(u64::MAX, i64::MIN)), [named, vec![last]].concat()),
        Operation::Remove { key: vec![b'k'; 128].into(), elements: vec![last] },
    ];
    Case {
        name: "large_numbers",
        previous: Chain::from_bytes([0xff; 16]),
        record: record(dot, u64::MAX, &[], operations),
    }
}

fn full_context_delta() -> Case {
    let delta: Vec<(u64, u64)> = (0..20).map(|n| (0x100 + n, 1 << (3 * n))).chain([(u64::MAX, Dot::SEQ_MAX)]).collect();
    let mut case = first("full_context_delta", &delta, vec![range("", None)]);
    case.record.header.dot.seq = 2;
    case
}

/// Three records of one replica, each after the one before.
fn chain_of_three() -> Vec<Case> {
    let contents = [
        ("chain_1", vec![], vec![put("lamp", "on", None, vec![])]),
        ("chain_2", vec![(THERE, 3)], vec![put("lamp", "off", None, vec![element(HERE, 1, 0), element(THERE, 3, 0)])]),
        ("chain_3", vec![], vec![Operation::Remove { key: "lamp".into(), elements: vec![element(HERE, 2, 0)] }]),
    ];
    let mut previous = Chain::BEGINNING;
    contents
        .into_iter()
        .zip(1..)
        .map(|((name, delta, operations), seq)| {
            let record = record(Dot::new(id(HERE), seq), HLC + seq, &delta, operations);
            let case = Case { name, previous, record };
            previous = case.record.encode(&previous).1;
            case
        })
        .collect()
}

fn first(name: &'static str, delta: &[(u64, u64)], operations: Vec<Operation>) -> Case {
    Case { name, previous: Chain::BEGINNING, record: record(Dot::new(id(HERE), 1), HLC, delta, operations) }
}

fn later(name: &'static str, operations: Vec<Operation>) -> Case {
    let record = record(Dot::new(id(HERE), 3), HLC, &[(THERE, 300)], operations);
    Case { name, previous: Chain::from_bytes([0x5a; 16]), record }
}

fn record(dot: Dot, hlc: u64, delta: &[(u64, u64)], operations: Vec<Operation>) -> Record {
    let context_delta: VersionVector = delta.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect();
    Record {
        header: RecordHeader { dot, hlc: Hlc::from_bits(hlc), context_delta, chain: Chain::BEGINNING },
        operations,
    }
}

fn put(key: &'static str, value: &'static str, lease: Option<LeaseRef>, supersedes: Vec<Element>) -> Operation {
    Operation::Put { key: key.into(), value: value.into(), lease, supersedes }
}

fn system_put(key: &'static str, value: &'static str, supersedes: Vec<Element>) -> Operation {
    Operation::SystemPut { key: key.into(), value: value.into(), supersedes }
}

fn range(start: &'static str, end: Option<&'static str>) -> Operation {
    Operation::RangeRemove(RangeRemove { start: start.into(), end: end.map(Bytes::from) })
}

fn grant(id: i64, ttl_s: u64) -> Operation {
    Operation::LeaseGrant { id, ttl_s }
}

fn end(lease: LeaseRef, elements: Vec<Element>) -> Operation {
    Operation::LeaseEnd { lease, elements }
}

fn unknown(kind: u64, body: &'static [u8]) -> Operation {
    Operation::Unknown { kind, body: body.into() }
}

fn elements() -> Vec<Element> {
    vec![element(2, 1, 0), element(HERE, 1, 0), element(HERE, 2, 200), element(THERE, 299, 0), element(THERE, 300, 1)]
}

fn element(replica: u64, seq: u64, index: u32) -> Element {
    Dot::new(id(replica), seq).element(index)
}

fn lease(home: u64, number: i64) -> LeaseRef {
    LeaseRef { home: id(home), id: number }
}

fn id(bits: u64) -> ReplicaId {
    ReplicaId::new(bits).unwrap()
}
