//! A group of commits on its way to the disk, and to readers.
//!
//! Writing and waiting for the disk are most of the time a put takes, and need nothing of the committer. A caller that has a second
//! thread for them executes meanwhile, and a sync covers whatever was sealed before it began:
//!
//! 1. [`Committer::seal`] closes a group; executing goes on at once, beside what is not written yet, and further groups may be sealed;
//! 2. [`Group::persist`], or [`Disk::sync`], on any thread, writes what is sealed and waits for the disk;
//! 3. [`Committer::publish`] makes a group visible, and only then is anything acknowledged. Groups are published in order.
//!
//! [`Committer::commit`] is all three.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tombolo_crdt::{Dot, mutation::Mutation};

use crate::{
    Commit, CommitError, Committer, Disk, SystemSibling,
    engine::{Change, Persist},
    fence::Fence,
    heads::NewestHeads,
    import::UNDER_WAY,
    log::{Log, Stream},
    outbox::{self, Batch},
    row::{bound::Bound, sheet::SealedSheet},
    store::{Published, Shared},
    system,
};

/// A group of commits on its way to the disk, and to readers.
#[must_use = "a group that is dropped is never published, and none after it can be"]
pub struct Group {
    shared: Arc<Shared>,
    number: u64,
    rows: Arc<SealedSheet>,
    commits: Vec<Arc<Commit>>,
    landmark: Landmark,
}

/// Where everything stood when a group was closed: what readers are shown once it is durable.
struct Landmark {
    published: Published,
    /// The last record of each author of which the group holds records, and where its stream stands after it.
    heads: Vec<(Dot, Stream)>,
    digest: u128,
    /// What the keys of the system's data hold that the group changed.
    system: Vec<(Bytes, Arc<[SystemSibling]>)>,
    /// Who signed what came from peers, newest of each author.
    signed: NewestHeads,
    row_bytes: u64,
    /// The hashes of the rows that were there when the store was opened, and what has come of compactions and transfers since.
    row_hashes: u128,
    base: Option<StagedBase>,
    /// The ordinal of the newest base row.
    base_ordinal: u64,
    fence: Fence,
}

/// What readers must know of a compaction once it is durable.
#[derive(Clone, Copy)]
pub(crate) struct StagedBase {
    pub(crate) horizon: u64,
    pub(crate) first: u64,
    /// Whether a transfer was joined: the log begins elsewhere from the moment that it is visible.
    pub(crate) is_join: bool,
}

/// Groups that were sealed and have not been published.
#[derive(Default)]
pub(crate) struct UnderWay {
    /// The rows of each: the engine may not have them yet.
    sheets: VecDeque<Arc<SealedSheet>>,
    /// Those of them that hold a compaction.
    pub(crate) bases: u64,
    /// The last group that was published.
    published: u64,
}

impl Group {
    /// Waits until the group, and every one sealed so far, is written and as durable as the store's [`Durability`](crate::Durability) asks. Failure
    /// is not told here but to whoever publishes the group.
    pub fn persist(&mut self) {
        if !self.is_settled() {
            Disk::of(&self.shared).sync();
        }
    }

    /// Whether it is known what has become of the group: somebody has waited for it, or for a later one.
    pub fn is_settled(&self) -> bool {
        self.shared.reached.outcome(self.number).is_some()
    }

    /// Commits in the group.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Whether the group holds no commits, but only a compaction.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}

impl Committer {
    /// Makes everything executed so far durable, as one group, and publishes it.
    ///
    /// Returns the commits in order, for watchers and leases.
    ///
    /// # Errors
    ///
    /// After a failed write or sync nobody knows what is on disk. The store is poisoned: it answers reads of what was published
    /// before, refuses everything else until it is reopened, and the folder needs a new identity then.
    ///
    /// # Panics
    ///
    /// When a group that was sealed has not been published: groups are published in order.
    pub fn commit(&mut self) -> Result<Vec<Arc<Commit>>, CommitError> {
        self.check_health()?;
        assert!(!self.staged.under_way.is_any(), "commit was called while a sealed group is under way");
        let Some(mut group) = self.seal()? else { return Ok(Vec::new()) };
        group.persist();
        self.publish(group)
    }

    /// Closes the group of everything executed so far, for the caller to [persist](Group::persist) and to [publish](Self::publish). Under
    /// a [`Durability`](crate::Durability) that waits for no sync it is handed to the operating system here. `None` when nothing was executed.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn seal(&mut self) -> Result<Option<Group>, CommitError> {
        self.check_health()?;
        self.remove_orphans()?;
        if self.staged.rows.is_empty() && self.staged.changes.is_empty() {
            return Ok(None);
        }
        let number = self.shared.reached.next_group();
        let rows = Arc::new(self.staged.rows.seal());
        let changes = std::mem::take(&mut self.staged.changes);
        let batch = Batch { group: number, rows: Arc::clone(&rows), changes };
        self.staged.under_way.sheets.push_back(Arc::clone(&rows));
        self.prepare_write(batch.bytes())?;
        let is_weak = self.shared.durability.is_weak();
        if self.shared.outbox.is_syncing() {
            // Half of the work of writing. When the sync has ended by then, whoever waits for the next one does the rest.
            self.staged.under_way.bind(&self.shared.outbox.bound);
        }
        self.shared.outbox.put(batch);
        if is_weak || self.shared.outbox.is_syncing() {
            self.shared.write_sealed().map_err(|cause| self.poison(cause))?;
        }
        if is_weak {
            self.shared.reached.note_durable(number);
        }
        self.shared.reached.note_sealed(number);
        if Mutation::VectorBeforeData.is_on() {
            self.bind();
        }
        let landmark = self.landmark();
        if Mutation::VectorBeforeData.is_on() {
            let mut state = self.shared.state.write();
            landmark.heads.iter().for_each(|(last, chain)| state.advance(*last, chain.clone()));
        }
        self.staged.under_way.bases += u64::from(landmark.base.is_some());
        let commits = std::mem::take(&mut self.staged.commits);
        Ok(Some(Group { shared: Arc::clone(&self.shared), number, rows, commits, landmark }))
    }

