//! Transactions that put and delete one key without etcd noticing: a known and intended difference.
//!
//! etcd refuses a transaction that writes a key twice, with two gaps: a delete up to the end of the key space is held
//! against no put, and a nested delete not against the puts of nested transactions before it. It then gives one key two
//! events at one revision (and ends with a panic if the put asks for what the delete has removed). Tombolo refuses these
//! too, so the generator leaves them out; that Tombolo refuses them has a test of its own.

use bytes::Bytes;
use tombolo_proto::etcdserverpb::{DeleteRangeRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request as Op};

/// Whether these operations hold an overlap in one of the gaps.
pub(super) fn is_hidden(ops: &[RequestOp]) -> bool {
    let all = Writes::of(ops);
    let endless = all.deletes.iter().filter(|delete| delete.range_end.as_ref() == b"\0");
    if endless.into_iter().any(|delete| all.puts.iter().any(|key| *key >= delete.key)) {
        return true;
    }
    let nested: Vec<&TxnRequest> = ops.iter().filter_map(nested).collect();
    let mut before = Vec::new();
    for nested in nested {
        let mut branches = Writes::of(&nested.success);
        branches.add(&nested.failure);
        if branches.deletes.iter().any(|delete| before.iter().any(|key| covers(delete, key))) {
            return true;
        }
        before.append(&mut branches.puts);
        if is_hidden(&nested.success) || is_hidden(&nested.failure) {
            return true;
        }
    }
    false
}

/// Reads instead of deleting.
pub(super) fn keep_no_delete(request: &mut TxnRequest) {
    for op in request.success.iter_mut().chain(&mut request.failure) {
        match &mut op.request {
            Some(Op::RequestDeleteRange(delete)) => {
                let (key, range_end) = (delete.key.clone(), delete.range_end.clone());
                op.request = Some(Op::RequestRange(RangeRequest { key, range_end, ..Default::default() }));
            }
            Some(Op::RequestTxn(nested)) => keep_no_delete(nested),
            _ => (),
        }
    }
}

/// All that a list of operations may write, nested transactions included.
#[derive(Default)]
struct Writes {
    puts: Vec<Bytes>,
    deletes: Vec<DeleteRangeRequest>,
}

impl Writes {
    fn of(ops: &[RequestOp]) -> Self {
        let mut writes = Self::default();
        writes.add(ops);
        writes
    }

    fn add(&mut self, ops: &[RequestOp]) {
        for op in ops {
            match &op.request {
                Some(Op::RequestPut(put)) => self.puts.push(put.key.clone()),
                Some(Op::RequestDeleteRange(delete)) => self.deletes.push(delete.clone()),
                Some(Op::RequestTxn(nested)) => {
                    self.add(&nested.success);
                    self.add(&nested.failure);
                }
                _ => (),
            }
        }
    }
}

fn nested(op: &RequestOp) -> Option<&TxnRequest> {
    match &op.request {
        Some(Op::RequestTxn(nested)) => Some(nested),
        _ => None,
    }
}

fn covers(delete: &DeleteRangeRequest, key: &Bytes) -> bool {
    match delete.range_end.as_ref() {
        b"" => *key == delete.key,
        b"\0" => *key >= delete.key,
        end => *key >= delete.key && key.as_ref() < end,
    }
}
