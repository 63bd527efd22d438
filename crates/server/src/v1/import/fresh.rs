//! An import into a replica that is not empty, or not alone: ordinary writes, one for each pair, in the order of the revisions that they had.
//!
//! A key that holds something else is left as it is, and told, unless the importer wants it overwritten. So an import that was interrupted can be
//! made again: what it had written is found unchanged.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tombolo_crdt::LEASE_TTL_S_MAX;
use tombolo_proto::v1::{ImportChange, ImportDone, ImportLease, ImportTransaction};
use tombolo_storage::{
    Comparison, Guard, KeyRange, Op, OpAnswer, Operand, Outcome, Put, RangeQuery, Request, RequestError, Transaction,
};

use super::{Counts, bad, of_refusal};
use crate::{
    committer::{Refusal, Reply},
    etcd::status::Fault,
    replica::Replica,
};

/// Conflicting keys that are named.
const CONFLICTS_NAMED_MAX: usize = 100;
/// Pairs under way at a time. They share the committer with everybody else.
const PAIRS_UNDER_WAY_MAX: usize = 256;
/// What is waited before a queue that was full is tried again.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Fresh {
    replica: Arc<Replica>,
    overwrites: bool,
    is_dry: bool,
    leases: HashSet<i64>,
    counts: Counts,
    done: ImportDone,
    reached: i64,
}

/// What became of one pair.
enum Fate {
    Written,
    Unchanged,
    Conflict,
}

impl Fresh {
    pub(super) fn new(replica: Arc<Replica>, overwrites: bool, is_dry: bool) -> Self {
        let (leases, counts, done) = Default::default();
        Self { replica, overwrites, is_dry, leases, counts, done, reached: 0 }
    }

    /// Grants the leases that are not there.
    pub(super) async fn leases(&mut self, leases: Vec<ImportLease>) -> Result<(), Fault> {
        for ImportLease { id, ttl_s } in leases {
            if id == 0 || !self.leases.insert(id) {
                return Err(bad("a lease has no number, or that of another"));
            }
            let ttl_s = ttl_s.clamp(1, LEASE_TTL_S_MAX.cast_signed());
            let granted = if self.is_dry {
                let is_there = self.replica.store.lease_home(id).is_some();
                if is_there { Err(RequestError::LeaseExists { id }.into()) } else { Ok(()) }
            } else {
                self.commit(Request::LeaseGrant { id, ttl_s }, 0).await.map(drop)
            };
            match granted {
                Ok(()) => self.done.leases += 1,
                Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseExists { .. }) => {
                    self.done.leases_found += 1;
                }
                Err(why) => return Err(of_refusal(why)),
            }
        }
        Ok(())
    }

    /// Answers the revision of the source up to which everything is written.
    pub(super) async fn take(&mut self, transactions: Vec<ImportTransaction>) -> Result<i64, Fault> {
        let last = transactions.last().map_or(self.reached, |transaction| transaction.revision);
        let changes: Vec<ImportChange> = transactions.into_iter().flat_map(|transaction| transaction.changes).collect();
        if changes.iter().any(|change| change.is_removal) {
            return Err(bad("history can only be imported where its numbers can be kept"));
        }
        for some in changes.chunks(PAIRS_UNDER_WAY_MAX) {
            // One after the other enters the queue: the first poll of each does.
            let fates = join_all(some.iter().map(|change| self.put(change))).await;
            for (change, fate) in some.iter().zip(fates) {
                match fate? {
                    Fate::Written => self.counts.puts += 1,
                    Fate::Unchanged => self.done.unchanged += 1,
                    Fate::Conflict => self.conflict(&change.key),
                }
            }
        }
        self.reached = last;
        Ok(last)
    }

    fn conflict(&mut self, key: &Bytes) {
        self.done.conflicts += 1;
        if self.done.conflicting_keys.len() < CONFLICTS_NAMED_MAX {
            self.done.conflicting_keys.push(key.clone());
        }
    }

    /// Writes a pair where nothing is, or where it may replace what is there.
    async fn put(&self, change: &ImportChange) -> Result<Fate, Fault> {
        let range = KeyRange::single(change.key.clone());
        let lease = if self.leases.contains(&change.lease) { change.lease } else { 0 };
        let absent = Guard { range: range.clone(), operand: Operand::CreateRevision(0), comparison: Comparison::Equal };
        let put = Op::Put(Put {
            key: change.key.clone(),
            value: Some(change.value.clone()),
            lease: Some(lease),
            previous: false,
        });
        let look = Op::Range(RangeQuery::all(range));
        let first = if self.is_dry { Vec::new() } else { vec![put.clone()] };
        let transaction = Transaction { guards: vec![absent], then: first, otherwise: vec![look] };
        let bytes = change.key.len() + change.value.len();
        let answer = self.commit(Request::Txn(transaction), bytes).await.map_err(of_refusal)?;
        let Outcome::Txn(answer) = answer.outcome else { return Ok(Fate::Written) };
        let Some(OpAnswer::Range(found)) = answer.results.into_iter().next().filter(|_| !answer.succeeded) else {
            return Ok(Fate::Written);
        };
        let is_same = found.pairs.iter().any(|pair| pair.value == change.value && pair.lease == lease);
        match (is_same, self.overwrites) {
            (true, _) => Ok(Fate::Unchanged),
            (false, false) => Ok(Fate::Conflict),
            (false, true) if self.is_dry => Ok(Fate::Written),
            (false, true) => {
                let over = Transaction { then: vec![put], ..Transaction::default() };
                self.commit(Request::Txn(over), bytes).await.map_err(of_refusal)?;
                Ok(Fate::Written)
            }
        }
    }

    /// As the queue takes it: an importer has time.
    async fn commit(&self, request: Request, bytes: usize) -> Reply {
        loop {
            match self.replica.commit(request.clone(), bytes).await {
                Err(Refusal::QueueFull) => tokio::time::sleep(PAUSE).await,
                reply => return reply,
            }
        }
    }

    pub(super) fn end(self) -> ImportDone {
        let counted = self.counts.done(&self.replica);
        ImportDone {
            leases: self.done.leases,
            leases_found: self.done.leases_found,
            conflicts: self.done.conflicts,
            conflicting_keys: self.done.conflicting_keys,
            unchanged: self.done.unchanged,
            ..counted
        }
    }
}
