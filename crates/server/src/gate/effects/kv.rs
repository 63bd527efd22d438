//! What `KV`'s messages do. A transaction does what any of its branches might.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request as Op,
    },
};

use super::{Effects, Needs};

impl Effects for RangeRequest {
    const METHOD: Method = Method::KvRange;

    fn effects(&self, needs: &mut Needs) {
        needs.reads(&self.key, &self.range_end);
    }
}

impl Effects for PutRequest {
    const METHOD: Method = Method::KvPut;

    fn effects(&self, needs: &mut Needs) {
        needs.writes(&self.key, &Bytes::new());
        if self.prev_kv {
            needs.reads(&self.key, &Bytes::new());
        }
        if self.lease != 0 {
            needs.writes_keys_of(self.lease);
        }
    }
}

impl Effects for DeleteRangeRequest {
    const METHOD: Method = Method::KvDeleteRange;

    fn effects(&self, needs: &mut Needs) {
        needs.writes(&self.key, &self.range_end);
        if self.prev_kv {
            needs.reads(&self.key, &self.range_end);
        }
    }
}

impl Effects for TxnRequest {
    const METHOD: Method = Method::KvTxn;

    /// Walks the transactions within without recursion: how deep they go is the sender's choice.
    fn effects(&self, needs: &mut Needs) {
        let mut open = vec![self];
        while let Some(txn) = open.pop() {
            txn.compare.iter().for_each(|Compare { key, range_end, .. }| needs.reads(key, range_end));
            for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
                match request {
                    Some(Op::RequestRange(range)) => range.effects(needs),
                    Some(Op::RequestPut(put)) => put.effects(needs),
                    Some(Op::RequestDeleteRange(delete)) => delete.effects(needs),
                    Some(Op::RequestTxn(nested)) => open.push(nested),
                    None => {}
                }
            }
        }
    }
}
