//! Taking over the history of another store under the numbers that it has there.
//!
//! An import has three kinds of steps: a beginning, the transactions by revision, and an end. What they come to are ordinary records and rows; only the
//! revision, and what etcd clients see as creation revision and version, are given instead of counted. Between beginning and end a
//! mark lies in the system's data: no other request is carried out, whoever reads is told by [`Store::is_importing`] to wait, and an import
//! that was interrupted goes on above the revision that was reached. The end makes leases and compaction known together with it, in one group.
//!
//! It begins only in a store that never counted a revision and knows no other replica's records: nobody has seen a number of it.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{LEASE_TTL_S_MAX, Operation, SYSTEM_VALUE_BYTES_MAX};

use crate::{
    Answer, Committer, Outcome, RequestError, Revision, Slot, Store, WallTime,
    index::{Index, View},
    plan::Draft,
    row::commit::{CommitRow, Effect},
};

mod plan;

/// One step of an import.
#[derive(Clone, Debug, PartialEq)]
pub enum Import {
    /// Begins, or goes on with what was begun with the same `plan`.
    Begin {
        /// What is imported, in the importer's words: kept while the import is under way.
        plan: Bytes,
    },
    /// Some transactions of the other store. When one is refused, those before it stand.
    Transactions(Vec<ImportedTransaction>),
    /// Everything is there.
    End(ImportEnd),
}

/// What the other store changed at one revision, as far as it still knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedTransaction {
    /// The revision: above all before.
    pub revision: i64,
    /// The changes, in their order there. No key is changed twice.
    pub changes: Vec<ImportedChange>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedChange {
    /// The key, not empty. One that is removed was put by an earlier transaction.
    pub key: Bytes,
    /// Which of the transaction's changes it is, from 0. Some may be missing: the other store has forgotten them.
    pub ordinal: u32,
    /// What it holds from then on; `None` when it was removed.
    pub pair: Option<ImportedPair>,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedPair {
    /// The value.
    pub value: Bytes,
    /// The revision at which the key came to be, which may lie before everything that is imported.
    pub create_revision: i64,
    /// Writes since then.
    pub version: i64,
    /// The lease.
    pub lease: ImportedLease,
}

/// The lease of an imported pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportedLease {
    /// None.
    None,
    /// One that the end of the import grants.
    Live(i64),
    /// One that has ended since. Its number is still told; it holds nothing.
    Ended(i64),
}

/// The end of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportEnd {
    /// The other store's revision: none below that of the last transaction.
    pub revision: i64,
    /// The revision of its compaction; 0 or less when there was none.
    pub compacted: i64,
    /// The leases, with their seconds to live: they begin now.
    pub leases: Vec<(i64, i64)>,
    /// What was imported, in the importer's words: kept for ever.
    pub summary: Bytes,
}

/// Why a step of an import was refused. Of transactions those before the one that is named stand; otherwise nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportFault {
    /// The store has counted revisions, granted leases, or knows other replicas.
    #[error("the store is not empty")]
    NotEmpty,
    /// Another import was begun before.
    #[error("another import was begun and is not finished")]
    OtherPlan,
    /// A step came without a beginning.
    #[error("no import is under way")]
    NotBegun,
    /// A revision is not above the one reached, or none that this replica could count.
    #[error("revision {revision} cannot follow revision {reached}")]
    Revision {
        /// The revision given.
        revision: i64,
        /// The one reached.
        reached: i64,
    },
    /// A pair's creation revision or version does not fit its revision.
    #[error("at revision {revision}, a pair has creation revision {create_revision} and version {version}")]
    Counts {
        /// The transaction's revision.
        revision: i64,
        /// The pair's creation revision.
        create_revision: i64,
        /// Its version.
        version: i64,
    },
    /// A key is empty, or a transaction changes it twice.
    #[error("revision {revision} changes no key, or one key twice")]
    Key {
        /// The transaction's revision.
        revision: i64,
    },
    /// A key is removed that is not there.
    #[error("revision {revision} removes a key that is not there")]
    Absent {
        /// The transaction's revision.
        revision: i64,
    },
    /// A lease has the number 0, or the number of another.
    #[error("there cannot be a lease {id}")]
    Lease {
        /// Its number.
        id: i64,
    },
    /// The compaction lies above the revision.
    #[error("revision {compacted} cannot be compacted at revision {revision}")]
    Compaction {
        /// The compaction's revision.
        compacted: i64,
        /// The store's.
        revision: i64,
    },
}

