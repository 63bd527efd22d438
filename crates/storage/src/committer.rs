//! The writing side of a store: the one place where records become commits.
//!
//! Requests are executed one by one on the head state and made durable in groups. `Committer::append` is the one function
//! that commits: a local transaction, a record from a peer and nothing else pass through it, each through the gate.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tombolo_crdt::{
    Chain, Dot, Operation, RECORD_BYTES_MAX, RECORD_OPERATIONS_MAX, Record, RecordHeader, mutation::Mutation,
};

use crate::{
    Answer, Commit, CommitError, Disk, Event, KeyValue, Outcome, ReadError, Request, RequestError, WallTime,
    compaction::Compaction,
    durability::SyncTimer,
    engine::{Change, EngineError},
    error::IngestError,
    event::LeaseChange,
    fence::FenceKeeper,
    group::{StagedBase, UnderWay},
    head::Head,
    heads::NewestHeads,
    import::Given,
    log::Refusal,
    mend::signatures::Tried,
    plan::{Draft, Plan},
    row::{
        Tally,
        commit::{self, CommitRow, Effect, Layer, Part},
        sheet::Sheet,
    },
    space::Space,
    store::Shared,
    transfer::prepare::Beside,
    view::{Rows, read_value},
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
    /// All commit rows in sum; their hashes as they were when they were [bound](Self::bind) last.
    pub(crate) tally: Tally,
    /// Staged rows below this ordinal have gone.
    pub(crate) staged_swept: u64,
    /// A join that is being prepared.
    pub(crate) beside: Option<Beside>,
    /// How rotten signatures were last tried to be mended.
    pub(crate) tried_signatures: Tried,
}

/// What was executed since the last group was sealed.
#[derive(Default)]
pub(crate) struct Staged {
    /// The rows of the commits.
    pub(crate) rows: Sheet,
    pub(crate) commits: Vec<Arc<Commit>>,
    /// What is written besides.
    pub(crate) changes: Vec<Change>,
    /// The keys of the system's data that changed.
    pub(crate) system: BTreeSet<Bytes>,
    /// Who signed what came from peers.
    pub(crate) heads: NewestHeads,
    /// What the last compaction asked for.
    pub(crate) base: Option<StagedBase>,
    /// What of the hashes of rows that are bound is in the tally.
    pub(crate) counted: u128,
    /// What was sealed before, and not published.
    pub(crate) under_way: UnderWay,
}

impl Committer {
    /// Executes one request on the head state. Nothing is durable or visible before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// A refused request changes nothing.
    pub fn execute(&mut self, wall: WallTime, request: Request) -> Result<Answer, RequestError> {
        let outcome = self.carry(wall, request);
        if let Err(RequestError::Read(ReadError::Rot { commit })) = &outcome {
            self.shared.look_again(*commit);
        }
        outcome
    }

