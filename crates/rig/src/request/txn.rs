//! Random transactions: compares of every kind, operations that collide, nesting, and too many of all.

use tombolo_proto::etcdserverpb::{
    Compare, RequestOp, TxnRequest,
    compare::{CompareTarget, TargetUnion},
    request_op::Request as Op,
};

use super::{generate::Generator, kv, lease};

pub(crate) fn txn(generator: &mut Generator) -> TxnRequest {
    let mut request = nested(generator, 0);
    if generator.random.chance(1) {
        let many = 127 + generator.random.below(3);
        request.success = (0..many).map(|_| op(generator, DEPTH_MAX)).collect();
    }
    let mut deletes_to_the_end = false;
    visit_ops(&request, &mut |op| {
        deletes_to_the_end |= matches!(op, Op::RequestDeleteRange(delete) if delete.range_end.as_ref() == b"\0");
    });
    if deletes_to_the_end {
        forbid_ignoring_puts(&mut request);
    }
    request
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

/// etcd does not see that a delete up to the end of the key space covers a put beside it. If that put then asks for the
/// value that the delete has just removed, etcd ends with a panic.
fn forbid_ignoring_puts(request: &mut TxnRequest) {
    for op in request.success.iter_mut().chain(&mut request.failure) {
        match &mut op.request {
            Some(Op::RequestPut(put)) => (put.ignore_value, put.ignore_lease) = (false, false),
            Some(Op::RequestTxn(nested)) => forbid_ignoring_puts(nested),
            _ => (),
        }
    }
}

/// Calls `see` with every operation of a transaction, nested ones included.
pub(crate) fn visit_ops(request: &TxnRequest, see: &mut impl FnMut(&Op)) {
    for op in request.success.iter().chain(&request.failure) {
        let Some(op) = &op.request else { continue };
        see(op);
        if let Op::RequestTxn(nested) = op {
            visit_ops(nested, see);
        }
    }
}

const DEPTH_MAX: usize = 3;
