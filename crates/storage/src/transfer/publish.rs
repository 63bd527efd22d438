//! Joining a whole transfer with the state of the moment, in one step.
//!
//! An intent, then the rows, batch by batch, then one group with the closing rows, the base row that says where everything stands now, and the
//! intent's removal. Readers see the state before until that group is published; a crash before it leaves an [intent](super::unfinished) without
//! its base.
//!
//! A publication takes one revision if it changes what etcd clients see. When it changes more than can be told as events it takes a
//! second one, at which nothing happens and history begins: whoever watches from before is told that it is compacted.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use thiserror::Error;
use tombolo_crdt::{Chain, Dot, Element, VersionVector};

use super::{
    CompleteTransfer, StagedPage,
    header::Header,
    join::{Holder, Join},
    material, mending, unfinished,
};
use crate::{
    Commit, CommitError, Committer, ReadError, Revision, WallTime,
    engine::{Change, Persist},
    group::StagedBase,
    row::{Kind, base::BaseRow},
    since_base::SinceBase,
};

/// Elements removed while the state is locked.
const STRETCH: usize = 1024;
/// Staged rows removed in one housekeeping.
const DROPPED_ROWS: usize = 64;

/// Why a transfer was not joined, or a part of it not staged. Nothing has changed.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The provider's vector holds records under our name that we did not write.
    #[error("the transfer holds {dot}, which is ours and beyond what we wrote")]
    AheadOfUs {
        /// The last of them.
        dot: Dot,
    },
    /// The provider held another record than we do under the same name.
    #[error("the stream of {dot} is forked: its chain is {ours} here and {theirs} in the transfer")]
    Forked {
        /// The record.
        dot: Dot,
        /// Our chain.
        ours: Chain,
        /// The transfer's.
        theirs: Chain,
    },
    /// This replica's share of the revision space is used up.
    #[error("this replica has no revisions left in its slot")]
    RevisionsExhausted,
    /// The disk has no room to write safely.
    #[error("the disk is full")]
    NoSpace,
    /// A group is on its way to the disk: publish it first.
    #[error("a sealed group is under way")]
    GroupUnderWay,
    /// Another transfer is being joined.
    #[error("another transfer is being joined")]
    JoinUnderWay,
    /// History went, by compaction, of which it must be known whether it removed what is to be mended.
    #[error("a compaction has overtaken it")]
    Overtaken,
    /// It was given back without having been run.
    #[error("the join was not prepared")]
    NotPrepared,
    /// A row could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write failed, now or earlier, or a row could not be read in the middle of it; the store only reads until it is reopened.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A transfer that was joined.
#[derive(Clone, Debug)]
pub struct PublishedTransfer {
    /// What watchers and the lease table are to be told, in order: what was executed before, the transfer, and the removals of what came
    /// with it and has outlived its lease.
    pub commits: Vec<Arc<Commit>>,
    /// Elements that came.
    pub added: u64,
    /// Elements that went.
    pub removed: u64,
    /// Everything applied from here on.
    pub frontier: VersionVector,
}

/// Where the rows of a join are.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The number after the last commit before it.
    pub(super) first: u64,
    /// The first that was reserved for it: nobody has those in between.
    pub(super) reserved: u64,
}

impl Committer {
    /// Keeps what has come of a transfer, out of sight. It is on disk with the next group.
    ///
    /// # Errors
    ///
    /// There is no room, or the store is poisoned.
    pub fn stage(&mut self, wall: WallTime, pages: Vec<StagedPage>) -> Result<(), TransferError> {
        self.check_health()?;
        self.wall = wall;
        if !self.space.has_room(wall, false, &self.shared.health) {
            return Err(TransferError::NoSpace);
        }
        self.staged.changes.extend(pages.into_iter().map(StagedPage::change));
        Ok(())
    }

