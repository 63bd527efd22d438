//! What etcd refuses before it looks at the store, in etcd's order: the first fault found is the one that is answered.

use prost::Message;
use tombolo_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    range_request::{SortOrder, SortTarget},
    request_op::Request as Op,
};

use super::status::Fault;

pub(super) use self::overlap::overlaps;

mod overlap;

pub(super) fn range(request: &RangeRequest) -> Result<(), Fault> {
    if request.key.is_empty() {
        return Err(Fault::EmptyKey);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok() && SortTarget::try_from(request.sort_target).is_ok();
    if known { Ok(()) } else { Err(Fault::InvalidSortOption) }
}

pub(super) fn put(request: &PutRequest) -> Result<(), Fault> {
    if request.key.is_empty() {
        Err(Fault::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(Fault::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(Fault::LeaseProvided)
    } else {
        Ok(())
    }
}

pub(super) fn delete(request: &DeleteRangeRequest) -> Result<(), Fault> {
    if request.key.is_empty() { Err(Fault::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction and those within it. What a level uses of `ops_max` is no longer there for the levels below.
pub(super) fn txn(request: &TxnRequest, ops_max: usize) -> Result<(), Fault> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(ops_left) = ops_max.checked_sub(ops) else { return Err(Fault::TooManyOps) };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Fault::EmptyKey);
    }
    request.success.iter().chain(&request.failure).try_for_each(|op| self::op(op, ops_left))
}

fn op(op: &RequestOp, ops_max: usize) -> Result<(), Fault> {
    match &op.request {
        Some(Op::RequestRange(request)) => range(request),
        Some(Op::RequestPut(request)) => put(request),
        Some(Op::RequestDeleteRange(request)) => delete(request),
        Some(Op::RequestTxn(request)) => txn(request, ops_max),
        None => Err(Fault::KeyNotFound),
    }
}

/// The bytes of a request that changes the store, as etcd counts them against its limit: as an entry of its log.
pub(super) fn size(request: &impl Message, bytes_max: usize) -> Result<usize, Fault> {
    let encoded = request.encoded_len();
    let bytes = ENTRY_HEAD_BYTES + prost::length_delimiter_len(encoded) + encoded;
    if bytes <= bytes_max { Ok(bytes) } else { Err(Fault::RequestTooLarge) }
}

/// The id that etcd puts before a request in its log: fourteen bytes, and one that says which kind of request follows.
const ENTRY_HEAD_BYTES: usize = 15;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_proto::etcdserverpb::Compare;

    use super::*;

    fn key(key: &'static str) -> Bytes {
        Bytes::from_static(key.as_bytes())
    }

    fn op_of(request: Op) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn put_of(text: &'static str) -> RequestOp {
        op_of(Op::RequestPut(PutRequest { key: key(text), ..Default::default() }))
    }

    fn txn_of(success: Vec<RequestOp>) -> TxnRequest {
        TxnRequest { success, ..Default::default() }
    }

    fn nest(levels: usize) -> TxnRequest {
        (0..levels).fold(txn_of(vec![put_of("a")]), |inner, _| txn_of(vec![op_of(Op::RequestTxn(inner))]))
    }

    #[test]
    fn a_range_needs_a_key_and_known_sort_options() {
        let sorted = |order, target| RangeRequest {
            key: key("a"),
            sort_order: order,
            sort_target: target,
            ..Default::default()
        };
        for (request, expected) in [
            (RangeRequest::default(), Err(Fault::EmptyKey)),
            (RangeRequest { range_end: key("b"), sort_order: 9, ..Default::default() }, Err(Fault::EmptyKey)),
            (sorted(0, 0), Ok(())),
            (sorted(2, 4), Ok(())),
            (sorted(3, 0), Err(Fault::InvalidSortOption)),
            (sorted(0, 5), Err(Fault::InvalidSortOption)),
            (sorted(-1, 0), Err(Fault::InvalidSortOption)),
        ] {
            assert_eq!(range(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn a_put_says_each_thing_once() {
        let ignoring = |value: &'static str, lease, ignore_value, ignore_lease| PutRequest {
            key: key("a"),
            value: key(value),
            lease,
            ignore_value,
            ignore_lease,
            ..Default::default()
        };
        for (request, expected) in [
            (PutRequest { ignore_value: true, value: key("v"), ..Default::default() }, Err(Fault::EmptyKey)),
            (ignoring("v", 7, true, true), Err(Fault::ValueProvided)),
            (ignoring("", 7, true, true), Err(Fault::LeaseProvided)),
            (ignoring("", 0, true, true), Ok(())),
            (ignoring("v", 7, false, false), Ok(())),
        ] {
            assert_eq!(put(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn a_delete_needs_a_key() {
        assert_eq!(delete(&DeleteRangeRequest { range_end: key("b"), ..Default::default() }), Err(Fault::EmptyKey));
        assert_eq!(delete(&DeleteRangeRequest { key: key("b"), ..Default::default() }), Ok(()));
    }

    #[test]
    fn the_largest_branch_counts_before_anything_is_looked_at() {
        let empty_puts = |count| vec![put_of(""); count];
        for (request, expected) in [
            (txn_of(empty_puts(3)), Err(Fault::TooManyOps)),
            (TxnRequest { failure: empty_puts(3), ..Default::default() }, Err(Fault::TooManyOps)),
            (TxnRequest { compare: vec![Compare::default(); 3], ..Default::default() }, Err(Fault::TooManyOps)),
            (TxnRequest { compare: vec![Compare::default(); 2], ..Default::default() }, Err(Fault::EmptyKey)),
            (txn_of(empty_puts(2)), Err(Fault::EmptyKey)),
            (txn_of(vec![put_of("a"), put_of("b")]), Ok(())),
            (TxnRequest { success: vec![put_of("a"); 2], failure: vec![put_of("a"); 2], ..Default::default() }, Ok(())),
        ] {
            assert_eq!(txn(&request, 2), expected, "{request:?}");
        }
    }

    #[test]
    fn nested_levels_share_the_operations() {
        assert_eq!(txn(&nest(2), 3), Ok(()));
        assert_eq!(txn(&nest(2), 2), Err(Fault::TooManyOps));
    }

    #[test]
    fn the_first_fault_in_reading_order_is_answered() {
        let value_twice = PutRequest { key: key("a"), value: key("v"), ignore_value: true, ..Default::default() };
        let request = TxnRequest {
            success: vec![op_of(Op::RequestPut(value_twice))],
            failure: vec![put_of("")],
            ..Default::default()
        };
        assert_eq!(txn(&request, 8), Err(Fault::ValueProvided));
        assert_eq!(txn(&txn_of(vec![RequestOp::default(), put_of("")]), 8), Err(Fault::KeyNotFound));
    }

    #[test]
    fn a_request_is_measured_as_etcd_measures_it() {
        let request = |bytes| PutRequest { key: key("k"), value: vec![0; bytes].into(), ..Default::default() };
        let base = 1_572_864;
        // Head 15, two lengths of three bytes, key and value with a byte of kind and a byte of length each: 3 + 1 + 3.
        let fits = base - 15 - 3 - 3 - 1 - 3;
        assert_eq!(size(&request(fits), base), Ok(base));
        assert_eq!(size(&request(fits + 1), base), Err(Fault::RequestTooLarge));
    }
}
