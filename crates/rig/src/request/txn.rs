//! Random transactions: compares of every kind, operations that collide, nesting, and too many of all.

use tombolo_proto::etcdserverpb::{
    Compare, RequestOp, TxnRequest,
    compare::{CompareTarget, TargetUnion},
    request_op::Request as Op,
};

use super::{generate::Generator, kv, lease};

mod overlap;

pub(crate) fn txn(generator: &mut Generator) -> TxnRequest {
    let mut request = nested(generator, 0);
    if generator.random.chance(1) {
        let many = 127 + generator.random.below(3);
        request.success = (0..many).map(|_| op(generator, DEPTH_MAX)).collect();
    }
    leave_no_hidden_overlap(&mut request);
    request
}

/// Leaves out what etcd does not notice that it should refuse.
pub(super) fn leave_no_hidden_overlap(request: &mut TxnRequest) {
    if overlap::is_hidden(&request.success) || overlap::is_hidden(&request.failure) {
        overlap::keep_no_delete(request);
    }
}

fn nested(generator: &mut Generator, depth: usize) -> TxnRequest {
    let compares = generator.random.pick(&[0, 0, 1, 1, 2, 3]);
    let compare = (0..compares).map(|_| compare(generator)).collect();
    TxnRequest { compare, success: ops(generator, depth), failure: ops(generator, depth) }
}

fn ops(generator: &mut Generator, depth: usize) -> Vec<RequestOp> {
    let count = generator.random.pick(&[0, 1, 1, 1, 2, 2, 3, 5]);
    (0..count).map(|_| op(generator, depth)).collect()
}

fn op(generator: &mut Generator, depth: usize) -> RequestOp {
    let request = match generator.random.below(100) {
        0..30 => Some(Op::RequestRange(kv::range(generator))),
        30..65 => Some(Op::RequestPut(kv::put(generator))),
        65..84 => Some(Op::RequestDeleteRange(kv::delete(generator))),
        84..98 if depth < DEPTH_MAX => Some(Op::RequestTxn(nested(generator, depth + 1))),
        84..98 => Some(Op::RequestPut(kv::put(generator))),
        _ if generator.random.chance(40) => None,
        _ => Some(Op::RequestRange(kv::range(generator))),
    };
    RequestOp { request }
}

fn compare(generator: &mut Generator) -> Compare {
    let (key, range_end) = generator.interval();
    let range_end = if generator.random.chance(70) { bytes::Bytes::new() } else { range_end };
    // Results and targets beyond the enumerations are legal on the wire and mean something odd in etcd.
    let result = if generator.random.chance(3) { 9 } else { generator.random.below(4) as i32 };
    let target = if generator.random.chance(3) { 9 } else { generator.random.below(5) as i32 };
    let of = if generator.random.chance(5) { generator.random.below(5) as i32 } else { target };
    let target_union = if generator.random.chance(5) { None } else { operand(generator, of) };
    Compare { result, target, key, range_end, target_union }
}

fn operand(generator: &mut Generator, target: i32) -> Option<TargetUnion> {
    Some(match CompareTarget::try_from(target).ok()? {
        CompareTarget::Version if generator.random.chance(5) => TargetUnion::Version(generator.odd_number()),
        CompareTarget::Version => TargetUnion::Version(generator.random.between(0, 3)),
        CompareTarget::Create => TargetUnion::CreateRevision(generator.nearby_revision()),
        CompareTarget::Mod => TargetUnion::ModRevision(generator.nearby_revision()),
        CompareTarget::Value => TargetUnion::Value(generator.value()),
        CompareTarget::Lease => TargetUnion::Lease(lease::id(generator)),
    })
}

const DEPTH_MAX: usize = 3;
