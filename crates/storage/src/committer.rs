//! The writing side of a store: the one place where records become commits.
//!
//! Requests are executed one by one on the head state and made durable in groups. `Committer::append` is the one function
//! that commits: a local transaction, a record from a peer and nothing else pass through it, each through the gate.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot, Operation, RECORD_BYTES_MAX, RECORD_OPERATIONS_MAX, Record, RecordHeader};

use crate::{
    Answer, Commit, CommitError, Event, KeyValue, Outcome, ReadError, Request, RequestError, WallTime,
    compaction::Compaction,
    durability::SyncTimer,
    engine::{Change, EngineError},
    error::IngestError,
    fence::FenceKeeper,
    group::{Group, Landmark, StagedBase},
    head::Head,
    log::Refusal,
    plan::{Draft, Plan},
    row::{
        Tally,
        commit::{self, CommitRow, Effect, Layer, Part},
    },
    space::Space,
    store::{Published, Shared},
    system,
    view::{Rows, Stored, read_value},
};

/// The writing side of a store. There is one for each store.
pub struct Committer {
    pub(crate) shared: Arc<Shared>,
    /// The last moment that callers told of.
    pub(crate) wall: WallTime,
    pub(crate) head: Head,
    pub(crate) staged: Staged,
    pub(crate) compaction: Compaction,
    pub(crate) space: Space,
    pub(crate) fence: FenceKeeper,
    pub(crate) sync_timer: SyncTimer,
    /// All commit rows in sum.
    pub(crate) tally: Tally,
}

/// What was executed since the last group was made durable.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) changes: Vec<Change>,
    commits: Vec<Arc<Commit>>,
    /// The rows that the engine may not have yet, by position: those of `commits`, after those of a group under way.
    rows: VecDeque<Bytes>,
    /// The commit of the first row.
    first: u64,
    /// The keys of the system's data that changed.
    system: BTreeSet<Bytes>,
    /// What the last compaction asked for.
    pub(crate) base: Option<StagedBase>,
    /// A sealed group has not been published.
    is_under_way: bool,
    /// It holds a compaction.
    is_base_under_way: bool,
}

