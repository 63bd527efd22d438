//! A join that is prepared beside the running state, so that clients write on meanwhile.
//!
//! Its rows are written under commit numbers, and show at a revision, that are reserved for it; local writes take those before. The index in which everything has come
//! is made beside the running one and follows it. What is left for the moment in which everything waits is: the last few keys that
//! changed, the closing rows, the base row, and one index put in the place of the other.
//!
//! Records of peers wait while a join is prepared: they might bring what it brings. Whoever holds the [`Preparation`] runs it, on any thread, and gives it
//! back to the committer. One that is lost is taken back when the store is opened again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use tombolo_crdt::Element;

use super::{
    CompleteTransfer, PublishedTransfer, TransferError,
    header::Header,
    join::{Holder, Join},
    material::{self, BATCH_BYTES},
    publish::Place,
    unfinished::{self, Unfinished},
};
use crate::{
    Commit, CommitError, Committer, Revision, WallTime,
    engine::{EngineError, Persist},
    head::Head,
    index::{Gone, Index, KeyEntry},
    outbox,
    store::Shared,
};

/// Elements above which a join is worth preparing: fewer are joined as quickly as a group is written.
const LARGE: usize = 4096;
/// Commits that may be made meanwhile, for each element that is to be joined, and at least.
const AHEAD_EACH: u64 = 2;
const AHEAD_MIN: u64 = 1 << 16;
/// Of those, what is left for commits that no request makes.
const MARGIN: u64 = 1 << 10;
/// Keys copied, or brought up to date, while the state is locked.
const STRETCH_KEYS: usize = 256;
/// Changed keys that may be left for the end, and how often it is tried to have no more.
const FEW_KEYS: usize = 256;
const ROUNDS: usize = 8;

/// A join under way beside the committer.
pub(crate) struct Beside {
    /// The last number before those that are reserved for it.
    last: u64,
}

/// A join that is being prepared. It is the caller's to [run](Self::run), and to [give back](Committer::publish_prepared).
#[must_use = "records of peers wait until it is given back"]
pub struct Preparation {
    shared: Arc<Shared>,
    /// Gone once it is done.
    transfer: Option<CompleteTransfer>,
    header: Header,
    end: u64,
    /// The last commit when it began, and the last number before those that are reserved.
    began: u64,
    last: u64,
    /// The revision at which history begins.
    begins: Revision,
    /// Stands for the head: what the join adds to it.
    shadow: Head,
    index: Index,
    join: Join,
    /// The elements that go from keys, and those that have gone from the index that was copied.
    gone: HashMap<Bytes, Vec<Element>>,
    taken: HashMap<Element, Gone>,
    written_bytes: u64,
    outcome: Option<Result<(), TransferError>>,
}

impl CompleteTransfer {
    /// Whether it is so much that joining it should be [prepared](Committer::prepare_transfer). What mends this store is joined in one go.
    pub fn is_large(&self) -> bool {
        self.mended.is_none() && self.staged.places.len() + self.removed.len() > LARGE
    }
}

impl Preparation {
    /// Prepares everything that can be. It takes seconds for a million elements, reads and writes the disk, and twice the memory of the index.
    pub fn run(&mut self) {
        let outcome = self.prepare();
        self.transfer = None;
        self.outcome = Some(outcome);
    }

    fn prepare(&mut self) -> Result<(), TransferError> {
        let Some(transfer) = self.transfer.take() else { return Ok(()) };
        self.copy();
        for (element, holder) in self.shared.noting(material::gone(&self.shared, self.began, &transfer))? {
            self.join.remove(&mut self.shadow, &mut self.index, element, &holder);
            if let Holder::Key(key) = holder {
                self.gone.entry(key).or_default().push(element);
            }
        }
        let departed = std::mem::take(&mut self.index.departed);
        self.taken = departed.into_gone().map(|gone| (gone.element, gone)).collect();
        let Self { shared, join, shadow, index, .. } = self;
        material::join_staged(shared, &transfer, join, |join, parts, counts| {
            parts.into_iter().for_each(|part| join.add(shadow, index, part, counts));
        })?;
        self.close()?;
        self.shared.engine.persist().map_err(|error| self.broken(&error))?;
        for _ in 0..ROUNDS {
            if self.catch_up() <= FEW_KEYS {
                break;
            }
            self.close()?;
        }
        self.close()?;
        self.shared.engine.persist().map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &EngineError) -> TransferError {
        let cause = error.to_string();
        self.shared.reached.fail(&self.shared.health, cause.clone());
        CommitError::Poisoned { cause }.into()
    }

