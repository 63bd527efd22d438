//! Rows of `KV`: every road by which a key can be read, compared, written or removed.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request as Op,
    },
};

use super::{Needs, Shape};
use crate::roles::world::{AFTER_SECRETS, LEASE, ROOTS_LEASE, SECRET, SECRET_VALUE, SECRETS};

pub(super) fn shapes(method: Method) -> Vec<Shape> {
    match method {
        Method::KvRange => ranges(),
        Method::KvPut => puts(),
        Method::KvDeleteRange => deletes(),
        Method::KvTxn => txns(),
        _ => vec![Shape::new("of nothing new", &CompactionRequest { revision: 1, physical: false }, Needs::Root)],
    }
}

fn range(key: &'static str, range_end: &'static [u8]) -> RangeRequest {
    RangeRequest { key: key.into(), range_end: Bytes::from_static(range_end), ..Default::default() }
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: "new".into(), ..Default::default() }
}

fn delete(key: &'static str, range_end: &'static [u8]) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: Bytes::from_static(range_end), prev_kv: false }
}

fn ranges() -> Vec<Shape> {
    let all = range(SECRETS, AFTER_SECRETS.as_bytes());
    vec![
        Shape::new("of a key", &range(SECRET, b""), Needs::Read),
        Shape::new("of all", &all, Needs::Read),
        Shape::new("that counts", &RangeRequest { count_only: true, ..all.clone() }, Needs::Read),
        Shape::new("of names", &RangeRequest { keys_only: true, ..all.clone() }, Needs::Read),
        Shape::new("of the past", &RangeRequest { revision: 2, ..all.clone() }, Needs::Read),
        Shape::new("that is serializable", &RangeRequest { serializable: true, ..all }, Needs::Read),
        // Whoever may read some of it may not read it all.
        Shape::new("to the end", &range(SECRET, b"\0"), Needs::Root),
        Shape::new("of everything", &range("\0", b"\0"), Needs::Root),
        Shape::new("across the border", &range(SECRET, b"z"), Needs::Root),
    ]
}

fn puts() -> Vec<Shape> {
    vec![
        Shape::new("alone", &put(SECRET), Needs::Write),
        Shape::new("that shows what was", &PutRequest { prev_kv: true, ..put(SECRET) }, Needs::ReadWrite),
        Shape::new(
            "that keeps the value",
            &PutRequest { ignore_value: true, value: Bytes::new(), ..put(SECRET) },
            Needs::ReadWrite,
        ),
        Shape::new("that keeps the lease", &PutRequest { ignore_lease: true, ..put(SECRET) }, Needs::ReadWrite),
        Shape::new("under a lease with secret keys", &PutRequest { lease: LEASE, ..put(SECRET) }, Needs::Write),
        Shape::new("under another's lease", &PutRequest { lease: ROOTS_LEASE, ..put(SECRET) }, Needs::Root),
        Shape::new("beyond every right", &put("zzz"), Needs::Root),
    ]
}

fn deletes() -> Vec<Shape> {
    let all = delete(SECRETS, AFTER_SECRETS.as_bytes());
    vec![
        Shape::new("of a key", &delete(SECRET, b""), Needs::Write),
        Shape::new("of all", &all, Needs::Write),
        Shape::new("that shows what was", &DeleteRangeRequest { prev_kv: true, ..all }, Needs::ReadWrite),
        Shape::new("to the end", &delete(SECRET, b"\0"), Needs::Root),
    ]
}

fn compare(key: &'static str, range_end: &'static [u8]) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Value.into(),
        key: key.into(),
        target_union: Some(TargetUnion::Value(SECRET_VALUE.into())),
        range_end: Bytes::from_static(range_end),
    }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn then(request: Op) -> TxnRequest {
    TxnRequest { success: vec![op(request)], ..Default::default() }
}

fn otherwise(request: Op) -> TxnRequest {
    TxnRequest { failure: vec![op(request)], ..Default::default() }
}

fn nested(txn: TxnRequest, levels: usize) -> TxnRequest {
    (0..levels).fold(
        txn,
        |inner, level| {
            if level % 2 == 0 { otherwise(Op::RequestTxn(inner)) } else { then(Op::RequestTxn(inner)) }
        },
    )
}

fn txns() -> Vec<Shape> {
    let guess = TxnRequest { compare: vec![compare(SECRET, b"")], ..Default::default() };
    let guess_all = TxnRequest { compare: vec![compare(SECRETS, AFTER_SECRETS.as_bytes())], ..Default::default() };
    let guess_open = TxnRequest { compare: vec![compare(SECRET, b"\0")], ..Default::default() };
    let shown = PutRequest { prev_kv: true, ..put(SECRET) };
    let leased = PutRequest { lease: ROOTS_LEASE, ..put(SECRET) };
    let removed = DeleteRangeRequest { prev_kv: true, ..delete(SECRET, b"") };
    let read = || Op::RequestRange(range(SECRET, b""));
    vec![
        Shape::new("of nothing", &TxnRequest::default(), Needs::User),
        Shape::new("that guesses a value", &guess, Needs::Read),
        Shape::new("that guesses values", &guess_all, Needs::Read),
        Shape::new("that guesses to the end", &guess_open, Needs::Root),
        Shape::new("that reads", &then(read()), Needs::Read),
        Shape::new("that might read", &otherwise(read()), Needs::Read),
        Shape::new("that might write", &otherwise(Op::RequestPut(put(SECRET))), Needs::Write),
        Shape::new("whose put shows what was", &otherwise(Op::RequestPut(shown.clone())), Needs::ReadWrite),
        Shape::new("that might remove", &otherwise(Op::RequestDeleteRange(delete(SECRET, b""))), Needs::Write),
        Shape::new("whose removal shows what was", &otherwise(Op::RequestDeleteRange(removed)), Needs::ReadWrite),
        Shape::new("that might attach to a lease", &otherwise(Op::RequestPut(leased.clone())), Needs::Root),
        Shape::new("within which one guesses", &nested(guess, 1), Needs::Read),
        Shape::new("within which one reads", &nested(then(read()), 1), Needs::Read),
        Shape::new("deep within which one reads", &nested(otherwise(read()), 9), Needs::Read),
        Shape::new("deep within which one writes", &nested(then(Op::RequestPut(put(SECRET))), 9), Needs::Write),
        Shape::new("within which a put shows what was", &nested(then(Op::RequestPut(shown)), 2), Needs::ReadWrite),
        Shape::new("within which one attaches to a lease", &nested(then(Op::RequestPut(leased)), 2), Needs::Root),
    ]
}
