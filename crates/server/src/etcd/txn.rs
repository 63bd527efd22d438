//! Transactions: etcd's request to the store's, and the store's answer back with the revisions inside that clients read.

use tombolo_proto::etcdserverpb::{
    Compare, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as EtcdOp,
    response_op::Response as EtcdAnswer,
};
use tombolo_storage::{Comparison, Guard, KeyRange, Op, OpAnswer, Operand, Transaction, TxnAnswer};

use super::convert::{self, Finish};

/// Whether a transaction reads only, in etcd's sense: a nested one counts as writing.
pub(super) fn is_readonly(request: &TxnRequest) -> bool {
    let reads = |op: &RequestOp| matches!(op.request, Some(EtcdOp::RequestRange(_)));
    request.success.iter().chain(&request.failure).all(reads)
}

/// What has to be known of a request to put its answer into etcd's words.
#[derive(Default)]
pub(super) struct Shape {
    then: Vec<Part>,
    otherwise: Vec<Part>,
}

enum Part {
    Range(Finish),
    Write,
    Txn(Shape),
}

impl Part {
    fn finish(&self) -> Finish {
        if let Self::Range(finish) = self { *finish } else { Finish::default() }
    }

    fn shape(self) -> Shape {
        if let Self::Txn(shape) = self { shape } else { Shape::default() }
    }
}

/// The store's transaction for a checked request.
pub(super) fn transaction(request: TxnRequest) -> (Transaction, Shape) {
    let guards = request.compare.into_iter().filter_map(guard).collect();
    let (then, then_shape) = ops(request.success);
    let (otherwise, otherwise_shape) = ops(request.failure);
    (Transaction { guards, then, otherwise }, Shape { then: then_shape, otherwise: otherwise_shape })
}

fn ops(requests: Vec<RequestOp>) -> (Vec<Op>, Vec<Part>) {
    requests.into_iter().filter_map(|op| op.request).map(op).unzip()
}

fn op(request: EtcdOp) -> (Op, Part) {
    match request {
        EtcdOp::RequestRange(request) => {
            let (query, finish) = convert::range(request);
            (Op::Range(query), Part::Range(finish))
        }
        EtcdOp::RequestPut(request) => (Op::Put(convert::put(request)), Part::Write),
        EtcdOp::RequestDeleteRange(request) => (Op::Delete(convert::delete(request)), Part::Write),
        EtcdOp::RequestTxn(request) => {
            let (transaction, shape) = transaction(request);
            (Op::Txn(transaction), Part::Txn(shape))
        }
    }
}

/// The guard for a comparison; `None` for one that always holds. As in etcd an operand of another kind than the target reads as zero,
/// an unknown target compares as equal, and an unknown comparison holds (of values only where there is a key).
fn guard(compare: Compare) -> Option<Guard> {
    let range = KeyRange::from_etcd(compare.key, compare.range_end);
    let target = CompareTarget::try_from(compare.target);
    let Ok(comparison) = CompareResult::try_from(compare.result) else {
        let exists = Guard { range, operand: Operand::Version(0), comparison: Comparison::Greater };
        return (target == Ok(CompareTarget::Value)).then_some(exists);
    };
    let Ok(target) = target else {
        let never = Guard { range, operand: Operand::Version(-1), comparison: Comparison::Less };
        return (comparison != CompareResult::Equal).then_some(never);
    };
    let comparison = match comparison {
        CompareResult::Equal => Comparison::Equal,
        CompareResult::NotEqual => Comparison::NotEqual,
        CompareResult::Greater => Comparison::Greater,
        CompareResult::Less => Comparison::Less,
    };
    Some(Guard { range, operand: operand(target, compare.target_union), comparison })
}