/// What is under way lies here in the system's data.
pub(crate) const UNDER_WAY: Bytes = Bytes::from_static(b"import/under-way");
/// What was imported lies here.
const DONE: Bytes = Bytes::from_static(b"import/done");
/// Leases granted in one record.
const GRANTS_MAX: usize = 10_000;

impl Store {
    /// Whether an import is under way, or was interrupted: then what is there is not all of it.
    pub fn is_importing(&self) -> bool {
        self.shared().is_importing.load(Ordering::Acquire)
    }

    /// The plan of the import that is under way or was interrupted.
    pub fn import_plan(&self) -> Option<Bytes> {
        let entry = self.system(&UNDER_WAY).into_iter().find(|entry| entry.key == UNDER_WAY)?;
        entry.siblings.into_iter().next().map(|sibling| sibling.value)
    }
}

impl Committer {
    /// Carries out one step.
    pub(crate) fn import(&mut self, wall: WallTime, step: Import) -> Result<Answer, RequestError> {
        match step {
            Import::Begin { plan } => self.begin_import(wall, plan)?,
            Import::Transactions(transactions) => {
                transactions.into_iter().try_for_each(|transaction| self.import_transaction(wall, transaction))?;
            }
            Import::End(end) => self.end_import(wall, end)?,
        }
        Ok(Answer { revision: self.head.revision, outcome: Outcome::Imported })
    }

