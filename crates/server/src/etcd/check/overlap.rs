//! Whether a transaction writes one key twice.
//!
//! The rule is etcd's: both branches of a nested transaction may write the same key, as only one runs; everything else that runs together may
//! not. It is kept where etcd forgets it, too: etcd does not see that a delete without an end (`"\0"`) covers a put beside it, nor that a nested
//! delete covers a put of a nested transaction before it, and then gives one key two fates at one revision. Here that is refused.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
};

use bytes::Bytes;
use tombolo_proto::etcdserverpb::{RequestOp, TxnRequest, request_op::Request as Op};

use crate::etcd::status::Fault;

/// Refuses a transaction that writes a key twice.
pub(in crate::etcd) fn overlaps(request: &TxnRequest) -> Result<(), Fault> {
    collect(&request.success)?;
    collect(&request.failure)?;
    Ok(())
}

/// What a list of operations writes.
#[derive(Default)]
struct Writes {
    puts: HashSet<Bytes>,
    deletes: Intervals,
}

impl Writes {
    fn add_put(&mut self, key: &Bytes) -> Result<(), Fault> {
        let fresh = !self.deletes.contains(key) && self.puts.insert(key.clone());
        if fresh { Ok(()) } else { Err(Fault::DuplicateKey) }
    }

    /// Adds what either branch of a nested transaction writes.
    fn add_branches(&mut self, then: Self, otherwise: Self) -> Result<(), Fault> {
        // So far `self.puts` are those of the nested transactions before this one.
        if self.puts.iter().any(|key| then.deletes.contains(key) || otherwise.deletes.contains(key)) {
            return Err(Fault::DuplicateKey);
        }
        for key in &then.puts {
            self.add_put(key)?;
        }
        for key in &otherwise.puts {
            let in_both = then.puts.contains(key) && !self.deletes.contains(key);
            if !in_both {
                self.add_put(key)?;
            }
        }
        self.deletes.add_all(then.deletes);
        self.deletes.add_all(otherwise.deletes);
        Ok(())
    }
}

fn collect(ops: &[RequestOp]) -> Result<Writes, Fault> {
    let mut writes = Writes::default();
    for op in ops {
        if let Some(Op::RequestDeleteRange(delete)) = &op.request {
            writes.deletes.add_range(&delete.key, &delete.range_end);
        }
    }
    for op in ops {
        if let Some(Op::RequestTxn(nested)) = &op.request {
            let (then, otherwise) = (collect(&nested.success)?, collect(&nested.failure)?);
            writes.add_branches(then, otherwise)?;
        }
    }
    for op in ops {
        if let Some(Op::RequestPut(put)) = &op.request {
            writes.add_put(&put.key)?;
        }
    }
    Ok(writes)
}

/// A set of keys made of half-open intervals. They are kept apart from each other, so that one look finds whether a key is inside.
#[derive(Default)]
struct Intervals {
    bounded: BTreeMap<Bytes, Bytes>,
    /// Where the widest interval without an end begins.
    endless: Option<Bytes>,
}

