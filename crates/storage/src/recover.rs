//! Opening: from rows back to the head state, and the checks that decide whether anyone may go on writing.
//!
//! The newest base row says where the last compaction found everything; the commit rows are replayed over it in order. Up to
//! where that has come rows may be missing, above it they are dense. Then the fence is held against the log.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    thread,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tombolo_crdt::Clock;

use crate::{
    CommitError, Committer, IdentityLoss, OnLoss, OpenError, OpenOptions, ReadError, Revision, Store,
    committer::{Staged, unknown_kind},
    compaction::Compaction,
    digest::Digest,
    durability::SyncTimer,
    engine::{Engine, EngineError, Snapshot},
    fence::{Fence, FenceKeeper, Position},
    folder::{Folder, FolderLock, Owner, damaged},
    head::Head,
    heads,
    import::UNDER_WAY,
    index::Index,
    lease_homes::LeaseHomes,
    log::Log,
    milestones::Milestones,
    row::{
        Kind, Tally,
        base::{BaseRow, Progress},
        commit::{CommitRow, Layer, Part},
    },
    rows::CommitRows,
    since_base::SinceBase,
    space::{RESERVE_BYTES, Space},
    store::{Published, Shared, State},
    succession::{self, Estate},
    system::SystemRegisters,
    transfer::{staging, unfinished::Unfinished},
};

/// Rows handed over at a time from the thread that reads and checks them to the one that applies them.
const HANDOVER_ROWS: usize = 512;

/// What was found in the rows.
pub(crate) struct Recovered {
    pub(crate) head: Head,
    pub(crate) index: Index,
    base: Option<(u64, BaseRow)>,
    pub(crate) tally: Tally,
    milestones: Milestones,
    /// The chains at the commit the fence speaks of, if its row is whole.
    fenced: Option<[Option<Position>; 2]>,
    /// The revision after the last record of our own that nobody disputes, if its row is there.
    undisputed: Option<Revision>,
}

