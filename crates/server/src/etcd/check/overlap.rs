//! Whether a transaction writes one key twice.
//!
//! The rule is etcd's: both branches of a nested transaction may write the same key, as only one runs, and two deletes may meet. etcd has two gaps in
//! it, through which one key gets two events at one revision (or the server ends with a panic, if the put asks for what the delete has removed): a delete to
//! the end of the key space (`"\0"`) is held against no put, and a nested delete not against the puts of nested transactions before it. Here
//! both are refused like every other overlap.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    puts: BTreeSet<Bytes>,
    deletes: Intervals,
}

impl Writes {
    fn add_put(&mut self, key: &Bytes) -> Result<(), Fault> {
        let fresh = !self.deletes.contains(key) && self.puts.insert(key.clone());
        if fresh { Ok(()) } else { Err(Fault::DuplicateKey) }
    }

    /// Adds what either branch of a nested transaction writes. The branches are held against what is here, not against each other.
    fn add_branches(&mut self, then: Self, otherwise: Self) -> Result<(), Fault> {
        if then.deletes.meet(&self.puts) || otherwise.deletes.meet(&self.puts) {
            return Err(Fault::DuplicateKey);
        }
        for key in &then.puts {
            self.add_put(key)?;
        }
        for key in otherwise.puts.difference(&then.puts) {
            self.add_put(key)?;
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
            writes.deletes.add(delete.key.clone(), End::of(&delete.key, &delete.range_end));
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

/// Where an interval of keys ends. The order of the variants is their order in the key space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Before(Bytes),
    Unbounded,
}

impl End {
    fn of(key: &[u8], range_end: &Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::Before([key, b"\0"].concat().into()),
            [0] => Self::Unbounded,
            _ => Self::Before(range_end.clone()),
        }
    }

    fn is_beyond(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Unbounded => true,
        }
    }

    fn as_bound(&self) -> Bound<&Bytes> {
        match self {
            Self::Before(end) => Bound::Excluded(end),
            Self::Unbounded => Bound::Unbounded,
        }
    }
}

/// A set of keys made of half-open intervals. They are kept apart from each other, so that one look finds whether a key is inside.
#[derive(Default)]
struct Intervals(BTreeMap<Bytes, End>);

impl Intervals {
    fn contains(&self, key: &[u8]) -> bool {
        let before = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, end)| end.is_beyond(key))
    }

    fn meet(&self, keys: &BTreeSet<Bytes>) -> bool {
        self.0
            .iter()
            .any(|(start, end)| keys.range::<Bytes, _>((Bound::Included(start), end.as_bound())).next().is_some())
    }

    fn add(&mut self, mut start: Bytes, mut end: End) {
        if !end.is_beyond(&start) {
            return;
        }
        // Intervals that touch the new one are taken into it: the last that begins at or before its end is looked at until none touches.
        while let Some((near_start, near_end)) = self.last_from(&end) {
            if !near_end.is_beyond(&start) && near_end != End::Before(start.clone()) {
                break;
            }
            self.0.remove(&near_start);
            start = start.min(near_start);
            end = end.max(near_end);
        }
        self.0.insert(start, end);
    }

    fn last_from(&self, end: &End) -> Option<(Bytes, End)> {
        let near = match end {
            End::Before(end) => self.0.range(..=end.clone()).next_back(),
            End::Unbounded => self.0.iter().next_back(),
        };
        near.map(|(start, end)| (start.clone(), end.clone()))
    }

    fn add_all(&mut self, others: Self) {
        for (start, end) in others.0 {
            self.add(start, end);
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
        assert!(!overlap(vec![nested(vec![put("a")], vec![delete("a", "\0")])]));
        assert!(overlap(vec![nested(vec![put("a")], vec![put("a")]), put("a")]));
        assert!(overlap(vec![nested(vec![], vec![put("a")]), nested(vec![put("a")], vec![])]));
    }

    #[test]
    fn a_nested_write_is_held_against_those_outside_before_and_after_it() {
        assert!(overlap(vec![nested(vec![put("b")], vec![]), delete("a", "c")]));
        assert!(overlap(vec![nested(vec![], vec![put("b")]), delete("a", "c")]));
        assert!(overlap(vec![nested(vec![delete("a", "c")], vec![]), nested(vec![put("b")], vec![])]));
        assert!(overlap(vec![nested(vec![put("b")], vec![]), nested(vec![delete("a", "c")], vec![])]));
        assert!(overlap(vec![nested(vec![delete("a", "c")], vec![]), put("b")]));
        assert!(!overlap(vec![nested(vec![delete("a", "c")], vec![]), nested(vec![delete("b", "\0")], vec![])]));
    }

    #[test]
    fn a_delete_to_the_end_covers_every_later_key_and_a_reversed_one_none() {
        assert!(overlap(vec![delete("a", "\0"), put("b")]));
        assert!(!overlap(vec![delete("b", "\0"), put("a")]));
        assert!(!overlap(vec![delete("c", "a"), put("b"), put("c"), put("a")]));
    }

    #[test]
    fn intervals_that_touch_become_one() {
        let mut intervals = Intervals::default();
        for (start, end) in [("a", "b"), ("x", "z"), ("d", "e"), ("b", "c"), ("0", "9"), ("c", "x")] {
            intervals.add(start.into(), End::Before(end.into()));
        }
        let kept: Vec<_> = intervals.0.iter().map(|(start, end)| (start.as_ref(), end.clone())).collect();
        assert_eq!(kept, [(&b"0"[..], End::Before("9".into())), (b"a", End::Before("z".into()))]);
        assert!(intervals.contains(b"dd") && !intervals.contains(b"z") && !intervals.contains(b"A"));
        intervals.add("5".into(), End::Unbounded);
        assert_eq!(intervals.0.into_iter().collect::<Vec<_>>(), [("0".into(), End::Unbounded)]);
    }
}