impl Intervals {
    fn contains(&self, key: &[u8]) -> bool {
        if self.endless.as_ref().is_some_and(|start| start.as_ref() <= key) {
            return true;
        }
        let before = self.bounded.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| key < end.as_ref())
    }

    fn add_range(&mut self, key: &Bytes, range_end: &Bytes) {
        match range_end.as_ref() {
            b"" => self.add(key.clone(), [key, b"\0".as_slice()].concat().into()),
            b"\0" => self.add_endless(key.clone()),
            _ => self.add(key.clone(), range_end.clone()),
        }
    }

    fn add_endless(&mut self, start: Bytes) {
        let start = self.endless.take().map_or(start.clone(), |known| known.min(start));
        self.endless = Some(start);
    }

    fn add(&mut self, mut start: Bytes, mut end: Bytes) {
        if end <= start {
            return;
        }
        // Every interval that touches the new one begins at or before its end; the last such is looked at until none touches.
        while let Some((near_start, near_end)) = self.bounded.range(..=end.clone()).next_back() {
            if *near_end < start {
                break;
            }
            let near_start = near_start.clone();
            end = end.max(near_end.clone());
            self.bounded.remove(&near_start);
            start = start.min(near_start);
        }
        self.bounded.insert(start, end);
    }

    fn add_all(&mut self, others: Self) {
        for (start, end) in others.bounded {
            self.add(start, end);
        }
        if let Some(start) = others.endless {
            self.add_endless(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::etcdserverpb::{DeleteRangeRequest, PutRequest};

    use super::*;

    fn put(key: &'static str) -> RequestOp {
        RequestOp { request: Some(Op::RequestPut(PutRequest { key: key.into(), ..Default::default() })) }
    }

    fn delete(key: &'static str, end: &'static str) -> RequestOp {
        let request = DeleteRangeRequest { key: key.into(), range_end: end.into(), ..Default::default() };
        RequestOp { request: Some(Op::RequestDeleteRange(request)) }
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp { request: Some(Op::RequestTxn(TxnRequest { success, failure, ..Default::default() })) }
    }

    fn overlap(success: Vec<RequestOp>) -> bool {
        overlaps(&TxnRequest { success, ..Default::default() }).is_err()
    }

    #[test]
    fn a_key_is_written_once() {
        assert!(overlap(vec![put("a"), put("a")]));
        assert!(!overlap(vec![put("a"), put("b")]));
        assert!(overlap(vec![put("b"), delete("a", "c")]));
        assert!(overlap(vec![delete("a", ""), put("a")]));
        assert!(!overlap(vec![delete("a", ""), put("aa"), put("a\0")]));
        assert!(!overlap(vec![delete("a", "c"), delete("b", "d"), put("d")]));
        assert!(overlap(vec![delete("a", "c"), delete("b", "d"), put("c")]));
    }

    #[test]
    fn the_two_branches_of_a_transaction_do_not_meet() {
        let both = TxnRequest { success: vec![put("a")], failure: vec![put("a")], ..Default::default() };
        assert_eq!(overlaps(&both), Ok(()));
        assert!(!overlap(vec![nested(vec![put("a")], vec![put("a")])]));
        assert!(overlap(vec![nested(vec![put("a")], vec![put("a")]), put("a")]));
        assert!(overlap(vec![nested(vec![], vec![put("a")]), nested(vec![put("a")], vec![])]));
    }

    #[test]
    fn a_nested_put_is_held_against_deletes_outside_before_and_after_it() {
        assert!(overlap(vec![nested(vec![put("b")], vec![]), delete("a", "c")]));
        assert!(overlap(vec![nested(vec![], vec![put("b")]), delete("a", "c")]));
        assert!(overlap(vec![nested(vec![delete("a", "c")], vec![]), nested(vec![put("b")], vec![])]));
        assert!(overlap(vec![nested(vec![put("b")], vec![]), nested(vec![delete("a", "c")], vec![])]));
        assert!(!overlap(vec![nested(vec![put("b")], vec![delete("a", "c")])]));
        assert!(overlap(vec![nested(vec![delete("a", "c")], vec![]), put("b")]));
    }

    #[test]
    fn a_delete_without_end_reaches_every_key_beyond_and_a_reversed_one_none() {
        assert!(overlap(vec![delete("b", "\0"), put("b")]));
        assert!(overlap(vec![put("c"), nested(vec![delete("b", "\0"), delete("c", "\0")], vec![])]));
        assert!(!overlap(vec![delete("b", "\0"), put("a")]));
        assert!(!overlap(vec![delete("c", "a"), put("b"), put("c"), put("a")]));
    }

    #[test]
    fn intervals_that_touch_become_one() {
        let mut intervals = Intervals::default();
        for (start, end) in [("a", "b"), ("x", "z"), ("d", "e"), ("b", "c"), ("0", "9"), ("c", "x")] {
            intervals.add(start.into(), end.into());
        }
        let kept: Vec<_> = intervals.bounded.iter().collect();
        assert_eq!(kept, [(&Bytes::from("0"), &Bytes::from("9")), (&Bytes::from("a"), &Bytes::from("z"))]);
        assert!(intervals.contains(b"dd") && !intervals.contains(b"z") && !intervals.contains(b"A"));
    }
}