impl Committer {
    /// Executes one request on the head state. Nothing is durable or visible before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// A refused request changes nothing.
    pub fn execute(&mut self, wall: WallTime, request: Request) -> Result<Answer, RequestError> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(RequestError::Poisoned { cause });
        }
        self.wall = wall;
        self.space.check(wall, &request, &self.shared.health)?;
        match request {
            Request::Compact { revision } => self.compact(wall, revision),
            Request::LeaseRevoke { id } => self.revoke(wall, id),
            request => self.transact(wall, request),
        }
    }

    fn transact(&mut self, wall: WallTime, request: Request) -> Result<Answer, RequestError> {
        let (draft, outcome) = self.plan(|plan| execute(plan, request))?;
        self.carry_out(wall, draft)?;
        Ok(Answer { revision: self.head.revision, outcome })
    }

    /// Ends a lease. One with more keys than a record may name loses them in several commits of the same group.
    fn revoke(&mut self, wall: WallTime, id: i64) -> Result<Answer, RequestError> {
        loop {
            let (draft, is_last) = self.plan(|plan| plan.revoke(id))?;
            self.carry_out(wall, draft)?;
            if is_last {
                return Ok(Answer { revision: self.head.revision, outcome: Outcome::LeaseRevoked });
            }
        }
    }

    pub(crate) fn plan<T>(
        &self,
        plan: impl FnOnce(&mut Plan<'_, HeadRows<'_>>) -> Result<T, RequestError>,
    ) -> Result<(Draft, T), RequestError> {
        let state = self.shared.state.read();
        let rows = HeadRows { shared: &self.shared, staged: &self.staged };
        let mut planned = Plan::new(&self.head, &state.index, &rows);
        let outcome = plan(&mut planned)?;
        Ok((planned.draft, outcome))
    }

    pub(crate) fn carry_out(&mut self, wall: WallTime, draft: Draft) -> Result<(), RequestError> {
        if draft.is_empty() {
            return Ok(());
        }
        if self.head.revision.next().is_none() {
            return Err(RequestError::RevisionsExhausted);
        }
        let parts = self.author(wall, draft)?;
        Ok(self.append(parts)?)
    }

    /// Makes a draft the records of this replica, one for each layer it touches.
    fn author(&mut self, wall: WallTime, draft: Draft) -> Result<Vec<Part>, RequestError> {
        let hlc = self.head.clock.tick(wall.0, draft.floor);
        let mut parts = Vec::with_capacity(1);
        for (layer, operations) in [(Layer::Mesh, draft.mesh), (Layer::Private, draft.private)] {
            if operations.is_empty() {
                continue;
            }
            if operations.len() > RECORD_OPERATIONS_MAX {
                return Err(RequestError::TooManyOperations { count: operations.len(), max: RECORD_OPERATIONS_MAX });
            }
            let log = self.head.log(layer);
            let (dot, previous) = (log.next_dot(), log.chain(log.own()));
            let header = RecordHeader { dot, hlc, context_delta: log.risen().clone(), chain: Chain::BEGINNING };
            let mut record = Record { header, operations };
            let (bytes, chain) = record.encode(&previous);
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(RequestError::RecordTooLarge { bytes: bytes.len(), max: RECORD_BYTES_MAX });
            }
            record.header.chain = chain;
            parts.push(Part { layer, record, bytes, indices: None, context: None });
        }
        Ok(parts)
    }

    /// Applies a record that another replica wrote.
    ///
    /// # Errors
    ///
    /// A record that may not be applied now, or never, changes nothing.
    pub fn ingest(&mut self, wall: WallTime, bytes: Bytes) -> Result<Dot, IngestError> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(IngestError::Poisoned { cause });
        }
        self.wall = wall;
        let record = Record::decode(bytes.clone())?;
        let dot = record.header.dot;
        // Nobody is told the private layer's name, and under it nothing comes in.
        let is_beyond_ours = dot.replica == self.head.mesh.own() && !self.head.mesh.frontier().covers(dot);
        if is_beyond_ours || dot.replica == self.head.private.own() {
            return Err(IngestError::OwnDot { dot });
        }
        self.head.mesh.gate(&record.header).map_err(|refusal| refused(dot, refusal))?;
        if !Record::follows(&bytes, &self.head.mesh.chain(dot.replica)) {
            return Err(IngestError::BrokenChain { dot });
        }
        record.extend_context(&mut self.head.mesh.stream_context(dot.replica))?;
        if let Some(kind) = record.operations.iter().find_map(unknown_kind) {
            return Err(IngestError::UnknownOperation { dot, kind });
        }
        if self.head.revision.next().is_none() {
            return Err(IngestError::RevisionsExhausted);
        }
        if !self.space.has_room(wall, false, &self.shared.health) {
            return Err(IngestError::NoSpace);
        }
        self.head.clock.observe(wall.0, record.header.hlc);
        self.append(vec![Part { layer: Layer::Mesh, record, bytes, indices: None, context: None }])?;
        Ok(dot)
    }

    /// The one function that commits: applies records to the head state and stages the row that makes them durable.
    ///
    /// Every record passes the gate here, whoever wrote it.
    fn append(&mut self, parts: Vec<Part>) -> Result<(), ReadError> {
        for part in &parts {
            let gate = self.head.log(part.layer).gate(&part.record.header);
            assert_eq!(gate, Ok(()), "a record was brought to the commit without having passed the gate");
        }
        let (row, leases, system) = self.head.merge(&mut self.shared.state.write().index, parts);
        let number = self.head.commit;
        let bytes = row.encode(number);
        self.tally.add(Tally::of(&bytes));
        self.staged.push(number, bytes);
        self.staged.system.extend(system.iter().cloned());
        // Only a removal that uncovers an older sibling reads here. When that fails, the commit stands and cannot be told.
        let events = events(&row, &HeadRows { shared: &self.shared, staged: &self.staged });
        let events = events.inspect_err(|error| self.shared.health.set_poison(&error.to_string()))?;
        self.staged.commits.push(Arc::new(Commit { number, revision: row.revision, events, leases, system }));
        self.fence.reserve(self.head.revision);
        Ok(())
    }

    /// Makes everything executed so far durable, as one group, and publishes it.
    ///
    /// Returns the commits in order, for watchers and leases.
    ///
    /// # Errors
    ///
    /// After a failed persist nobody knows what is on disk. The store is poisoned: it answers reads of what was published
    /// before, refuses everything else until it is reopened, and the folder needs a new identity then.
    ///
    /// # Panics
    ///
    /// When a group that was sealed has not been published: groups are made durable in order.
    pub fn commit(&mut self) -> Result<Vec<Arc<Commit>>, CommitError> {
        assert!(!self.staged.is_under_way, "commit was called while a sealed group is under way");
        let Some(mut group) = self.seal()? else { return Ok(Vec::new()) };
        group.persist();
        self.publish(group)
    }

    /// Closes the group of everything executed so far, for the caller to [persist](Group::persist) and to
    /// [publish](Self::publish). `None` when nothing was executed, or while the group before is under way.
    ///
    /// # Errors
    ///
    /// The store is poisoned.
    pub fn seal(&mut self) -> Result<Option<Group>, CommitError> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(CommitError::Poisoned { cause });
        }
        if self.staged.is_under_way {
            return Ok(None);
        }
        self.remove_orphans()?;
        if self.staged.changes.is_empty() {
            return Ok(None);
        }
        let changes = std::mem::take(&mut self.staged.changes);
        self.prepare_write(&changes)?;
        self.staged.is_under_way = true;
        self.staged.is_base_under_way = self.staged.base.is_some();
        let changed = std::mem::take(&mut self.staged.system);
        let head = &self.head;
        let landmark = Landmark {
            published: Published { commit: head.commit, revision: head.revision, compacted: head.compacted },
            heads: head.mesh.heads_above(&self.shared.state.read().frontier),
            digest: head.digest.bits(),
            system: changed.into_iter().map(|key| (key.clone(), head.system.told(&key))).collect(),
            row_bytes: self.tally.bytes,
            base: self.staged.base.take(),
            fence: self.fence.at(head),
        };
        let commits = std::mem::take(&mut self.staged.commits);
        Ok(Some(Group { shared: Arc::clone(&self.shared), changes, commits, landmark, outcome: None }))
    }

    /// Makes a durable group visible. Returns its commits in order, for watchers and leases.
    ///
    /// # Errors
    ///
    /// The group was not persisted, or that failed: see [`commit`](Self::commit).
    pub fn publish(&mut self, group: Group) -> Result<Vec<Arc<Commit>>, CommitError> {
        (self.staged.is_under_way, self.staged.is_base_under_way) = (false, false);
        let outcome = group.outcome.unwrap_or_else(|| Err("a group was published that is not on disk".to_owned()));
        outcome.map_err(|cause| self.poison(cause))?;
        let Landmark { published, heads, digest, system, row_bytes, base, fence } = group.landmark;
        self.staged.forget_rows(published.commit);
        {
            let mut state = self.shared.state.write();
            (state.published, state.digest, state.row_bytes) = (published, digest, row_bytes);
            heads.into_iter().for_each(|(last, chain)| state.advance(last, chain));
            state.pass_milestone();
            system.into_iter().for_each(|(key, siblings)| system::publish(&mut state.system, key, siblings));
            if let Some(StagedBase { horizon, first }) = base {
                (state.horizon, state.compacted_first) = (horizon, first);
            }
        }
        self.fence.advance(fence);
        Ok(group.commits)
    }

    /// Writes to the engine; a failure latches.
    pub(crate) fn write(&mut self, changes: Vec<Change>) -> Result<(), CommitError> {
        self.prepare_write(&changes)?;
        let written = self.shared.engine.write(changes, self.shared.durability.persist());
        written.map_err(|error| self.poison(error.to_string()))
    }

    /// What every write to the engine waits for, and leaves word of.
    fn prepare_write(&mut self, changes: &[Change]) -> Result<(), CommitError> {
        self.fence.wait_for_reserve(self.head.revision).map_err(|cause| self.poison(cause))?;
        self.space.note_write(changes);
        self.sync_timer.note_write();
        Ok(())
    }

    /// Brings the disk up to date, when the durability promises that it is by now.
    pub(crate) fn sync_if_due(&mut self, wall: WallTime) -> Result<(), CommitError> {
        if !self.sync_timer.is_due(wall) {
            return Ok(());
        }
        self.shared.engine.persist().map_err(|error| self.poison(error.to_string()))?;
        self.sync_timer.note_sync(wall);
        Ok(())
    }

    fn poison(&mut self, cause: String) -> CommitError {
        self.shared.health.set_poison(&cause);
        self.fence.mark_failed();
        CommitError::Poisoned { cause }
    }

    /// Commits executed and not yet made durable.
    pub fn pending(&self) -> usize {
        self.staged.commits.len()
    }

    /// Stops cleanly: makes durable what was executed, and marks the folder as closed. Dropping a committer without this is
    /// a crash, from which the folder recovers.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn close(mut self) -> Result<(), CommitError> {
        self.commit()?;
        self.shared.engine.persist().map_err(|error| self.poison(error.to_string()))?;
        let closed = self.fence.close(&self.head);
        closed.map_err(|error| CommitError::Poisoned { cause: format!("failed to close the fence: {error}") })
    }
}