    fn copy(&mut self) {
        let mut last: Option<Bytes> = None;
        loop {
            last = self.index.copy(&self.shared.state.read().index, last.as_deref(), STRETCH_KEYS);
            if last.is_none() {
                return;
            }
        }
    }

    /// Makes the closing rows of what is known by now, and writes what there is of rows.
    fn close(&mut self) -> Result<(), TransferError> {
        let Self { shared, join, shadow, index, .. } = self;
        if join.has_deferred() {
            join.close(shadow, index, &*shared.engine)?;
        }
        let mut batch = Vec::new();
        let mut rows = join.take_rows().into_iter().peekable();
        let mut bytes = 0;
        while let Some(row) = rows.next() {
            bytes += outbox::bytes(std::slice::from_ref(&row));
            batch.push(row);
            if bytes >= BATCH_BYTES as u64 || rows.peek().is_none() {
                self.written_bytes += std::mem::take(&mut bytes);
                let written = shared.write_beside(std::mem::take(&mut batch));
                written.map_err(|cause| CommitError::Poisoned { cause })?;
            }
        }
        Ok(())
    }

    /// Brings up to date what has changed since the last time, in stretches. Returns how many keys that were.
    fn catch_up(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let touched = shared.state.write().index.take_touched();
        let keys: Vec<Bytes> = touched.into_iter().collect();
        for stretch in keys.chunks(STRETCH_KEYS) {
            self.follow(&shared.state.read().index, stretch);
        }
        keys.len()
    }

    fn follow(&mut self, running: &Index, keys: &[Bytes]) {
        for key in keys {
            self.follow_key(key, running.get(key));
        }
    }

    /// What the running index has of a key, without what goes, and with what has come. The key was changed since it was copied.
    fn follow_key(&mut self, key: &Bytes, running: Option<&KeyEntry>) {
        let mut entry = running.cloned().unwrap_or_default();
        let mut is_of_both = false;
        for element in self.gone.get(key).into_iter().flatten() {
            if entry.register.remove(*element).is_some() {
                is_of_both = true;
            } else if let Some(gone) = self.taken.remove(element) {
                // Somebody else has removed it meanwhile.
                self.shadow.digest.restore(gone.share);
                self.join.removed -= 1;
            }
        }
        if let Some(prepared) = self.index.get(key) {
            let come = prepared.register.siblings().filter(|(_, sibling)| sibling.value.commit > self.last);
            come.for_each(|(element, sibling)| entry.register.add(element, sibling.hlc, sibling.value));
            let made = prepared.touches.iter().filter(|touch| touch.commit > self.last);
            let known = entry.touches.len();
            entry.touches.extend(made.copied());
            is_of_both |= entry.touches.len() > known;
        }
        *self.index.entry(key) = entry;
        self.index.forget_if_empty(key);
        if is_of_both {
            self.join.look_again_at(key.clone());
        }
    }
}

impl Committer {
    /// Begins to join a transfer beside everything else: what was executed before is committed, and numbers are reserved. Until it is
    /// [given back](Self::publish_prepared), requests are executed as ever; records of peers and steps of an import are refused, and compaction rests.
    ///
    /// As it is for much, history begins when it is published. `None` when it brings nothing new by now; what was staged is removed then.
    ///
    /// # Errors
    ///
    /// As [`publish_transfer`](Self::publish_transfer).
    pub fn prepare_transfer(
        &mut self,
        wall: WallTime,
        transfer: CompleteTransfer,
    ) -> Result<(Vec<Arc<Commit>>, Option<Preparation>), TransferError> {
        self.check_health()?;
        self.wall = wall;
        if self.staged.under_way.is_any() {
            return Err(TransferError::GroupUnderWay);
        }
        if self.beside.is_some() {
            return Err(TransferError::JoinUnderWay);
        }
        let commits = self.commit()?;
        self.check(wall, &transfer.header)?;
        if self.head.mesh.frontier().includes(&transfer.header.vector) {
            self.forget_staged(transfer.end);
            return Ok((commits, None));
        }
        let ahead = (transfer.staged.places.len() as u64 * AHEAD_EACH).max(AHEAD_MIN);
        let revision = u32::try_from(ahead).ok().and_then(|ahead| self.head.revision.after(ahead));
        let revision = revision.ok_or(TransferError::RevisionsExhausted)?;
        let next = revision.next().ok_or(TransferError::RevisionsExhausted)?;
        let begins = next.next().ok_or(TransferError::RevisionsExhausted)?;
        let (began, last) = (self.head.commit, self.head.commit + ahead);
        self.write(vec![unfinished::intent(last + 1)], Persist::Disk)?;
        self.beside = Some(Beside { last });
        let shadow = self.head.beside(last, revision);
        let preparation = Preparation {
            index: self.shared.state.write().index.beside(),
            join: Join::untold(&shadow, next, transfer.crowded.clone()),
            header: transfer.header.clone(),
            end: transfer.end,
            transfer: Some(transfer),
            shared: Arc::clone(&self.shared),
            began,
            last,
            begins,
            shadow,
            gone: HashMap::new(),
            taken: HashMap::new(),
            written_bytes: 0,
            outcome: None,
        };
        Ok((commits, Some(preparation)))
    }

