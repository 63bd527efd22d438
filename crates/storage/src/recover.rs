//! Opening: from rows back to the head state, and the checks that decide whether anyone may go on writing.
//!
//! The newest base row says where the last compaction found everything; the commit rows are replayed over it in order. Up to
//! where that has come rows may be missing, above it they are dense. Then the fence is held against the log.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::{Mutex, RwLock};

use self::recovered::replay;
pub(crate) use self::recovered::{Recovered, Sought};
use crate::{
    CommitError, Committer, IdentityLoss, OnLoss, OpenError, OpenOptions, ReadError, Store, bases,
    committer::Staged,
    compaction::Compaction,
    durability::SyncTimer,
    engine::Engine,
    fence::{Fence, FenceKeeper},
    folder::{Folder, FolderLock, Owner, damaged},
    head::Head,
    heads::{self, FoundHeads},
    import::UNDER_WAY,
    index::Index,
    outbox::Outbox,
    row::Tally,
    space::{RESERVE_BYTES, Space},
    store::{Published, Shared, State},
    succession,
    transfer::{staging, unfinished::Unfinished},
};

mod recovered;

pub(crate) fn open(
    engine: Box<dyn Engine>,
    mut folder: Option<Folder>,
    owner: Option<Owner>,
    options: &OpenOptions,
) -> Result<(Store, Committer), OpenError> {
    let found = folder.as_ref().map(|folder| folder.owner.clone()).or(owner);
    let mut owner = found.ok_or_else(|| damaged("nobody owns the rows".to_owned()))?;
    let unfinished =
        Unfinished::find(&*engine, bases::newest(&*engine.snapshot(), &owner)?.map_or(0, |(_, base)| base.commit))?;
    let recovered = recover(&*engine, folder.as_mut(), &mut owner, unfinished.last(), options)?;
    let path = folder.as_ref().filter(|folder| folder.papers.is_none()).map(|folder| folder.path.as_path());
    let space = Space::of(path, RESERVE_BYTES, options.quota_bytes);
    unfinished.take_back(&*engine)?;
    // A killed process may have left rows that the system has and the disk has not: they are about to be shown.
    engine.persist()?;
    let (lock, fence) = match folder {
        Some(folder) => start_fence(folder, options, &recovered.head)?,
        None => (FolderLock::none(), FenceKeeper::none(recovered.head.revision)),
    };
    bases::complete(&*engine, recovered.base.as_ref())?;
    let (state, rest) = assemble(&*engine, recovered)?;
    let staged_from = staging::useless_below(&*engine.snapshot(), &state.frontier)?;
    let sync_timer = SyncTimer::new(options.durability, options.wall);
    let shared = Arc::new(Shared {
        engine,
        state: RwLock::new(state),
        owner,
        durability: options.durability,
        quota_bytes: options.quota_bytes,
        health: Default::default(),
        outbox: Outbox::after(rest.head.own_chains()),
        reached: Default::default(),
        is_importing: rest.head.system.get(&UNDER_WAY).is_some().into(),
        applied_by_peers: Mutex::new(None),
        staged_from: staged_from.into(),
        rot: Default::default(),
        log_budget_bytes: options.log_budget_bytes,
        frozen: Mutex::default(),
        lease_homes: rest.head.lease_homes.clone(),
        _lock: lock,
    });
    let store = Store::from_shared(Arc::clone(&shared));
    let (wall, staged, staged_swept, beside) = (options.wall, Staged::default(), 0, None);
    let Rest { head, compaction, tally, rotten_signatures } = rest;
    shared.note_signatures(rotten_signatures);
    let mut committer = Committer {
        shared,
        wall,
        head,
        staged,
        compaction,
        space,
        fence,
        sync_timer,
        tally,
        staged_swept,
        beside,
        tried_signatures: Default::default(),
    };
    committer.restamp().map_err(|why| match why {
        CommitError::Read(why) => unreadable(why),
        CommitError::Poisoned { cause } => damaged(format!("revisions that are nobody's cannot be replaced: {cause}")),
    })?;
    committer.join_signatures().map_err(|why| match why {
        CommitError::Read(why) => unreadable(why),
        CommitError::Poisoned { cause } => damaged(format!("rotten signatures cannot be replaced: {cause}")),
    })?;
    Ok((store, committer))
}

/// Reads the rows, and has the folder's replica go on under another name where it must not under its own.
fn recover(
    engine: &dyn Engine,
    folder: Option<&mut Folder>,
    owner: &mut Owner,
    last: u64,
    options: &OpenOptions,
) -> Result<Recovered, OpenError> {
    let recovered = replay(engine, owner, Sought::of(folder.as_deref()), Index::new(&options.entropy), last)?;
    let Some(folder) = folder else { return Ok(recovered) };
    let Some(cause) = folder.loss.clone().or_else(|| disagreement(&folder.fence, &recovered)) else {
        return Ok(recovered);
    };
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
    match cause {
        IdentityLoss::Copied => succession::go_own_way(folder, engine, &recovered.estate(false), options)?,
        _ => succession::succeed(folder, &cause, &recovered.estate(folder.dispute.is_some()), options)?,
    }
    *owner = folder.owner.clone();
    replay(engine, owner, Sought::default(), Index::new(&options.entropy), last)
}

/// What the committer goes on with.
struct Rest {
    /// Rows of signatures that cannot be read.
    rotten_signatures: BTreeSet<u64>,
    head: Head,
    compaction: Compaction,
    tally: Tally,
}

/// Divides what was recovered between readers and the committer.
fn assemble(engine: &dyn Engine, recovered: Recovered) -> Result<(State, Rest), OpenError> {
    let Recovered { head, index, base, tally, milestones, .. } = recovered;
    let (horizon, compacted_first, cuts_from, floor) = match &base {
        Some((_, base)) => (base.horizon, base.first, base.mesh.frontier().clone(), base.floor()),
        None => Default::default(),
    };
    let swept = base.as_ref().map_or(0, |(_, base)| base.progress.swept);
    let FoundHeads { newest: signed, lingering, rotten } = heads::recover(engine, head.commit, swept)?;
    let ordinal = base.as_ref().map_or(0, |(ordinal, _)| *ordinal);
    let obsolete = bases::before(&*engine.snapshot(), ordinal)?;
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
        base_ordinal: ordinal,
        held: compaction.held(),
        horizon,
        compacted_first,
        cuts_from,
        floor,
        milestones,
    };
    Ok((state, Rest { head, compaction, tally, rotten_signatures: rotten }))
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
        ReadError::Rot { commit } => OpenError::Rotten { commit },
        error => damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