    /// Joins a whole transfer with the state as it is now: what was executed before is committed first, then everything that the transfer brings is
    /// visible at once. What it brings of leases that have ended here is removed in the same group, by records of our own. Writers wait meanwhile;
    /// readers are answered from the state before.
    ///
    /// A transfer that brings nothing new by now changes nothing. What was staged is removed either way, by the next housekeepings.
    ///
    /// # Errors
    ///
    /// Refused, it changes nothing and what is staged stays; but what was executed before is committed, and nobody is told of it: whoever has something to tell
    /// commits first. After [`Commit`](TransferError::Commit) the store is poisoned, and what is staged is there
    /// when it is opened again.
    pub fn publish_transfer(
        &mut self,
        wall: WallTime,
        transfer: CompleteTransfer,
    ) -> Result<PublishedTransfer, TransferError> {
        self.check_health()?;
        self.wall = wall;
        if self.staged.under_way.is_any() {
            return Err(TransferError::GroupUnderWay);
        }
        if self.beside.is_some() {
            return Err(TransferError::JoinUnderWay);
        }
        let mut commits = self.commit()?;
        let next = self.check(wall, &transfer.header)?;
        let (mut added, mut removed) = (0, 0);
        if !self.head.mesh.frontier().includes(&transfer.header.vector) || transfer.mends() {
            let gone = self.shared.noting(material::gone(&self.shared, self.head.commit, &transfer))?;
            let swept = self.compaction.swept();
            let mended = mending::still_missing(&self.shared, self.head.commit, swept, &transfer)?;
            let joined = self.join(wall, &transfer, next, (&gone, mended));
            // From the first element on the state is neither the one nor the other.
            let join = joined.map_err(|error| match error {
                TransferError::Commit(CommitError::Poisoned { cause }) => self.poison(cause),
                error => self.poison(error.to_string()),
            })?;
            (added, removed) = (join.added, join.removed);
            commits.extend(self.commit()?);
        }
        self.forget_staged(transfer.end);
        Ok(PublishedTransfer { commits, added, removed, frontier: self.head.mesh.frontier().clone() })
    }

    /// Gives a transfer up: what is staged goes, by the next housekeepings.
    ///
    /// # Errors
    ///
    /// The engine cannot read.
    pub fn drop_transfer(&mut self) -> Result<(), ReadError> {
        let last = self.shared.engine.snapshot().last(&Kind::Staged.key(0), &Kind::Staged.end())?;
        let last = last.and_then(|(key, _)| Kind::Staged.number(&key)).unwrap_or(0);
        let pending = self.staged.changes.iter().filter_map(|change| match change {
            Change::Put(key, _) => Kind::Staged.number(key),
            Change::Remove(_) => None,
        });
        let end = pending.max().unwrap_or(0).max(last) + 1;
        self.forget_staged(end);
        Ok(())
    }

    pub(super) fn forget_staged(&self, end: u64) {
        self.shared.staged_from.fetch_max(end, Ordering::AcqRel);
    }

    /// Removes some staged rows that are of no use. Returns whether there are more.
    pub(crate) fn remove_staged(&mut self) -> Result<bool, CommitError> {
        let end = self.shared.staged_from.load(Ordering::Acquire);
        if self.staged_swept >= end {
            return Ok(false);
        }
        let snapshot = self.shared.engine.snapshot();
        let rows = snapshot.scan(&Kind::Staged.key(self.staged_swept), &Kind::Staged.key(end)).take(DROPPED_ROWS);
        let removed: Result<Vec<Change>, _> = rows.map(|row| row.map(|(key, _)| Change::Remove(key))).collect();
        let removed = removed.map_err(ReadError::from)?;
        drop(snapshot);
        if removed.len() < DROPPED_ROWS {
            self.staged_swept = end;
        }
        if !removed.is_empty() {
            self.write(removed, Persist::Os)?;
        }
        Ok(self.staged_swept < end)
    }

    /// Refuses what cannot be joined. Returns the revision that a change will have.
    pub(super) fn check(&mut self, wall: WallTime, header: &Header) -> Result<Revision, TransferError> {
        self.bind();
        let mesh = &self.head.mesh;
        let beyond = Dot::new(mesh.own(), header.vector.seq(mesh.own()));
        if !mesh.frontier().covers(beyond) {
            return Err(TransferError::AheadOfUs { dot: beyond });
        }
        for (author, stream) in &header.streams {
            let dot = Dot::new(*author, header.vector.seq(*author));
            let (ours, theirs) = (mesh.chain(*author), stream.chain);
            if mesh.frontier().seq(*author) == dot.seq && ours != theirs {
                return Err(TransferError::Forked { dot, ours, theirs });
            }
        }
        let next = self.head.revision.next().ok_or(TransferError::RevisionsExhausted)?;
        next.next().ok_or(TransferError::RevisionsExhausted)?;
        if !self.space.has_room(wall, false, &self.shared.health) {
            return Err(TransferError::NoSpace);
        }
        Ok(next)
    }