fn operand(target: CompareTarget, given: Option<TargetUnion>) -> Operand {
    match (target, given) {
        (CompareTarget::Version, Some(TargetUnion::Version(version))) => Operand::Version(version),
        (CompareTarget::Version, _) => Operand::Version(0),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(revision))) => Operand::CreateRevision(revision),
        (CompareTarget::Create, _) => Operand::CreateRevision(0),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(revision))) => Operand::ModRevision(revision),
        (CompareTarget::Mod, _) => Operand::ModRevision(0),
        (CompareTarget::Value, Some(TargetUnion::Value(value))) => Operand::Value(value),
        (CompareTarget::Value, _) => Operand::Value(bytes::Bytes::new()),
        (CompareTarget::Lease, Some(TargetUnion::Lease(lease))) => Operand::Lease(lease),
        (CompareTarget::Lease, _) => Operand::Lease(0),
    }
}

/// The answer in etcd's words. `header` is the outer one, with the revision after the transaction.
pub(super) fn response(header: ResponseHeader, answer: TxnAnswer, shape: Shape) -> TxnResponse {
    let after = header.revision;
    // A transaction that changes something takes one revision; until its first change, steps speak of the one before.
    let before = if changes(&answer) { after - 1 } else { after };
    let mut revisions = Revisions { now: before, after };
    TxnResponse { header: Some(header), ..revisions.branch(answer, shape) }
}

fn changes(answer: &TxnAnswer) -> bool {
    answer.results.iter().any(|result| match result {
        OpAnswer::Range(_) => false,
        OpAnswer::Put(_) => true,
        OpAnswer::Delete(delete) => delete.deleted > 0,
        OpAnswer::Txn(nested) => changes(nested),
    })
}

/// The revisions that the steps of one transaction speak of.
struct Revisions {
    now: i64,
    after: i64,
}

impl Revisions {
    /// Inner headers have the revision alone, and that of a nested transaction not even that.
    fn header(&self) -> ResponseHeader {
        ResponseHeader { revision: self.now, ..Default::default() }
    }

    fn branch(&mut self, answer: TxnAnswer, shape: Shape) -> TxnResponse {
        let parts = if answer.succeeded { shape.then } else { shape.otherwise };
        let mut step = |(result, part)| ResponseOp { response: Some(self.step(result, part)) };
        let responses = answer.results.into_iter().zip(parts).map(&mut step).collect();
        TxnResponse { header: Some(ResponseHeader::default()), succeeded: answer.succeeded, responses }
    }

