//! Each message against the effects it must have, and every message of every contract against the method it says it belongs to.

use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, request_op::Request as Op,
};

use super::*;

fn reach_of(message: &impl Effects) -> Reach {
    let mut reach = Reach::default();
    message.effects(&mut reach);
    reach
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), ..Default::default() }
}

#[test]
fn a_put_reads_what_its_answer_or_refusal_tells() {
    let reach = reach_of(&put("a"));
    assert_eq!((reach.read, reach.write, reach.leases), (vec![], vec![Span::key("a")], vec![]));
    for telling in [
        PutRequest { prev_kv: true, ..put("a") },
        PutRequest { ignore_value: true, ..put("a") },
        PutRequest { ignore_lease: true, ..put("a") },
    ] {
        assert_eq!(reach_of(&telling).read, [Span::key("a")], "{telling:?}");
    }
    assert_eq!(reach_of(&PutRequest { lease: 7, ..put("a") }).leases, [Held::Write(7)]);
}

#[test]
fn a_delete_reads_only_what_it_answers_with() {
    let delete = DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: false };
    let reach = reach_of(&delete);
    assert_eq!((reach.read, reach.write), (vec![], vec![Span::of("a", "c")]));
    let reach = reach_of(&DeleteRangeRequest { prev_kv: true, ..delete });
    assert_eq!((reach.read, reach.write), (vec![Span::of("a", "c")], vec![Span::of("a", "c")]));
}

#[test]
fn an_open_end_reaches_to_the_end_in_every_message() {
    let open = || Span::range("a", None);
    let (key, range_end) = (Bytes::from("a"), Bytes::from_static(b"\0"));
    let range = RangeRequest { key: key.clone(), range_end: range_end.clone(), ..Default::default() };
    assert_eq!(reach_of(&range).read, [open()]);
    let delete = DeleteRangeRequest { key: key.clone(), range_end: range_end.clone(), ..Default::default() };
    assert_eq!(reach_of(&delete).write, [open()]);
    let compare = Compare { key: key.clone(), range_end: range_end.clone(), ..Default::default() };
    assert_eq!(reach_of(&TxnRequest { compare: vec![compare], ..Default::default() }).read, [open()]);
    let watch = WatchCreateRequest { key, range_end: range_end.clone(), ..Default::default() };
    assert_eq!(reach_of(&watch).read, [open()]);
    let everything = WatchCreateRequest { range_end, ..Default::default() };
    assert_eq!(reach_of(&everything).read, [Span::range(&b"\0"[..], None)]);
    assert_eq!(reach_of(&WatchCreateRequest::default()).read, [Span::key(&b"\0"[..])]);
}

#[test]
fn a_transaction_does_what_any_branch_at_any_depth_might() {
    let range = RangeRequest { key: "deep".into(), ..Default::default() };
    let delete = DeleteRangeRequest { key: "d".into(), range_end: "f".into(), prev_kv: true };
    let inner = TxnRequest {
        compare: vec![Compare { key: "guess".into(), ..Default::default() }],
        success: vec![],
        failure: vec![op(Op::RequestRange(range)), op(Op::RequestPut(PutRequest { lease: 9, ..put("leased") }))],
    };
    let middle = TxnRequest { success: vec![op(Op::RequestTxn(inner))], ..Default::default() };
    let outer = TxnRequest {
        compare: vec![Compare { key: "c".into(), range_end: "cc".into(), ..Default::default() }],
        success: vec![op(Op::RequestPut(put("then"))), RequestOp::default()],
        failure: vec![op(Op::RequestTxn(middle)), op(Op::RequestDeleteRange(delete))],
    };
    let Reach { mut read, mut write, leases, asks } = reach_of(&outer);
    let sorted = |spans: &mut Vec<Span>| spans.sort_by_key(|span| format!("{span:?}"));
    let mut reads = vec![Span::of("c", "cc"), Span::of("d", "f"), Span::key("guess"), Span::key("deep")];
    let mut writes = vec![Span::key("then"), Span::of("d", "f"), Span::key("leased")];
    [&mut read, &mut write, &mut reads, &mut writes].into_iter().for_each(sorted);
    assert_eq!((read, write), (reads, writes));
    assert_eq!((leases, asks), (vec![Held::Write(9)], None));
}

#[test]
fn depth_costs_no_stack() {
    let mut txn = TxnRequest { success: vec![op(Op::RequestPut(put("bottom")))], ..Default::default() };
    for _ in 0..2_000 {
        txn = TxnRequest { failure: vec![op(Op::RequestTxn(txn))], ..Default::default() };
    }
    assert_eq!(reach_of(&txn).write, [Span::key("bottom")]);
}

#[test]
fn to_decide_on_a_lease_is_to_write_its_keys() {
    assert_eq!(reach_of(&LeaseRevokeRequest { id: 3 }).leases, [Held::Write(3)]);
    assert_eq!(reach_of(&LeaseTimeToLiveRequest { id: 3, keys: true }).leases, [Held::Read(3)]);
    assert_eq!(reach_of(&LeaseTimeToLiveRequest { id: 3, keys: false }), Reach::default());
}

#[test]
fn a_lock_stands_for_the_keys_under_its_name() {
    use tombolo_proto::v3lockpb::LockRequest;
    let lock = |lease| reach_of(&LockRequest { name: "n".into(), lease });
    let all = Span::of("n/", "n0");
    assert_eq!((lock(0x1f).read, lock(0x1f).write), (vec![all.clone()], vec![Span::key("n/1f")]));
    assert_eq!(lock(0x1f).leases, [Held::Write(0x1f)]);
    assert_eq!((lock(0).read, lock(0).write, lock(0).leases), (vec![all.clone()], vec![all], vec![]));
}