/// The first commit in `from..=last` whose revision is at least `revision`; `last + 1` when there is none. Revisions do not
/// sink, so this is a binary search over rows, which must be dense there.
pub(crate) fn first_commit_at(
    rows: &(impl Rows + ?Sized),
    from: u64,
    last: u64,
    revision: i64,
) -> Result<u64, ReadError> {
    let (mut low, mut high) = (from, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let row = rows.row(middle)?.ok_or(ReadError::Rot { commit: middle })?;
        if CommitRow::decode_revision(&row, middle)?.get() >= revision { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// What a commit changed for etcd clients.
pub(crate) fn events(row: &CommitRow, rows: &(impl Rows + ?Sized)) -> Result<Vec<Event>, ReadError> {
    let events = row.effects.iter().map(|effect| match effect {
        Effect::Gone { key } => Ok(Event::Delete { key: key.clone(), revision: row.revision }),
        Effect::Show { key, at, create_revision, version } => {
            let stored = match row.operation(at.element) {
                Some(Operation::Put { value, lease, .. }) => Stored { value: value.clone(), lease: *lease },
                // An older sibling that a removal uncovered.
                _ => read_value(rows, *at)?,
            };
            Ok(Event::Put(KeyValue {
                key: key.clone(),
                value: stored.value,
                create_revision: *create_revision,
                mod_revision: row.revision.get(),
                version: *version,
                lease: stored.lease.map_or(0, |lease| lease.id),
            }))
        }
    });
    events.collect()
}

fn execute<R: Rows + ?Sized>(plan: &mut Plan<'_, R>, request: Request) -> Result<Outcome, RequestError> {
    Ok(match request {
        Request::Put(put) => {
            // Here etcd looks for the lease before the key; inside a transaction it is the other way round.
            if let Some(id) = put.lease.filter(|id| *id != 0) {
                plan.lease(id)?;
            }
            plan.check_put(&put)?;
            Outcome::Put(plan.put(put)?)
        }
        Request::Delete(delete) => Outcome::Delete(plan.delete(&delete)?),
        Request::Txn(transaction) => Outcome::Txn(plan.transaction(transaction)?),
        Request::LeaseGrant { id, ttl_s } => {
            plan.grant(id, ttl_s)?;
            Outcome::LeaseGranted
        }
        Request::LeaseKeys { id } => Outcome::LeaseKeys(plan.lease_keys(id)?),
        Request::System(writes) => {
            plan.system(writes)?;
            Outcome::System
        }
        Request::Compact { .. } | Request::LeaseRevoke { .. } => unreachable!("these are not planned as one record"),
    })
}

pub(crate) fn unknown_kind(operation: &Operation) -> Option<u64> {
    match operation {
        Operation::Unknown { kind, .. } => Some(*kind),
        _ => None,
    }
}

fn refused(dot: Dot, refusal: Refusal) -> IngestError {
    match refusal {
        Refusal::Duplicate => IngestError::Duplicate { dot },
        Refusal::Gap { expected } => IngestError::Gap { dot, expected },
        Refusal::MissingContext { dot: missing } => IngestError::MissingContext { dot, missing },
    }
}

impl Staged {
    /// Whether a compaction was asked for that is not durable. No row may go before it is.
    pub(crate) fn holds_base(&self) -> bool {
        self.base.is_some() || self.is_base_under_way
    }

    fn push(&mut self, number: u64, row: Bytes) {
        if self.rows.is_empty() {
            self.first = number;
        }
        self.changes.push(Change::Put(commit::key(number), row.clone()));
        self.rows.push_back(row);
    }

    /// Drops the rows that the engine has by now.
    fn forget_rows(&mut self, last: u64) {
        let durable = usize::try_from((last + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.rows.drain(..durable.min(self.rows.len()));
        self.first = last + 1;
    }

    fn row(&self, commit: u64) -> Option<&Bytes> {
        let at = usize::try_from(commit.checked_sub(self.first)?).ok()?;
        self.rows.get(at)
    }
}

/// The rows of the head state: the staged ones, then the engine's.
pub(crate) struct HeadRows<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) staged: &'a Staged,
}

impl Rows for HeadRows<'_> {
    fn row(&self, commit: u64) -> Result<Option<Bytes>, EngineError> {
        match self.staged.row(commit) {
            Some(row) => Ok(Some(row.clone())),
            None => self.shared.engine.get(&commit::key(commit)),
        }
    }
}
