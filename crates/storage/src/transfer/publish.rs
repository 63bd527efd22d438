//! Joining a whole transfer with the state of the moment, in one step.
//!
//! An intent, then the rows, batch by batch, then one group with the closing rows, the base row that says where everything stands now, and the
//! intent's removal. Readers see the state before until that group is published; a crash before it leaves an [intent](super::unfinished) without
//! its base.
//!
//! A publication takes one revision if it changes what etcd clients see. When it changes more than can be told as events it takes a
//! second one, at which nothing happens and history begins: whoever watches from before is told that it is compacted.

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
};

use thiserror::Error;
use tombolo_crdt::{Chain, Dot, Element, VersionVector};

use super::{
    CompleteTransfer, StagedPage,
    header::Header,
    join::{Holder, Join},
    staging::{self, StagedRow},
    unfinished,
};
use crate::{
    Commit, CommitError, Committer, ReadError, Revision, WallTime,
    engine::{Change, EngineError, Persist},
    group::StagedBase,
    row::{
        Kind,
        base::BaseRow,
        commit::{self, CommitRow, Layer, Part},
    },
    since_base::SinceBase,
    store::Shared,
};

/// Bytes of rows written at a time.
const BATCH_BYTES: usize = 1 << 20;
/// Pages that are read ahead of the join.
const PAGES_AHEAD: usize = 4;
/// Batches that wait to be written.
const BATCHES_AHEAD: usize = 4;
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
    /// What watchers and the lease table are to be told, in order: what was executed before, and then the transfer.
    pub commits: Vec<Arc<Commit>>,
    /// Elements that came.
    pub added: u64,
    /// Elements that went.
    pub removed: u64,
    /// Everything applied from here on.
    pub frontier: VersionVector,
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
    /// visible at once. Writers wait meanwhile; readers are answered from the state before.
    ///
    /// A transfer that brings nothing new by now changes nothing. What was staged is removed either way, by the next housekeepings.
    ///
    /// # Errors
    ///
    /// Refused, it changes nothing and what is staged stays. After [`Commit`](TransferError::Commit) the store is poisoned, and what is staged is there
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
        let mut commits = self.commit()?;
        let next = self.check(wall, &transfer.header)?;
        let (mut added, mut removed) = (0, 0);
        if !self.head.mesh.frontier().includes(&transfer.header.vector) {
            let gone = self.gone(&transfer)?;
            let joined = self.join(wall, &transfer, next, &gone);
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

    fn forget_staged(&self, end: u64) {
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
    fn check(&mut self, wall: WallTime, header: &Header) -> Result<Revision, TransferError> {
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

    /// What is here, covered by the transfer's vector, and not in the transfer: it was removed. Of what we had when we asked, the
    /// comparison said so; what has come here since must be among what is staged.
    fn gone(&self, transfer: &CompleteTransfer) -> Result<Vec<(Element, Holder)>, ReadError> {
        let CompleteTransfer { header, since, removed, staged, .. } = transfer;
        let mut gone = removed.clone();
        let snapshot = self.shared.engine.snapshot();
        for row in snapshot.scan(&commit::key(since + 1), &commit::key(self.head.commit + 1)) {
            let (key, row) = row?;
            let number = Kind::Commit.number(&key).ok_or(ReadError::Rot { commit: since + 1 })?;
            let row = CommitRow::decode(&row, number)?;
            for part in row.parts.iter().filter(|part| part.layer == Layer::Mesh && header.vector.covers(part.dot())) {
                let elements = part.numbered().map(|(at, operation)| (part.dot().element(at), operation));
                let lacking = elements.filter(|(element, _)| {
                    !header.asked.covers_element(*element) && !staged.places.contains_key(element)
                });
                gone.extend(lacking.filter_map(|(element, op)| Some((element, Holder::of(element, op)?))));
            }
        }
        Ok(gone)
    }

    fn join(
        &mut self,
        wall: WallTime,
        transfer: &CompleteTransfer,
        next: Revision,
        gone: &[(Element, Holder)],
    ) -> Result<Join, TransferError> {
        let last = self.head.commit;
        self.fence.reserve(next.next().unwrap_or(next));
        self.fence.wait_for_reserve(next.next().unwrap_or(next)).map_err(|cause| CommitError::Poisoned { cause })?;
        self.write(vec![unfinished::intent(last + 1)], Persist::Disk)?;
        let mut join = Join::new(&self.head, next, transfer.crowded.clone());
        for stretch in gone.chunks(STRETCH) {
            let index = &mut self.shared.state.write().index;
            stretch.iter().for_each(|(element, holder)| join.remove(&mut self.head, index, *element, holder));
        }
        self.join_staged(transfer, &mut join)?;
        self.end_join(wall, transfer, &mut join)?;
        Ok(join)
    }

    /// Adds what is staged. Reading it and writing what comes of it are two thirds of the work, and are done beside it.
    fn join_staged(&mut self, transfer: &CompleteTransfer, join: &mut Join) -> Result<(), TransferError> {
        let (reading, writing) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let is_plain = transfer.staged.is_plain();
        let mut found = 0;
        thread::scope(|scope| -> Result<(), TransferError> {
            let (pages, staged) = mpsc::sync_channel(PAGES_AHEAD);
            let (rows, made) = mpsc::sync_channel::<Vec<Change>>(BATCHES_AHEAD);
            scope.spawn(move || read_staged(&reading, &pages));
            let writer = scope.spawn(move || made.iter().try_for_each(|rows| writing.write_apart(rows, Persist::Os)));
            for page in staged {
                let (ordinal, parts) = page.map_err(ReadError::from)?;
                let counts = |element: Element| {
                    is_plain || transfer.staged.places.get(&element).is_some_and(|place| place.row == ordinal)
                };
                {
                    let index = &mut self.shared.state.write().index;
                    for part in parts {
                        found += part.numbered().filter(|(at, _)| counts(part.dot().element(*at))).count();
                        join.add(&mut self.head, index, part, counts);
                    }
                }
                if join.row_bytes >= BATCH_BYTES {
                    self.prepare_write(join.row_bytes as u64)?;
                    join.row_bytes = 0;
                    // Nobody takes it only when an earlier one failed, which is told at the end.
                    if rows.send(std::mem::take(&mut join.rows)).is_err() {
                        break;
                    }
                }
            }
            drop(rows);
            let written = writer.join().unwrap_or_else(|_| Err("the thread that writes has panicked".to_owned()));
            written.map_err(|cause| CommitError::Poisoned { cause }.into())
        })?;
        // A row that was lost since it was staged.
        if found != transfer.staged.places.len() {
            return Err(ReadError::Rot { commit: self.head.commit }.into());
        }
        // What the closing rows may show must be readable.
        let rows = std::mem::take(&mut join.rows);
        if rows.is_empty() { Ok(()) } else { Ok(self.write(rows, Persist::Os)?) }
    }

    /// Puts everything that ends a join into the next group.
    fn end_join(&mut self, wall: WallTime, transfer: &CompleteTransfer, join: &mut Join) -> Result<(), TransferError> {
        {
            let index = &mut self.shared.state.write().index;
            join.close(&mut self.head, index, &*self.shared.engine)?;
        }
        let revision = join.revision();
        let events = join.take_events();
        let begins = events.is_none().then(|| revision.next().unwrap_or(revision));
        if let Some(begins) = begins {
            join.begin_history(begins);
        }
        self.tally.add(join.tally);
        let head = &mut self.head;
        let first = head.commit + 1;
        (head.commit, head.revision) = (join.number, begins.unwrap_or(revision));
        head.mesh.join(&transfer.header.vector, &transfer.header.streams);
        head.clock.observe(wall.0, join.newest);
        self.restate(wall, begins, (first, join.number), &transfer.header.vector);
        self.staged.changes.append(&mut join.rows);
        self.staged.changes.push(unfinished::settled(first));
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
    fn restate(&mut self, wall: WallTime, begins: Option<Revision>, joined: (u64, u64), vector: &VersionVector) {
        let (compacted, first, horizon, mut progress) = match begins {
            Some(revision) => (revision.get(), joined.1, joined.1, self.compaction.progress()),
            None => self.compaction.standing(),
        };
        // Our log is told as before to whoever has what came: it is not in the log.
        progress.floor.join(vector);
        progress.received.push(joined);
        let head = &mut self.head;
        head.compacted = compacted;
        head.since_base = SinceBase::at(head.commit);
        let base = BaseRow {
            compacted,
            first,
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
        self.staged.changes.push(written);
        self.staged.base = Some(StagedBase { horizon, first, is_join: true });
    }
}

/// A staged page with its ordinal.
type ReadPage = Result<(u64, Vec<Part>), EngineError>;

/// Reads the staged pages in order.
fn read_staged(shared: &Shared, pages: &mpsc::SyncSender<ReadPage>) {
    let snapshot = shared.engine.snapshot();
    for row in staging::rows(&*snapshot, shared.staged_from.load(Ordering::Acquire)) {
        let page = match row {
            Ok((ordinal, row)) => match StagedRow::decode(ordinal, &row) {
                StagedRow::Page(parts) => Ok((ordinal, parts)),
                StagedRow::Header { .. } | StagedRow::Damaged => continue,
            },
            Err(error) => Err(error),
        };
        // The other side hangs up at the first failure.
        if pages.send(page).is_err() {
            return;
        }
    }
}
