//! What `KV`'s messages do. A transaction does what any of its branches might.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request as Op,
    },
};

use super::{Effects, Reach};

impl Effects for RangeRequest {
    const METHOD: Method = Method::KvRange;

    fn effects(&self, reach: &mut Reach) {
        reach.reads(&self.key, &self.range_end);
    }
}

impl Effects for PutRequest {
    const METHOD: Method = Method::KvPut;

    fn effects(&self, reach: &mut Reach) {
        reach.writes(&self.key, &Bytes::new());
        // To keep the value or the lease there is, is to be told whether there is one.
        if self.prev_kv || self.ignore_value || self.ignore_lease {
            reach.reads(&self.key, &Bytes::new());
        }
        if self.lease != 0 {
            reach.writes_keys_of(self.lease);
        }
    }
}

impl Effects for DeleteRangeRequest {
    const METHOD: Method = Method::KvDeleteRange;

    fn effects(&self, reach: &mut Reach) {
        reach.writes(&self.key, &self.range_end);
        if self.prev_kv {
            reach.reads(&self.key, &self.range_end);
        }
    }
}

impl Effects for TxnRequest {
    const METHOD: Method = Method::KvTxn;

    /// Walks the transactions within without recursion: how deep they go is the sender's choice.
    fn effects(&self, reach: &mut Reach) {
        let mut open = vec![self];
        while let Some(txn) = open.pop() {
            txn.compare.iter().for_each(|Compare { key, range_end, .. }| reach.reads(key, range_end));
            for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
                match request {
                    Some(Op::RequestRange(range)) => range.effects(reach),
                    Some(Op::RequestPut(put)) => put.effects(reach),
                    Some(Op::RequestDeleteRange(delete)) => delete.effects(reach),
                    Some(Op::RequestTxn(nested)) => open.push(nested),
                    None => {}
                }
            }
        }
    }
}