pub(crate) fn open(
    engine: Box<dyn Engine>,
    folder: Option<Folder>,
    owner: Option<Owner>,
    options: &OpenOptions,
) -> Result<(Store, Committer), OpenError> {
    let mut folder = folder;
    let found = folder.as_ref().map(|folder| folder.owner.clone()).or(owner);
    let mut owner = found.ok_or_else(|| damaged("nobody owns the rows".to_owned()))?;
    let unfinished =
        Unfinished::find(&*engine, newest_base(&*engine.snapshot(), &owner)?.map_or(0, |(_, base)| base.commit))?;
    let last = unfinished.last();
    let mut recovered = replay(&*engine, &owner, Sought::of(folder.as_ref()), Index::new(&options.entropy), last)?;
    if let Some(folder) = &mut folder
        && let Some(cause) = folder.loss.clone().or_else(|| disagreement(&folder.fence, &recovered))
    {
        let is_refused = match options.on_loss {
            OnLoss::Refuse => true,
            OnLoss::SucceedAmongOthers => cause.takes_what_was_acknowledged() && recovered.is_alone(),
            OnLoss::Succeed => false,
        };
        if is_refused {
            return Err(OpenError::NeedsNewIdentity { cause });
        }
        // What is certain by now must be on disk before anybody relies on it.
        engine.persist()?;
        succession::succeed(folder, &cause, &recovered.estate(folder.dispute.is_some()), options)?;
        owner = folder.owner.clone();
        recovered = replay(&*engine, &owner, Sought::default(), Index::new(&options.entropy), last)?;
    }
    let space = Space::of(folder.as_ref().map(|folder| folder.path.as_path()), RESERVE_BYTES, options.quota_bytes);
    unfinished.take_back(&*engine)?;
    // A killed process may have left rows that the system has and the disk has not: they are about to be shown.
    engine.persist()?;
    let (lock, fence) = match folder {
        Some(folder) => start_fence(folder, options, &recovered.head)?,
        None => (FolderLock::none(), FenceKeeper::none(recovered.head.revision)),
    };
    let Recovered { head, index, base, tally, milestones, .. } = recovered;
    let is_importing = head.system.get(&UNDER_WAY).is_some();
    let (horizon, compacted_first, cuts_from, floor) = match &base {
        Some((_, base)) => (base.horizon, base.first, base.mesh.frontier().clone(), base.floor()),
        None => Default::default(),
    };
    let swept = base.as_ref().map_or(0, |(_, base)| base.progress.swept);
    let (signed, lingering) = heads::recover(&*engine, head.commit, swept)?;
    let obsolete = older_bases(&*engine, base.as_ref().map_or(0, |(ordinal, _)| *ordinal))?;
    let compaction = Compaction::resume(base, obsolete, lingering);
    let published = Published { commit: head.commit, revision: head.revision, compacted: head.compacted };
    let state = State {
        index,
        published,
        frontier: head.mesh.frontier().clone(),
        streams: head.mesh.streams().map(|(last, stream)| (last.replica, stream.clone())).collect(),
        heads: signed,
        digest: head.digest.bits(),
        system: head.system.all(),
        row_bytes: tally.bytes,
        row_hashes: tally.hashes,
        freed_bytes: 0,
        held: compaction.held(),
        horizon,
        compacted_first,
        cuts_from,
        floor,
        milestones,
    };
    let staged_from = staging::useless_below(&*engine.snapshot(), &state.frontier)?;
    let sync_timer = SyncTimer::new(options.durability, options.wall);
    let shared = Arc::new(Shared {
        engine,
        state: RwLock::new(state),
        owner,
        durability: options.durability,
        quota_bytes: options.quota_bytes,
        health: Default::default(),
        outbox: Default::default(),
        reached: Default::default(),
        is_importing: is_importing.into(),
        applied_by_peers: Mutex::new(None),
        staged_from: staged_from.into(),
        rot: Default::default(),
        log_budget_bytes: options.log_budget_bytes,
        frozen: Mutex::default(),
        lease_homes: head.lease_homes.clone(),
        _lock: lock,
    });
    let store = Store::from_shared(Arc::clone(&shared));
    let staged = Staged::default();
    let wall = options.wall;
    let (staged_swept, beside) = (0, None);
    let mut committer =
        Committer { shared, wall, head, staged, compaction, space, fence, sync_timer, tally, staged_swept, beside };
    committer.restamp().map_err(|why| match why {
        CommitError::Read(why) => unreadable(why),
        CommitError::Poisoned { cause } => damaged(format!("revisions that are nobody's cannot be replaced: {cause}")),
    })?;
    Ok((store, committer))
}

/// What is looked for in the rows besides the state.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sought {
    /// The commit that the fence speaks of.
    fenced_commit: u64,
    /// The last record of our own that nobody disputes.
    common: u64,
}

impl Sought {
    fn of(folder: Option<&Folder>) -> Self {
        let common = |folder: &Folder| folder.dispute.as_ref().map_or(0, |dispute| dispute.common);
        folder.map_or(Self::default(), |folder| Self { fenced_commit: folder.fence.commit, common: common(folder) })
    }
}

/// Reads every row up to `last` and applies it; `index` is the empty one to begin with.
fn replay(engine: &dyn Engine, owner: &Owner, sought: Sought, index: Index, last: u64) -> Result<Recovered, OpenError> {
    let begins = owner.numbers.begins;
    let mut recovered = Recovered::over(newest_base(&*engine.snapshot(), owner)?, owner, index);
    let result: Result<(), OpenError> = thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(4);
        scope.spawn(move || read_rows(engine, last, &sender));
        for rows in receiver {
            for (number, size, row) in rows.map_err(unreadable)? {
                check_kinds(number, &row)?;
                recovered.apply(number, &row, sought).map_err(unreadable)?;
                recovered.tally.add(size);
            }
        }
        Ok(())
    });
    result?;
    recovered.finish()?;
    // What was counted by forebears lies below: from here on it is counted from there.
    recovered.head.revision = recovered.head.revision.max(begins);
    Ok(recovered)
}

