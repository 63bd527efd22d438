//! The quota: how many bytes of rows a store may have in use before clients can add no more.
//!
//! It is held against what the rows take, not against the disk, where compacted rows lie a while longer. A write that does not fit is
//! refused, and from then on every write that adds, until there is room again: nobody has to say so. What deletes, compacts or ends
//! leases is always taken. So are the system's own data, which are few, and records of other replicas: what would free space may be among
//! them, and each site holds its own clients to its own quota.

use crate::{Import, ImportedChange, Op, Put, Request, TailWrite, Transaction, health::HealthState};

/// The quota of one store.
pub(crate) struct Quota {
    /// Bytes; `None` when there is no quota.
    limit: Option<u64>,
    /// Room that must be left before the refusals end: about what the request that began them would have taken.
    margin: u64,
}

impl Quota {
    pub(crate) fn of(limit: Option<u64>) -> Self {
        Self { limit, margin: 0 }
    }

    /// Whether a request may go on, with `used` bytes in use.
    pub(crate) fn admits(&mut self, request: &Request, used: u64, health: &HealthState) -> bool {
        let cost = cost(request);
        if cost == 0 {
            return true;
        }
        if health.is_closed() {
            return false;
        }
        let Some(limit) = self.limit else { return true };
        self.refresh(used, health);
        let fits = used.saturating_add(cost) < limit;
        if !fits {
            // A request that can never fit must not keep out all others for ever.
            self.margin = cost.min(limit / MARGIN_SHARE);
            health.set_over_quota(true);
        }
        fits && !health.is_over_quota()
    }

    /// Takes note of what is in use now: refusals begin when the quota is reached, and end when there is room again.
    pub(crate) fn refresh(&mut self, used: u64, health: &HealthState) {
        let Some(limit) = self.limit else { return };
        if used >= limit {
            health.set_over_quota(true);
        } else if health.is_over_quota() && used.saturating_add(self.margin) < limit {
            self.margin = 0;
            health.set_over_quota(false);
        }
    }
}

/// The share of the quota that must be free at most before refusals end.
const MARGIN_SHARE: u64 = 16;
/// What a pair takes besides its bytes, about.
const PAIR_BYTES: u64 = 256;
/// What a lease takes, about.
const LEASE_BYTES: u64 = 64;

/// What a request may add, about; 0 when it only reads or frees.
fn cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => put_cost(put),
        Request::Txn(transaction) => transaction_cost(transaction),
        Request::LeaseGrant { .. } => LEASE_BYTES,
        Request::Import(step) => import_cost(step),
        Request::Enter { writes, system, .. } => writes.iter().chain(system).map(tail_cost).sum(),
        Request::Delete(_)
        | Request::Compact { .. }
        | Request::LeaseRevoke { .. }
        | Request::LeaseRevokeOf { .. }
        | Request::LeaseKeys { .. }
        | Request::System(_) => 0,
    }
}

fn tail_cost(write: &TailWrite) -> u64 {
    write.value.as_ref().map_or(0, |(value, _)| PAIR_BYTES + (write.key.len() + value.len()) as u64)
}

fn import_cost(step: &Import) -> u64 {
    match step {
        Import::Begin { .. } | Import::End(_) => 0,
        Import::Transactions(transactions) => {
            transactions.iter().flat_map(|transaction| &transaction.changes).map(change_cost).sum()
        }
    }
}

fn change_cost(change: &ImportedChange) -> u64 {
    change.pair.as_ref().map_or(0, |pair| PAIR_BYTES + (change.key.len() + pair.value.len()) as u64)
}

fn put_cost(put: &Put) -> u64 {
    PAIR_BYTES + (put.key.len() + put.value.as_ref().map_or(0, bytes::Bytes::len)) as u64
}

fn transaction_cost(transaction: &Transaction) -> u64 {
    branch_cost(&transaction.then).max(branch_cost(&transaction.otherwise))
}

fn branch_cost(ops: &[Op]) -> u64 {
    let costs = ops.iter().map(|op| match op {
        Op::Put(put) => put_cost(put),
        Op::Txn(nested) => transaction_cost(nested),
        Op::Range(_) | Op::Delete(_) => 0,
    });
    costs.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Delete, KeyRange};

    const LIMIT: u64 = 1 << 20;

    fn put(bytes: usize) -> Put {
        Put { key: Bytes::from_static(b"a"), value: Some(vec![0; bytes].into()), lease: Some(0), previous: false }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_then_all_that_adds_until_there_is_room() {
        let (mut quota, health) = (Quota::of(Some(LIMIT)), HealthState::default());
        let large = Request::Put(put(10_000));
        let small = Request::Put(put(10));
        assert!(quota.admits(&large, LIMIT - 11_000, &health));
        assert!(!health.is_over_quota());
        assert!(!quota.admits(&large, LIMIT - 10_000, &health));
        assert!(health.is_over_quota());
        assert!(!quota.admits(&small, LIMIT - 10_000, &health), "there would be room for it, but the alarm is on");
        assert!(!quota.admits(&Request::LeaseGrant { id: 1, ttl_s: 1 }, LIMIT - 10_000, &health));
        quota.refresh(LIMIT - 10_200, &health);
        assert!(health.is_over_quota(), "what began it would not fit yet");
        quota.refresh(LIMIT - 11_000, &health);
        assert!(!health.is_over_quota());
        assert!(quota.admits(&large, LIMIT - 11_000, &health));
    }

    #[test]
    fn what_frees_or_reads_is_taken_whatever_is_in_use() {
        let (mut quota, health) = (Quota::of(Some(LIMIT)), HealthState::default());
        quota.refresh(LIMIT * 2, &health);
        let delete = || Op::Delete(Delete { range: KeyRange::all(), previous: false });
        let freeing = Transaction { then: vec![delete()], otherwise: vec![delete()], ..Default::default() };
        for taken in [
            Request::Txn(freeing.clone()),
            Request::Compact { revision: 1 },
            Request::LeaseRevoke { id: 1 },
            Request::System(Vec::new()),
        ] {
            assert!(quota.admits(&taken, LIMIT * 2, &health), "{taken:?}");
        }
        let nested = Transaction { then: vec![Op::Put(put(1))], ..Default::default() };
        let adding = Transaction { otherwise: vec![Op::Txn(nested)], ..freeing };
        assert!(!quota.admits(&Request::Txn(adding), LIMIT * 2, &health), "one branch adds");
    }

    #[test]
    fn a_request_larger_than_the_quota_does_not_keep_others_out() {
        let (mut quota, health) = (Quota::of(Some(LIMIT)), HealthState::default());
        assert!(!quota.admits(&Request::Put(put(LIMIT as usize)), 0, &health));
        assert!(health.is_over_quota());
        assert!(quota.admits(&Request::Put(put(10)), 0, &health));
        assert!(!health.is_over_quota());
    }

    #[test]
    fn without_a_quota_only_a_hand_closes_the_store() {
        let (mut quota, health) = (Quota::of(None), HealthState::default());
        assert!(quota.admits(&Request::Put(put(10)), u64::MAX, &health));
        health.set_closed(true);
        assert!(!quota.admits(&Request::Put(put(10)), 0, &health));
        assert!(quota.admits(&Request::Compact { revision: 1 }, 0, &health));
        health.set_closed(false);
        assert!(quota.admits(&Request::Put(put(10)), 0, &health));
    }
}