    fn step(&mut self, result: OpAnswer, part: Part) -> EtcdAnswer {
        match result {
            OpAnswer::Range(range) => {
                EtcdAnswer::ResponseRange(convert::range_response(self.header(), range, part.finish()))
            }
            OpAnswer::Put(put) => {
                self.now = self.after;
                EtcdAnswer::ResponsePut(convert::put_response(self.header(), put))
            }
            OpAnswer::Delete(delete) => {
                if delete.deleted > 0 {
                    self.now = self.after;
                }
                EtcdAnswer::ResponseDeleteRange(convert::delete_response(self.header(), delete))
            }
            OpAnswer::Txn(nested) => EtcdAnswer::ResponseTxn(self.branch(nested, part.shape())),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tombolo_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
    use tombolo_storage::{DeleteAnswer, PutAnswer, RangeAnswer};

    use super::*;

    fn op_of(request: EtcdOp) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    fn range_op() -> RequestOp {
        op_of(EtcdOp::RequestRange(RangeRequest { key: "a".into(), ..Default::default() }))
    }

    fn put_op() -> RequestOp {
        op_of(EtcdOp::RequestPut(PutRequest { key: "a".into(), ..Default::default() }))
    }

    fn delete_op() -> RequestOp {
        op_of(EtcdOp::RequestDeleteRange(DeleteRangeRequest { key: "b".into(), ..Default::default() }))
    }

    fn ranged() -> OpAnswer {
        let revision = tombolo_storage::Slot::FIRST.beginning();
        OpAnswer::Range(RangeAnswer { revision, pairs: Vec::new(), more: false, count: 0 })
    }

    fn deleted(deleted: i64) -> OpAnswer {
        OpAnswer::Delete(DeleteAnswer { deleted, previous: Vec::new() })
    }

    fn inner_revisions(response: &TxnResponse) -> Vec<i64> {
        let revision = |header: &Option<ResponseHeader>| header.unwrap().revision;
        let inner = |op: &ResponseOp| match op.response.as_ref().unwrap() {
            EtcdAnswer::ResponseRange(range) => vec![revision(&range.header)],
            EtcdAnswer::ResponsePut(put) => vec![revision(&put.header)],
            EtcdAnswer::ResponseDeleteRange(delete) => vec![revision(&delete.header)],
            EtcdAnswer::ResponseTxn(nested) => [vec![revision(&nested.header)], inner_revisions(nested)].concat(),
        };
        response.responses.iter().flat_map(inner).collect()
    }

    #[test]
    fn inner_headers_speak_of_the_revision_as_of_their_step() {
        let nested = TxnRequest { success: vec![put_op(), range_op()], ..Default::default() };
        let success = vec![range_op(), delete_op(), op_of(EtcdOp::RequestTxn(nested)), delete_op(), range_op()];
        let (_, shape) = transaction(TxnRequest { success, ..Default::default() });
        let put = OpAnswer::Put(PutAnswer { previous: None });
        let nested = OpAnswer::Txn(TxnAnswer { succeeded: true, results: vec![put, ranged()] });
        let results = vec![ranged(), deleted(0), nested, deleted(0), ranged()];
        let header = ResponseHeader { revision: 9, ..Default::default() };
        let response = response(header, TxnAnswer { succeeded: true, results }, shape);
        assert_eq!(response.header.unwrap().revision, 9);
        assert_eq!(inner_revisions(&response), [8, 8, 0, 9, 9, 9, 9]);
    }

    #[test]
    fn what_changes_nothing_speaks_of_now() {
        let (_, shape) = transaction(TxnRequest { failure: vec![delete_op(), range_op()], ..Default::default() });
        let header = ResponseHeader { revision: 9, ..Default::default() };
        let answer = TxnAnswer { succeeded: false, results: vec![deleted(0), ranged()] };
        assert_eq!(inner_revisions(&response(header, answer, shape)), [9, 9]);
    }

    #[test]
    fn odd_comparisons_hold_when_etcd_says_so() {
        let compare = |result, target, union| Compare {
            result,
            target,
            key: "k".into(),
            target_union: union,
            range_end: Bytes::new(),
        };
        let read = |result, target, union| {
            guard(compare(result, target, union)).map(|guard| (guard.operand, guard.comparison))
        };
        let version = Some(TargetUnion::Version(7));
        assert_eq!(read(0, 0, version.clone()), Some((Operand::Version(7), Comparison::Equal)));
        assert_eq!(
            read(3, 2, version.clone()),
            Some((Operand::ModRevision(0), Comparison::NotEqual)),
            "another kind is zero"
        );
        assert_eq!(read(1, 3, version.clone()), Some((Operand::Value(Bytes::new()), Comparison::Greater)));
        assert_eq!(read(9, 0, version.clone()), None, "an unknown comparison holds");
        assert_eq!(
            read(9, 3, None),
            Some((Operand::Version(0), Comparison::Greater)),
            "of a value, where there is one"
        );
        assert_eq!(read(0, 9, None), None, "an unknown target is equal");
        assert_eq!(read(2, 9, None), Some((Operand::Version(-1), Comparison::Less)), "and therefore not less");
    }

    #[test]
    fn only_ranges_on_the_first_level_make_a_transaction_readonly() {
        let nested = op_of(EtcdOp::RequestTxn(TxnRequest { success: vec![range_op()], ..Default::default() }));
        let txn = |success, failure| TxnRequest { success, failure, ..Default::default() };
        assert!(is_readonly(&txn(vec![range_op()], vec![])));
        assert!(is_readonly(&txn(vec![], vec![])));
        assert!(!is_readonly(&txn(vec![nested], vec![])));
        assert!(!is_readonly(&txn(vec![range_op()], vec![put_op()])));
    }
}