/// A row with its number and what it adds to the sum.
type ReadRow = (u64, Tally, CommitRow);

/// Reads and checks rows beside the thread that applies them: each is about half the work.
fn read_rows(engine: &dyn Engine, last: u64, sender: &mpsc::SyncSender<Result<Vec<ReadRow>, ReadError>>) {
    let snapshot = engine.snapshot();
    let mut rows = CommitRows::new(&*snapshot, 0, last).readable();
    loop {
        let some: Result<Vec<ReadRow>, ReadError> = rows.by_ref().take(HANDOVER_ROWS).map(read_row).collect();
        let is_last = !matches!(&some, Ok(rows) if rows.len() == HANDOVER_ROWS);
        // The other side hangs up at the first damage it finds.
        if sender.send(some).is_err() || is_last {
            return;
        }
    }
}

fn read_row(row: Result<(u64, Bytes), ReadError>) -> Result<ReadRow, ReadError> {
    let (number, row) = row?;
    Ok((number, Tally::of(&row), CommitRow::decode(&row, number)?))
}

/// Only a later version applied what this one cannot interpret.
fn check_kinds(number: u64, row: &CommitRow) -> Result<(), OpenError> {
    let operations = row.parts.iter().flat_map(|part| &part.record.operations);
    match operations.filter_map(unknown_kind).next() {
        Some(kind) => {
            Err(damaged(format!("commit {number} holds an operation of kind {kind}, which is not known here")))
        }
        None => Ok(()),
    }
}

fn newest_base(snapshot: &dyn Snapshot, owner: &Owner) -> Result<Option<(u64, BaseRow)>, OpenError> {
    let Some((key, row)) = snapshot.last(&Kind::Base.key(0), &Kind::Base.end())? else { return Ok(None) };
    let damage = || damaged("the row of the last compaction is damaged".to_owned());
    let ordinal = Kind::Base.number(&key).ok_or_else(damage)?;
    let base = BaseRow::decode(&row, ordinal, owner.identity.replica, owner.private).ok_or_else(damage)?;
    Ok(Some((ordinal, base)))
}

/// The ordinals of the base rows before the newest. They go with the next slice of a sweep.
fn older_bases(engine: &dyn Engine, newest: u64) -> Result<Vec<u64>, EngineError> {
    let snapshot = engine.snapshot();
    let rows = snapshot.scan(&Kind::Base.key(0), &Kind::Base.key(newest));
    rows.filter_map(|row| row.map(|(key, _)| Kind::Base.number(&key)).transpose()).collect()
}

impl Recovered {
    /// Before the first row of a snapshot.
    pub(crate) fn begin(snapshot: &dyn Snapshot, owner: &Owner) -> Result<Self, OpenError> {
        Ok(Self::over(newest_base(snapshot, owner)?, owner, Index::new(&[0; 32])))
    }

    fn over(base: Option<(u64, BaseRow)>, owner: &Owner, index: Index) -> Self {
        let head = Head {
            commit: 0,
            revision: owner.numbers.begins,
            numbers: owner.numbers.clone(),
            lease_homes: LeaseHomes::default(),
            compacted: base.as_ref().map_or(-1, |(_, base)| base.compacted),
            mesh: Log::new(owner.identity.replica),
            private: Log::new(owner.private),
            clock: Clock::default(),
            digest: Digest::default(),
            orphaned: BTreeSet::new(),
            system: SystemRegisters::default(),
            ended: Vec::new(),
            since_base: SinceBase::at(base.as_ref().map_or(0, |(_, base)| base.commit)),
        };
        let (tally, milestones) = Default::default();
        Self { head, index, base, tally, milestones, fenced: None, undisputed: None }
    }

