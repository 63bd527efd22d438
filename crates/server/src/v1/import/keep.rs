//! An import into a replica that is empty and alone: everything has the numbers that it had.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use prost::Message;
use tombolo_crdt::LEASE_TTL_S_MAX;
use tombolo_proto::v1::{ImportChange, ImportDone, ImportLease, ImportPlan, ImportTransaction};
use tombolo_storage::{
    Import, ImportEnd, ImportFault, ImportedChange, ImportedLease, ImportedPair, ImportedTransaction, Request,
};

use super::{Counts, bad, of_refusal, refused};
use crate::{etcd::status::Fault, replica::Replica};

/// Leases of one import: sixteen bytes each, and nobody has as many.
const LEASES_MAX: usize = 4 << 20;

pub(super) struct Keep {
    replica: Arc<Replica>,
    plan: ImportPlan,
    is_dry: bool,
    leases: HashMap<i64, i64>,
    counts: Counts,
    /// The revision up to which transactions are there.
    reached: i64,
}

impl Keep {
    /// Begins, or goes on with what was interrupted. Answers also the revision that was reached then.
    pub(super) async fn begin(replica: Arc<Replica>, plan: ImportPlan, is_dry: bool) -> Result<(Self, i64), Fault> {
        if plan.revision < 1 || !(0..=plan.revision).contains(&plan.compacted_revision) {
            return Err(bad("the revisions of the plan cannot be those of a store"));
        }
        let keep = Self { replica, plan, is_dry, leases: HashMap::new(), counts: Counts::default(), reached: 0 };
        keep.step(Import::Begin { plan: keep.plan.encode_to_vec().into() }, 0).await?;
        let reached = keep.replica.store.published().revision.get();
        Ok((Self { reached, ..keep }, reached))
    }

    pub(super) fn leases(&mut self, leases: Vec<ImportLease>) -> Result<(), Fault> {
        if self.leases.len() + leases.len() > LEASES_MAX {
            return Err(bad("there are too many leases"));
        }
        for ImportLease { id, ttl_s } in leases {
            match self.leases.entry(id) {
                Entry::Occupied(_) => return Err(refused(&ImportFault::Lease { id })),
                // What a lease cannot live for here is as long as it can.
                Entry::Vacant(free) => free.insert(ttl_s.clamp(1, LEASE_TTL_S_MAX.cast_signed())),
            };
        }
        Ok(())
    }

    /// Answers the revision up to which transactions are there.
    pub(super) async fn take(&mut self, transactions: Vec<ImportTransaction>) -> Result<i64, Fault> {
        let mut bytes = 0;
        let mut imported = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            self.reached = transaction.revision;
            let changes = transaction.changes.into_iter().map(|change| {
                bytes += change.key.len() + change.value.len();
                self.change(change)
            });
            imported.push(ImportedTransaction { revision: transaction.revision, changes: changes.collect() });
        }
        if !imported.is_empty() {
            self.step(Import::Transactions(imported), bytes).await?;
        }
        Ok(self.reached)
    }

    fn change(&mut self, change: ImportChange) -> ImportedChange {
        let ImportChange { key, ordinal, is_removal, value, create_revision, version, lease } = change;
        *(if is_removal { &mut self.counts.removals } else { &mut self.counts.puts }) += 1;
        let lease = match lease {
            0 => ImportedLease::None,
            id if self.leases.contains_key(&id) => ImportedLease::Live(id),
            id => ImportedLease::Ended(id),
        };
        let pair = ImportedPair { value, create_revision, version, lease };
        ImportedChange { key, ordinal, pair: (!is_removal).then_some(pair) }
    }

    pub(super) async fn end(mut self) -> Result<ImportDone, Fault> {
        let leases: Vec<(i64, i64)> = std::mem::take(&mut self.leases).into_iter().collect();
        let count = leases.len() as u64;
        let ImportPlan { revision, compacted_revision: compacted, .. } = self.plan;
        let summary = self.plan.encode_to_vec().into();
        self.step(Import::End(ImportEnd { revision, compacted, leases, summary }), 0).await?;
        let done = self.counts.done(&self.replica);
        let (revision, compacted_revision) =
            if self.is_dry { (revision, compacted) } else { (done.revision, done.compacted_revision) };
        Ok(ImportDone { kept_numbers: true, revision, compacted_revision, leases: count, ..done })
    }

    /// Has the store carry out a step, unless all of this is but a rehearsal.
    async fn step(&self, step: Import, bytes: usize) -> Result<(), Fault> {
        if self.is_dry {
            return Ok(());
        }
        self.replica.commit(Request::Import(Box::new(step)), bytes).await.map(drop).map_err(of_refusal)
    }
}