    fn join(
        &mut self,
        wall: WallTime,
        transfer: &CompleteTransfer,
        next: Revision,
        (gone, mended): (&[(Element, Holder)], HashSet<Element>),
    ) -> Result<Join, TransferError> {
        let last = self.head.commit;
        self.fence.reserve(next.next().unwrap_or(next));
        self.fence.wait_for_reserve(next.next().unwrap_or(next)).map_err(|cause| CommitError::Poisoned { cause })?;
        self.write(vec![unfinished::intent(last + 1)], Persist::Disk)?;
        let mut join = Join::new(&self.head, next, transfer.crowded.clone()).mending(mended);
        if let Some(mended) = &transfer.mended {
            self.head.digest.restore(mended.drift);
        }
        for stretch in gone.chunks(STRETCH) {
            let index = &mut self.shared.state.write().index;
            stretch.iter().for_each(|(element, holder)| join.remove(&mut self.head, index, *element, holder));
        }
        self.join_staged(transfer, &mut join)?;
        self.end_join(wall, &transfer.header, Place { first: last + 1, reserved: last + 1 }, &mut join)?;
        Ok(join)
    }

    /// Adds what is staged. The state is locked for a page at a time.
    fn join_staged(&mut self, transfer: &CompleteTransfer, join: &mut Join) -> Result<(), TransferError> {
        let (shared, head) = (&self.shared, &mut self.head);
        material::join_staged(shared, transfer, join, |join, parts, counts| {
            let index = &mut shared.state.write().index;
            parts.into_iter().for_each(|part| join.add(head, index, part, counts));
        })?;
        // What the closing rows may show must be readable.
        let rows = join.take_rows();
        if rows.is_empty() { Ok(()) } else { Ok(self.write(rows, Persist::Os)?) }
    }

    /// Puts everything that ends a join into the next group.
    pub(super) fn end_join(
        &mut self,
        wall: WallTime,
        header: &Header,
        place: Place,
        join: &mut Join,
    ) -> Result<(), TransferError> {
        {
            let index = &mut self.shared.state.write().index;
            join.settle_apart(&mut self.head, index);
            join.close(&mut self.head, index, &*self.shared.engine)?;
        }
        let revision = join.revision();
        let events = join.take_events();
        let begins = events.is_none().then(|| revision.next().unwrap_or(revision));
        if let Some(begins) = begins {
            join.begin_history(begins);
        }
        self.bind();
        self.tally.add(join.tally);
        let head = &mut self.head;
        (head.commit, head.revision) = (join.number, begins.unwrap_or(revision));
        let heads: Vec<_> =
            header.heads.iter().filter(|signed| !head.mesh.frontier().covers(signed.dot)).copied().collect();
        head.mesh.join(&header.vector, &header.streams);
        head.clock.observe(wall.0, join.newest);
        self.restate(wall, begins, (place, join.number), &header.vector);
        self.staged.changes.append(&mut join.take_rows());
        // What they prove is in no log here: they stand for themselves.
        self.stage_heads(join.number, heads);
        self.staged.changes.push(unfinished::settled(place.reserved));
        self.staged.system.extend(std::mem::take(&mut join.system));
        self.staged.commits.push(Arc::new(Commit {
            number: join.number,
            revision: self.head.revision,
            events: events.unwrap_or_default(),
            leases: std::mem::take(&mut join.leases),
            system: self.staged.system.iter().cloned().collect(),
        }));
        Ok(())
    }

    /// Writes down where everything stands after a join.
    fn restate(&mut self, wall: WallTime, begins: Option<Revision>, joined: (Place, u64), vector: &VersionVector) {
        let (compacted, begins_at, horizon, mut progress) = match begins {
            Some(revision) => (revision.get(), joined.1, joined.1, self.compaction.progress()),
            None => self.compaction.standing(),
        };
        // Our log is told as before to whoever has what came: it is not in the log.
        progress.floor.join(vector);
        let (Place { first, reserved }, last) = joined;
        progress.received.push((reserved, last));
        if first < reserved {
            progress.gaps.0.push((first, reserved - 1));
        }
        let head = &mut self.head;
        head.compacted = compacted;
        head.since_base = SinceBase::at(head.commit);
        let base = BaseRow {
            compacted,
            first: begins_at,
            horizon,
            progress,
            commit: head.commit,
            revision: head.revision,
            hlc: head.clock.last(),
            digest: head.digest.bits(),
            rows: self.tally.hashes,
            mesh: head.mesh.clone(),
            private: head.private.clone(),
        };
        let written = if begins.is_some() { self.compaction.ask(wall, base) } else { self.compaction.restate(base) };
        self.staged.changes.extend(written);
        self.staged.base = Some(StagedBase { horizon, first: begins_at, is_join: true });
    }
}