    /// Gets ready for a commit, the next one. Returns whether it is above the base.
    pub(crate) fn reach(&mut self, number: u64) -> Result<bool, ReadError> {
        let base_commit = self.base.as_ref().map_or(0, |(_, base)| base.commit);
        if number > base_commit && self.head.commit <= base_commit {
            self.reach_base()?;
        }
        Ok(number > base_commit)
    }

    pub(crate) fn apply(&mut self, number: u64, row: &CommitRow, sought: Sought) -> Result<(), ReadError> {
        let nothing = Progress::default();
        let (base_commit, progress) =
            self.base.as_ref().map_or((0, &nothing), |(_, base)| (base.commit, &base.progress));
        let swept = progress.swept;
        let expected = progress.gaps.past(self.head.commit + 1);
        // Rows that compaction has seen may be missing; above them the next one is the next one.
        if number < expected || (number > expected && number > swept + 1) {
            return Err(ReadError::Rot { commit: expected });
        }
        // Only compactions and transfers leave remainders: one that no base knows of says that the base is lost.
        if (row.is_remainder() || row.is_bare()) && !progress.may_be_reduced(number) {
            return Err(ReadError::Rot { commit: number });
        }
        self.reach(number)?;
        self.head.replay(&mut self.index, number, row);
        self.index.departed.forget(number);
        for part in &row.parts {
            if number > base_commit {
                let log = self.head.log_mut(part.layer);
                log.gate(&part.record.header).map_err(|_| ReadError::Rot { commit: number })?;
                log.advance(&part.record.header);
            }
            if part.dot().replica == self.head.log(part.layer).own() {
                self.head.clock = Clock::resume(self.head.clock.last().max(part.record.header.hlc));
            }
        }
        if number > base_commit {
            self.milestones.note(number, self.head.mesh.frontier(), self.tally.bytes);
        }
        let is_common = |part: &Part| part.dot().replica == self.head.mesh.own() && part.dot().seq <= sought.common;
        if row.parts.iter().any(is_common) {
            self.undisputed = Some(row.revision);
        }
        if number == sought.fenced_commit {
            self.fenced = Some([Layer::Mesh, Layer::Private].map(|layer| self.own_position(row, layer)));
        }
        Ok(())
    }

    /// The position of our own stream if this row moved it.
    fn own_position(&self, row: &CommitRow, layer: Layer) -> Option<Position> {
        let own = self.head.log(layer).own();
        let part = row.parts.iter().find(|part| part.layer == layer && part.dot().replica == own)?;
        part.indices.is_none().then_some(Position { seq: part.dot().seq, chain: part.record.header.chain })
    }

    /// At the base's commit everything must be as the base says; from here on logs advance with the rows.
    fn reach_base(&mut self) -> Result<(), ReadError> {
        let Some((_, base)) = &self.base else { return Ok(()) };
        if self.head.digest.bits() != base.digest || self.tally.hashes != base.rows {
            return Err(ReadError::Rot { commit: base.commit });
        }
        self.head.commit = base.commit;
        self.head.revision = base.revision;
        (self.head.mesh, self.head.private) = (base.mesh.clone(), base.private.clone());
        self.head.clock = Clock::resume(self.head.clock.last().max(base.hlc));
        Ok(())
    }

    /// Whether the log has records of nobody but this replica, and whose past it has.
    fn is_alone(&self) -> bool {
        let head = &self.head;
        let is_past = |replica| replica == head.mesh.own() || head.numbers.lineage.inherits_from(replica);
        head.mesh.streams().all(|(last, _)| is_past(last.replica))
    }