    fn begin_import(&mut self, wall: WallTime, plan: Bytes) -> Result<(), RequestError> {
        if let Some(register) = self.head.system.get(&UNDER_WAY) {
            let is_same = register.winner().is_some_and(|(_, sibling)| sibling.value.value == plan);
            return if is_same { Ok(()) } else { Err(ImportFault::OtherPlan.into()) };
        }
        if !self.is_pristine() {
            return Err(ImportFault::NotEmpty.into());
        }
        let (draft, ()) = self.plan(|planned| planned.import_mark(&UNDER_WAY, Some(plan)))?;
        self.carry_out(wall, draft)?;
        // From here on, not from when it is durable: nothing else may come between.
        self.shared.is_importing.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether nobody can have seen anything of this store that an import would contradict.
    fn is_pristine(&self) -> bool {
        let head = &self.head;
        let is_alone = head.mesh.streams().all(|(dot, _)| dot.replica == head.mesh.own());
        let has_leases = self.shared.state.read().index.leases().next().is_some();
        head.numbers == Slot::FIRST.into()
            && head.revision == Slot::FIRST.beginning()
            && head.compacted <= 0
            && is_alone
            && !has_leases
    }

    fn import_transaction(&mut self, wall: WallTime, transaction: ImportedTransaction) -> Result<(), RequestError> {
        let revision = self.imported_revision(transaction.revision, self.head.revision.get() + 1)?;
        check_changes(&transaction)?;
        let numbers = transaction.changes.iter().map(|change| {
            let counts = change.pair.as_ref().map_or((0, 0), |pair| (pair.create_revision, pair.version));
            (change.key.clone(), Numbers { counts, ordinal: change.ordinal })
        });
        let given = Given { revision, numbers: numbers.collect() };
        let (draft, ()) = self.plan(|planned| planned.import(transaction))?;
        self.carry_out_as(wall, draft, Some(&given))
    }

    fn end_import(&mut self, wall: WallTime, end: ImportEnd) -> Result<(), RequestError> {
        let ImportEnd { revision, compacted, leases, summary } = end;
        let given =
            Given { revision: self.imported_revision(revision, self.head.revision.get())?, numbers: HashMap::new() };
        if compacted > revision {
            return Err(ImportFault::Compaction { compacted, revision }.into());
        }
        check_leases(&leases)?;
        if summary.len() > SYSTEM_VALUE_BYTES_MAX {
            let (what, bytes, max) = ("value", summary.len(), SYSTEM_VALUE_BYTES_MAX);
            return Err(RequestError::SystemTooLarge { what, bytes, max });
        }
        // All of this is one group: nothing reaches the disk before the call has returned.
        for grants in leases.chunks(GRANTS_MAX) {
            let mut draft = Draft::default();
            draft
                .mesh
                .extend(grants.iter().map(|&(id, ttl_s)| Operation::LeaseGrant { id, ttl_s: ttl_s.cast_unsigned() }));
            self.carry_out_as(wall, draft, Some(&given))?;
        }
        let (draft, ()) = self.plan(|planned| planned.import_mark(&DONE, Some(summary)))?;
        self.carry_out_as(wall, draft, Some(&given))?;
        if compacted > 0 {
            self.rebase(wall, compacted, true)?;
        }
        let (draft, ()) = self.plan(|planned| planned.import_mark(&UNDER_WAY, None))?;
        self.carry_out(wall, draft)
    }

    /// A revision of an import that is under way, at least `least`, and one that this replica could have counted.
    fn imported_revision(&self, number: i64, least: i64) -> Result<Revision, ImportFault> {
        self.head.system.get(&UNDER_WAY).ok_or(ImportFault::NotBegun)?;
        let revision = Revision::new(number).filter(|given| given.slot() == self.head.numbers.slot && number >= least);
        revision.ok_or(ImportFault::Revision { revision: number, reached: self.head.revision.get() })
    }
}

/// The numbers that an imported transaction has.
pub(crate) struct Given {
    pub(crate) revision: Revision,
    numbers: HashMap<Bytes, Numbers>,
}

/// Those of one change.
struct Numbers {
    /// Creation revision and version.
    counts: (i64, i64),
    ordinal: u32,
}

impl Given {
    /// Puts them where those are that were counted.
    pub(crate) fn stamp(&self, number: u64, row: &mut CommitRow, index: &mut Index) {
        for effect in &mut row.effects {
            let given = self.numbers.get(effect.key());
            row.ordinals.push(given.map_or(u32::MAX, |given| given.ordinal));
            let Effect::Show { key, create_revision, version, .. } = effect else { continue };
            let Some(Numbers { counts, .. }) = given else { continue };
            (*create_revision, *version) = *counts;
            let touch = index.entry(key).touches.last_mut().filter(|touch| touch.commit == number);
            if let Some(View::Shown(shown)) = touch.map(|touch| &mut touch.view) {
                (shown.create_revision, shown.version) = *counts;
            }
        }
        row.leave_out_plain_ordinals();
    }
}

fn check_changes(transaction: &ImportedTransaction) -> Result<(), ImportFault> {
    let revision = transaction.revision;
    let mut seen = HashSet::new();
    for ImportedChange { key, pair, .. } in &transaction.changes {
        if key.is_empty() || !seen.insert(key) {
            return Err(ImportFault::Key { revision });
        }
        if let &Some(ImportedPair { create_revision, version, .. }) = pair
            && (!(1..=revision).contains(&create_revision) || version < 1)
        {
            return Err(ImportFault::Counts { revision, create_revision, version });
        }
    }
    if seen.is_empty() { Err(ImportFault::Key { revision }) } else { Ok(()) }
}

fn check_leases(leases: &[(i64, i64)]) -> Result<(), RequestError> {
    let mut seen = HashSet::new();
    for &(id, ttl_s) in leases {
        if id == 0 || !seen.insert(id) {
            return Err(ImportFault::Lease { id }.into());
        }
        if !u64::try_from(ttl_s).is_ok_and(|ttl_s| (1..=LEASE_TTL_S_MAX).contains(&ttl_s)) {
            return Err(RequestError::LeaseTtl { ttl_s });
        }
    }
    Ok(())
}