    /// Binds everything executed so far: for who needs a chain of this replica's records, or the hashes of rows, before a group is published.
    pub(crate) fn bind(&mut self) {
        let Shared { outbox, .. } = &*self.shared;
        self.staged.under_way.bind(&outbox.bound);
        let mut bound = outbox.bound.lock();
        self.staged.rows.bind(&mut bound);
        let last = |log: &Log| log.frontier().seq(log.own());
        self.head.bind([last(&self.head.mesh), last(&self.head.private)], bound.chains());
        self.tally.hashes = self.tally.hashes.wrapping_add(bound.hashes.wrapping_sub(self.staged.counted));
        self.staged.counted = bound.hashes;
    }

    /// Where everything stands now, but for what binding the rows will tell.
    fn landmark(&mut self) -> Landmark {
        let head = &self.head;
        let changed = std::mem::take(&mut self.staged.system);
        Landmark {
            published: Published { commit: head.commit, revision: head.revision, compacted: head.compacted },
            heads: head.mesh.heads_above(&self.shared.state.read().frontier),
            digest: head.digest.bits(),
            system: changed.into_iter().map(|key| (key.clone(), head.system.told(&key))).collect(),
            signed: std::mem::take(&mut self.staged.heads),
            row_bytes: self.tally.bytes,
            row_hashes: self.tally.hashes.wrapping_sub(self.staged.counted),
            base: self.staged.base.take(),
            base_ordinal: self.compaction.base().map_or(0, |(ordinal, _)| *ordinal),
            fence: self.fence.at(head),
        }
    }

    /// Makes a durable group visible. Returns its commits in order, for watchers and leases.
    ///
    /// # Errors
    ///
    /// The group was not persisted, or that failed: see [`commit`](Self::commit). A group that was durable before another failed
    /// is published all the same.
    ///
    /// # Panics
    ///
    /// When one sealed before it has not been published.
    pub fn publish(&mut self, group: Group) -> Result<Vec<Arc<Commit>>, CommitError> {
        let outcome = self.shared.reached.outcome(group.number);
        let outcome = outcome.unwrap_or_else(|| Err("a group was published that is not on disk".to_owned()));
        outcome.map_err(|cause| self.poison(cause))?;
        let Landmark {
            published,
            mut heads,
            digest,
            system,
            signed,
            row_bytes,
            row_hashes,
            base,
            base_ordinal,
            mut fence,
        } = group.landmark;
        let bound = group.rows.bound().expect("a group that is on disk was bound before it was written");
        let chains @ [mesh, _] = bound.chains();
        let own = self.head.mesh.own();
        heads.iter_mut().filter(|(last, _)| last.replica == own).for_each(|(_, stream)| stream.chain = mesh);
        fence.bind(chains);
        self.head.bind([fence.mesh.seq, fence.private.seq], chains);
        self.staged.under_way.pass(group.number, base.is_some());
        let is_importing = system.iter().find(|(key, _)| *key == UNDER_WAY).map(|(_, held)| !held.is_empty());
        {
            let mut state = self.shared.state.write();
            (state.published, state.digest, state.row_bytes) = (published, digest, row_bytes);
            state.row_hashes = row_hashes.wrapping_add(bound.hashes);
            heads.into_iter().for_each(|(last, stream)| state.advance(last, stream));
            state.heads.extend(signed);
            state.pass_milestone();
            state.index.departed.forget(published.commit);
            system.into_iter().for_each(|(key, siblings)| system::publish(&mut state.system, key, siblings));
            if let Some(StagedBase { horizon, first, is_join }) = base {
                (state.horizon, state.compacted_first, state.base_ordinal) = (horizon, first, base_ordinal);
                state.held = self.compaction.held();
                if is_join {
                    self.compaction.tell(&mut state);
                }
            }
        }
        if let Some(is_importing) = is_importing {
            self.shared.is_importing.store(is_importing, Ordering::Release);
        }
        self.fence.advance(fence);
        Ok(group.commits)
    }

    /// Writes what belongs to no group; a failure latches.
    pub(crate) fn write(&mut self, changes: Vec<Change>, persist: Persist) -> Result<(), CommitError> {
        self.prepare_write(outbox::bytes(&changes))?;
        self.shared.write_apart(changes, persist).map_err(|cause| self.poison(cause))
    }

    /// Does what comes before so many bytes are written.
    pub(crate) fn prepare_write(&mut self, bytes: u64) -> Result<(), CommitError> {
        self.fence.wait_for_reserve(self.head.revision).map_err(|cause| self.poison(cause))?;
        self.space.note_write(bytes);
        self.sync_timer.note_write();
        Ok(())
    }
}

impl UnderWay {
    pub(crate) fn is_any(&self) -> bool {
        !self.sheets.is_empty()
    }

    fn bind(&self, bound: &Mutex<Bound>) {
        self.sheets.iter().for_each(|sheet| sheet.bind(bound));
    }

    /// A row of a group that has not been published.
    pub(crate) fn row(&self, commit: u64) -> Option<Bytes> {
        self.sheets.iter().rev().find_map(|sheet| sheet.row(commit))
    }

    fn pass(&mut self, group: u64, holds_base: bool) {
        assert_eq!(group, self.published + 1, "a group was published before those sealed before it");
        self.published = group;
        self.sheets.pop_front();
        self.bases -= u64::from(holds_base);
    }
}