    /// What a successor goes on with. Where our records are disputed, only what came before is known to be what clients saw.
    fn estate(&self, is_disputed: bool) -> Estate<'_> {
        let head = &self.head;
        let certain = if is_disputed { self.undisputed.unwrap_or(head.numbers.begins) } else { head.revision };
        Estate { head, certain }
    }

    /// After the last row: the base may be beyond it, when compaction dropped the last rows.
    fn finish(&mut self) -> Result<(), OpenError> {
        let Some((_, base)) = &self.base else { return Ok(()) };
        let commit = base.commit;
        if self.head.commit > commit {
            return Ok(());
        }
        if self.head.commit < commit && commit > base.progress.swept {
            return Err(unreadable(ReadError::Rot { commit: self.head.commit + 1 }));
        }
        self.reach_base().map_err(unreadable)
    }
}

/// Holds the fence against the log.
fn disagreement(fence: &Fence, recovered: &Recovered) -> Option<IdentityLoss> {
    let log = recovered.head.commit;
    if fence.commit > log {
        return Some(IdentityLoss::LostSuffix { log, fence: fence.commit });
    }
    let fenced = [fence.mesh, fence.private];
    let mut found = recovered.fenced.as_ref()?.iter().zip(fenced);
    let differ = found.any(|(found, fenced)| found.is_some_and(|found| found != fenced));
    differ.then_some(IdentityLoss::ForkedLog { commit: fence.commit })
}

/// Marks the folder as in use, before anything is written in it.
fn start_fence(folder: Folder, options: &OpenOptions, head: &Head) -> Result<(FolderLock, FenceKeeper), OpenError> {
    folder.raise_format()?;
    let Folder { path, lock, owner, fence, mut fence_file, .. } = folder;
    let is_inherited = fence_file.generation() <= owner.inherited_fence;
    let fence = Fence { is_clean: false, is_weak: options.durability.is_weak(), ..fence }.opened(head);
    let io = |source| OpenError::Io { action: "write", path: path.join("FENCE"), source };
    fence_file.write(&fence).map_err(io)?;
    if is_inherited {
        // Both slots are the successor's from here on: should one of them rot, the other is not its predecessor's.
        fence_file.write(&fence).map_err(io)?;
    }
    let keeper = FenceKeeper::start(fence, fence_file).map_err(io)?;
    Ok((lock, keeper))
}