    fn carry(&mut self, wall: WallTime, request: Request) -> Result<Answer, RequestError> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(RequestError::Poisoned { cause });
        }
        self.wall = wall;
        let is_step = matches!(request, Request::Import(_));
        if self.shared.is_importing.load(Ordering::Relaxed) && !is_step {
            return Err(RequestError::Importing);
        }
        if (is_step && self.is_joining()) || self.must_join() {
            return Err(RequestError::Joining);
        }
        self.space.check(wall, &request, self.tally.bytes, &self.shared.health)?;
        match request {
            Request::Compact { revision } => self.compact(wall, revision),
            Request::LeaseRevoke { id } => self.revoke(wall, id),
            Request::LeaseRevokeOf { id, keys } => {
                let (_, attached) = self.plan(|plan| plan.lease_keys(id))?;
                if attached.iter().any(|key| keys.binary_search(key).is_err()) {
                    return Err(RequestError::LeaseHoldsOthers { id });
                }
                self.revoke(wall, id)
            }
            Request::Import(step) => self.import(wall, *step),
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
        self.carry_out_as(wall, draft, None)
    }

    /// As [`carry_out`](Self::carry_out); an imported transaction brings its numbers along.
    pub(crate) fn carry_out_as(
        &mut self,
        wall: WallTime,
        draft: Draft,
        given: Option<&Given>,
    ) -> Result<(), RequestError> {
        if draft.is_empty() {
            return Ok(());
        }
        if self.head.revision.next().is_none() {
            return Err(RequestError::RevisionsExhausted);
        }
        let parts = self.author(wall, draft)?;
        Ok(self.append(parts, given)?)
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
            let (dot, context_delta) = (log.next_dot(), log.risen().clone());
            // The chain is computed when the row is written, which another thread may do.
            let record =
                Record { header: RecordHeader { dot, hlc, context_delta, chain: Chain::BEGINNING }, operations };
            let bytes = Bytes::from(record.encode_unbound());
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(RequestError::RecordTooLarge { bytes: bytes.len(), max: RECORD_BYTES_MAX });
            }
            parts.push(Part { layer, record, bytes, indices: None, context: None, is_unbound: true });
        }
        Ok(parts)
    }

    /// Applies a record that another replica wrote and that nobody has to prove: it cannot be offered to peers before a later one of its
    /// author has come with a signed head. What peers send goes through [`ingest_batch`](Self::ingest_batch).
    ///
    /// # Errors
    ///
    /// A record that may not be applied now, or never, changes nothing.
    pub fn ingest(&mut self, wall: WallTime, bytes: Bytes) -> Result<Dot, IngestError> {
        if let Some(cause) = self.shared.health.poison() {
            return Err(IngestError::Poisoned { cause });
        }
        self.wall = wall;
        self.bind();
        let record = Record::decode(bytes.clone())?;
        let dot = record.header.dot;
        self.check_name(dot)?;
        self.head.mesh.gate(&record.header).map_err(|refusal| refused(dot, refusal))?;
        let is_chained = Record::follows(&bytes, &self.head.mesh.chain(dot.replica));
        if !is_chained && !Mutation::DuplicatesApplied.is_on() {
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
        self.append(
            vec![Part { layer: Layer::Mesh, record, bytes, indices: None, context: None, is_unbound: false }],
            None,
        )?;
        Ok(dot)
    }

    /// Refuses what nobody can have written, or what comes too late. Nobody is told the private layer's name, and under it nothing comes in.
    pub(crate) fn check_name(&self, dot: Dot) -> Result<(), IngestError> {
        let is_beyond_ours = dot.replica == self.head.mesh.own() && !self.head.mesh.frontier().covers(dot);
        if is_beyond_ours || dot.replica == self.head.private.own() {
            return Err(IngestError::OwnDot { dot });
        }
        if self.is_joining() {
            return Err(IngestError::Joining);
        }
        let last = self.head.mesh.frontier().seq(dot.replica);
        if dot.seq > last && self.shared.frozen.lock().contains(&dot.replica) {
            return Err(IngestError::Frozen { dot, last });
        }
        Ok(())
    }

    /// The one function that commits: applies records to the head state and stages the row that makes them durable.
    ///
    /// Every record passes the gate here, whoever wrote it.
    pub(crate) fn append(&mut self, parts: Vec<Part>, given: Option<&Given>) -> Result<(), ReadError> {
        for part in &parts {
            let gate = self.head.log(part.layer).gate(&part.record.header);
            assert_eq!(gate, Ok(()), "a record was brought to the commit without having passed the gate");
        }
        let (row, leases, system) = self.head.merge(&mut self.shared.state.write().index, parts, given);
        self.stage_row(row, leases, system)
    }

    /// Stages the row of the head's commit, and what is told of it.
    fn stage_row(&mut self, row: CommitRow, leases: Vec<LeaseChange>, system: Vec<Bytes>) -> Result<(), ReadError> {
        let number = self.head.commit;
        let revision = row.revision;
        self.tally.bytes = self.tally.bytes.saturating_add(self.staged.rows.write(number, &row));
        self.staged.system.extend(system.iter().cloned());
        // Only a removal that uncovers an older sibling reads here. When that fails, the commit stands and cannot be told.
        let events = events(row, &HeadRows { shared: &self.shared, staged: &self.staged });
        let events = events.inspect_err(|error| self.shared.health.set_poison(&error.to_string()))?;
        self.staged.commits.push(Arc::new(Commit { number, revision, events, leases, system }));
        self.fence.reserve(self.head.revision);
        Ok(())
    }

    /// Commits a row without a record, which is of this replica's clients alone. Its effects are in the index already.
    pub(crate) fn append_own(&mut self, row: CommitRow) -> Result<(), ReadError> {
        (self.head.commit, self.head.revision) = (self.head.commit + 1, row.revision);
        self.stage_row(row, Vec::new(), Vec::new())
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

    /// Refuses when a write or a sync has failed, on whatever thread, and marks the folder.
    pub(crate) fn check_health(&mut self) -> Result<(), CommitError> {
        self.shared.health.poison().map_or(Ok(()), |cause| Err(self.poison(cause)))
    }

    pub(crate) fn poison(&mut self, cause: String) -> CommitError {
        self.shared.health.set_poison(&cause);
        self.fence.mark_failed();
        CommitError::Poisoned { cause }
    }

    /// What syncs groups on another thread.
    pub fn disk(&self) -> Disk {
        Disk::of(&self.shared)
    }

    /// Commits executed and in no group yet.
    pub fn pending(&self) -> usize {
        self.staged.commits.len()
    }

    /// Stops cleanly: makes durable what was executed, and marks the folder as closed. Dropping a committer without this is
    /// a crash, from which the folder recovers.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    ///
    /// # Panics
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
        let row = rows.row(middle).map_err(|error| ReadError::at(middle, error))?;
        let row = row.ok_or(ReadError::Rot { commit: middle })?;
        // All of it is read: a row of another kind and the same number carries a hash that fits here.
        if CommitRow::decode(&row, middle)?.revision.get() >= revision { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// What a commit changed for etcd clients. Keys and values move from its row: an element has its value once, and shows at one key.
pub(crate) fn events(mut row: CommitRow, rows: &(impl Rows + ?Sized)) -> Result<Vec<Event>, ReadError> {
    let effects = std::mem::take(&mut row.effects);
    let mut events = Vec::with_capacity(effects.len());
    for effect in effects {
        events.push(match effect {
            Effect::Gone { key } => Event::Delete { key, revision: row.revision },
            Effect::Show { key, at, create_revision, version } => {
                // What the row does not hold is an older sibling that a removal uncovered.
                let stored = row.take_value(at.element).map_or_else(|| read_value(rows, at), Ok)?;
                Event::Put(KeyValue {
                    key,
                    value: stored.value,
                    create_revision,
                    mod_revision: row.revision.get(),
                    version,
                    lease: stored.lease.map_or(0, |lease| lease.id),
                })
            }
        });
    }
    Ok(events)
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
        Request::Enter { writes, system, mark } => Outcome::Entered(plan.enter(writes, system, mark)?),
        Request::System(writes) => {
            plan.system(writes)?;
            Outcome::System
        }
        Request::Compact { .. } | Request::LeaseRevoke { .. } | Request::LeaseRevokeOf { .. } | Request::Import(_) => {
            unreachable!("these are not planned as one record")
        }
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
        self.base.is_some() || self.under_way.bases > 0
    }
}

/// The rows of the head state: the staged ones, those on their way, then the engine's.
pub(crate) struct HeadRows<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) staged: &'a Staged,
}

impl Rows for HeadRows<'_> {
    fn row(&self, commit: u64) -> Result<Option<Bytes>, EngineError> {
        match self.staged.rows.row(commit).or_else(|| self.staged.under_way.row(commit)) {
            Some(row) => Ok(Some(row)),
            None => self.shared.engine.get(&commit::key(commit)),
        }
    }
}