    /// Whether a join is being prepared, so that only requests can be executed.
    pub fn is_joining(&self) -> bool {
        self.beside.is_some()
    }

    /// Whether a join that is being prepared leaves no numbers for further commits: it must be published first.
    pub fn must_join(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| self.head.commit + MARGIN >= beside.last)
    }

    /// Publishes what was prepared: everything that the transfer brings is visible at once. One that was not run, or failed, is abandoned.
    ///
    /// # Errors
    ///
    /// As [`publish_transfer`](Self::publish_transfer). Refused, it changes nothing, is forgotten, and what is staged stays.
    pub fn publish_prepared(
        &mut self,
        wall: WallTime,
        mut preparation: Preparation,
    ) -> Result<PublishedTransfer, TransferError> {
        self.check_health()?;
        self.wall = wall;
        let outcome = preparation.outcome.take().unwrap_or(Err(TransferError::NotPrepared));
        let checked = outcome.and_then(|()| {
            if self.staged.under_way.is_any() {
                return Err(TransferError::GroupUnderWay);
            }
            let commits = self.commit()?;
            self.check(wall, &preparation.header).map(|_| commits)
        });
        let mut commits = match checked {
            Ok(commits) => commits,
            Err(why) => {
                self.abandon_transfer(preparation)?;
                return Err(why);
            }
        };
        let end = preparation.end;
        let join = self.install(wall, preparation).map_err(|error| match error {
            TransferError::Commit(CommitError::Poisoned { cause }) => self.poison(cause),
            error => self.poison(error.to_string()),
        })?;
        commits.extend(self.commit()?);
        self.beside = None;
        self.forget_staged(end);
        Ok(PublishedTransfer {
            commits,
            added: join.added,
            removed: join.removed,
            frontier: self.head.mesh.frontier().clone(),
        })
    }

    /// Gives up what is being prepared. What is staged stays.
    ///
    /// # Errors
    ///
    /// A write failed: the store is poisoned.
    pub fn abandon_transfer(&mut self, preparation: Preparation) -> Result<(), CommitError> {
        self.shared.state.write().index.leave_alone();
        self.beside = None;
        let taken_back = Unfinished::of(preparation.last + 1).take_back(&*self.shared.engine);
        let taken_back = taken_back.map_err(|error| self.poison(error.to_string()));
        discard(preparation);
        taken_back
    }

    /// The moment in which everything waits.
    fn install(&mut self, wall: WallTime, mut preparation: Preparation) -> Result<Join, TransferError> {
        let begins = preparation.begins;
        self.fence.reserve(begins);
        self.fence.wait_for_reserve(begins).map_err(|cause| CommitError::Poisoned { cause })?;
        let touched: HashSet<Bytes> = self.shared.state.write().index.take_touched();
        let touched: Vec<Bytes> = touched.into_iter().collect();
        preparation.follow(&self.shared.state.read().index, &touched);
        let Preparation { header, last, shadow, mut index, mut join, gone, taken, written_bytes, .. } = preparation;
        taken.into_values().for_each(|gone| index.departed.note(gone));
        self.head.digest.join(shadow.digest);
        self.head.orphaned.extend(shadow.orphaned);
        let old = index.replace(&mut self.shared.state.write().index);
        discard((old, gone));
        self.prepare_write(written_bytes)?;
        let place = Place { first: self.head.commit + 1, reserved: last + 1 };
        self.end_join(wall, &header, place, &mut join)?;
        Ok(join)
    }
}

/// Gives back much memory, for which nobody should wait.
fn discard<T: Send + 'static>(what: T) {
    // Where no thread can be had, whoever is here waits after all.
    drop(thread::Builder::new().name("discard".to_owned()).spawn(move || drop(what)));
}