fn unreadable(error: ReadError) -> OpenError {
    match error {
        ReadError::Engine(error) => OpenError::Engine(error),
        error => damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use tombolo_crdt::{Chain, Operation};

    use super::*;
    use crate::{
        Put, Request, WallTime,
        engine::{Change, Persist, fjall::FjallEngine, memory::MemoryEngine},
        row::commit,
    };

    /// A folder whose rows are in memory, where they can be lost: its fence is on the disk.
    fn open_on(path: &Path, engine: &Arc<MemoryEngine>) -> Result<(Store, Committer), OpenError> {
        let options = OpenOptions::new(WallTime(0), std::array::from_fn(|at| at as u8));
        drop(FjallEngine::open(&Folder::engine_path(path))?);
        let folder = Folder::open(path, &options)?;
        folder.seal_if_empty(&**engine)?;
        super::open(Box::new(Arc::clone(engine)), Some(folder), None, &options)
    }

    fn put(committer: &mut Committer, value: &'static [u8]) -> Result<(), crate::CommitError> {
        execute(committer, value);
        committer.commit().map(drop)
    }

    fn execute(committer: &mut Committer, value: &'static [u8]) {
        let value = Some(Bytes::from_static(value));
        let put = Put { key: Bytes::from_static(b"a"), value, lease: Some(0), previous: false };
        committer.execute(WallTime(1), Request::Put(put)).unwrap();
    }

    fn loss(opened: Result<(Store, Committer), OpenError>) -> Option<IdentityLoss> {
        match opened {
            Err(OpenError::NeedsNewIdentity { cause }) => Some(cause),
            _ => None,
        }
    }

    #[test]
    fn a_row_of_a_later_version_is_named_and_not_interpreted() {
        let engine = Arc::new(MemoryEngine::new());
        let folder = tempfile::tempdir().unwrap();
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        put(&mut committer, b"1").unwrap();
        drop((store, committer));
        let row = engine.get(&commit::key(1)).unwrap().unwrap();
        let mut row = CommitRow::decode(&row, 1).unwrap();
        let part = row.parts.first_mut().unwrap();
        part.record.operations.push(Operation::Unknown { kind: 1 << 63, body: Bytes::new() });
        (part.bytes, part.record.header.chain) = part.record.encode(&Chain::BEGINNING);
        let change = Change::Put(commit::key(1), row.encode(1));
        engine.write(vec![change], Persist::Disk).unwrap();
        let refusal = open_on(folder.path(), &engine).map(drop).unwrap_err();
        assert!(refusal.to_string().contains("commit 1 holds an operation of kind 9223372036854775808"), "{refusal}");
    }

    #[test]
    fn a_log_below_its_fence_and_a_log_beside_its_fence_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        put(&mut committer, b"1").unwrap();
        let short = Arc::new(engine.crash());
        put(&mut committer, b"2").unwrap();
        drop((store, committer));
        assert_eq!(loss(open_on(folder.path(), &short)), Some(IdentityLoss::LostSuffix { log: 1, fence: 2 }));
        // Another second record under the same name.
        let other = tempfile::tempdir().unwrap();
        let forked = Arc::new(MemoryEngine::new());
        let (store, mut committer) = open_on(other.path(), &forked).unwrap();
        put(&mut committer, b"1").unwrap();
        put(&mut committer, b"3").unwrap();
        drop((store, committer));
        assert_eq!(loss(open_on(folder.path(), &forked)), Some(IdentityLoss::ForkedLog { commit: 2 }));
        assert!(open_on(folder.path(), &engine).is_ok());
    }

    #[test]
    fn a_folder_whose_write_failed_needs_a_new_identity_even_if_nothing_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        put(&mut committer, b"1").unwrap();
        engine.fail_sync_in(1);
        put(&mut committer, b"2").unwrap_err();
        drop((store, committer));
        let engine = Arc::new(engine.kill());
        assert_eq!(loss(open_on(folder.path(), &engine)), Some(IdentityLoss::FailedSync));
    }

    #[test]
    fn a_sync_that_failed_on_another_thread_marks_the_folder_too() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        execute(&mut committer, b"1");
        let never_published = committer.seal().unwrap();
        engine.fail_sync_in(1);
        committer.disk().sync();
        committer.seal().map(drop).unwrap_err();
        drop((store, committer, never_published));
        assert_eq!(loss(open_on(folder.path(), &Arc::new(engine.kill()))), Some(IdentityLoss::FailedSync));
    }

    #[test]
    fn the_fence_is_nowhere_above_what_a_sync_has_covered() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        execute(&mut committer, b"1");
        let first = committer.seal().unwrap().unwrap();
        committer.disk().sync();
        execute(&mut committer, b"2");
        let second = committer.seal().unwrap();
        committer.publish(first).unwrap();
        drop((store, committer, second));
        let (store, _committer) = open_on(folder.path(), &Arc::new(engine.crash())).unwrap();
        assert_eq!(store.published().commit, 1);
    }

    #[test]
    fn a_failed_close_does_not_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(MemoryEngine::new());
        let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
        put(&mut committer, b"1").unwrap();
        engine.fail_in(1);
        committer.close().unwrap_err();
        drop(store);
        let engine = Arc::new(engine.crash());
        assert_eq!(loss(open_on(folder.path(), &engine)), Some(IdentityLoss::FailedSync));
    }

    #[test]
    fn revisions_go_on_above_the_log_and_below_what_is_reserved() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(MemoryEngine::new());
        for round in 0..3 {
            let (store, mut committer) = open_on(folder.path(), &engine).unwrap();
            assert_eq!(store.published().revision.get(), 1 + round);
            put(&mut committer, b"1").unwrap();
        }
    }
}
