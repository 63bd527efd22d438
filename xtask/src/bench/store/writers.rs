//! Writers that each wait for their put, on one thread that also executes, beside one that syncs. Either of them writes: the store decides.
//!
//! A writer is a task that brings its put to the committer and sleeps until the group it is in is published. A group is sealed when half
//! of the writers wait for it and the disk has nothing to do, or when everybody waits; what a sync has covered is published
//! between two puts. So one half of the writers is served while the disk takes the other's puts, and threads wake each other only when one
//! of them has run out of work. With a thread for each writer most of what one measures would be the kernel waking sixty-four threads.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
};
use tombolo_storage::{Committer, Disk, Group, Put, Request, WallTime};

use self::bell::Bell;
use crate::bench::load::{Values, key, mix};

mod bell;

/// How much to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) writers: u64,
    /// Puts of each writer.
    pub(super) each: u64,
    pub(super) keys: u64,
    pub(super) seed: u64,
}

/// What the two threads share.
struct Line {
    disk: Disk,
    /// Rung when a group is sealed, or nothing more will be.
    written: Bell,
    /// Rung when a sync has ended.
    synced: Bell,
    is_over: AtomicBool,
}

/// What the writers share: they take turns, none holds it while it waits.
struct Shared {
    committer: RefCell<Committer>,
    line: Arc<Line>,
    /// When a group was published last.
    wall: Cell<WallTime>,
    /// Writers that have puts left.
    writing: Cell<usize>,
    /// Those of them that wait for the group that is filling up.
    waiting: RefCell<Vec<Waker>>,
    /// Groups on their way, and who waits for each.
    under_way: RefCell<VecDeque<(Group, Vec<Waker>)>>,
    /// Groups that were sealed.
    sealed: Cell<u64>,
    /// Groups that were published.
    published: Cell<u64>,
}

impl Work {
    /// Puts in all.
    pub(super) const fn puts(self) -> u64 {
        self.writers * self.each
    }

    /// Does the work. Returns the committer and the number of syncs it took.
    pub(super) fn run(self, committer: Committer) -> Result<(Committer, u64)> {
        let disk = committer.disk();
        let is_over = AtomicBool::new(false);
        let line = Arc::new(Line { disk, written: Bell::default(), synced: Bell::default(), is_over });
        let other = Arc::clone(&line);
        let syncing = thread::spawn(move || other.sync());
        let committer = self.write(committer, &line);
        line.is_over.store(true, Ordering::Release);
        line.written.ring();
        let syncs = syncing.join().ok().context("the syncing thread panicked")?;
        Ok((committer?, syncs))
    }

    fn write(self, committer: Committer, line: &Arc<Line>) -> Result<Committer> {
        let shared = Rc::new(Shared {
            committer: RefCell::new(committer),
            line: Arc::clone(line),
            wall: Cell::new(now()),
            writing: Cell::new(usize::try_from(self.writers)?),
            waiting: RefCell::default(),
            under_way: RefCell::default(),
            sealed: Cell::new(0),
            published: Cell::new(0),
        });
        let runtime = runtime::Builder::new_current_thread().build()?;
        runtime.block_on(LocalSet::new().run_until(self.spawn_writers(&shared)))?;
        let shared = Rc::into_inner(shared).context("a writer is still there")?;
        Ok(shared.committer.into_inner())
    }

    async fn spawn_writers(self, shared: &Rc<Shared>) -> Result<()> {
        let values = Values::new(self.seed);
        let mut writers = JoinSet::new();
        for writer in 0..self.writers {
            let numbers = writer * self.each..(writer + 1) * self.each;
            writers.spawn_local(one_writer(self, numbers, values.clone(), Rc::clone(shared)));
        }
        while let Some(done) = writers.join_next().await {
            done.context("a writer panicked")??;
        }
        Ok(())
    }
}

async fn one_writer(work: Work, numbers: Range<u64>, values: Values, shared: Rc<Shared>) -> Result<()> {
    for number in numbers {
        let key = key(mix(work.seed ^ number) % work.keys);
        let put = Put { key, value: Some(values.value(number)), lease: Some(0), previous: false };
        shared.committer.borrow_mut().execute(shared.wall.get(), Request::Put(put))?;
        shared.published().await?;
    }
    shared.writing.update(|writing| writing - 1);
    // The others may have been waiting for this one alone.
    shared.move_on()
}

impl Line {
    /// Syncs until everything is sealed and synced. Returns how often.
    fn sync(&self) -> u64 {
        let mut syncs = 0;
        loop {
            self.written.wait_until(|| self.disk.is_behind() || self.is_over.load(Ordering::Acquire));
            if !self.disk.is_behind() {
                return syncs;
            }
            self.disk.sync();
            self.synced.ring();
            syncs += 1;
        }
    }
}

impl Shared {
    /// Waits until the group that is filling up is durable and visible.
    async fn published(&self) -> Result<()> {
        let group = self.sealed.get() + 1;
        poll_fn(|context| {
            if self.published.get() >= group {
                return Poll::Ready(Ok(()));
            }
            // A writer is woken only when its group is published.
            self.waiting.borrow_mut().push(context.waker().clone());
            match self.move_on() {
                Ok(()) => Poll::Pending,
                Err(why) => Poll::Ready(Err(why)),
            }
        })
        .await
    }

    /// Does what can be done for groups between two puts; waits for the disk when everybody else does.
    fn move_on(&self) -> Result<()> {
        self.publish()?;
        let filling = self.waiting.borrow().len();
        let is_half = 2 * filling >= self.writing.get();
        if filling > 0 && (self.is_nobody_left() || (is_half && !self.line.disk.is_behind())) {
            self.seal()?;
        }
        while self.is_nobody_left() && !self.under_way.borrow().is_empty() {
            self.line.synced.wait_until(|| self.is_first_settled());
            self.publish()?;
        }
        Ok(())
    }

    /// Whether every writer that has puts left waits.
    fn is_nobody_left(&self) -> bool {
        let under_way = self.under_way.borrow().iter().map(|(_, waiting)| waiting.len()).sum::<usize>();
        under_way + self.waiting.borrow().len() == self.writing.get()
    }

    fn is_first_settled(&self) -> bool {
        self.under_way.borrow().front().is_some_and(|(group, _)| group.is_settled())
    }

    fn seal(&self) -> Result<()> {
        let group = self.committer.borrow_mut().seal()?.context("puts were executed and there is no group")?;
        self.under_way.borrow_mut().push_back((group, self.waiting.take()));
        self.sealed.update(|sealed| sealed + 1);
        self.line.written.ring();
        Ok(())
    }

    /// Publishes what the disk has, and lets its writers go on.
    fn publish(&self) -> Result<()> {
        let mut committer = self.committer.borrow_mut();
        while self.is_first_settled() {
            let Some((group, waiting)) = self.under_way.borrow_mut().pop_front() else { break };
            committer.publish(group)?;
            self.wall.set(now());
            while committer.maintain(self.wall.get())? {}
            self.published.update(|published| published + 1);
            waiting.into_iter().for_each(Waker::wake);
        }
        Ok(())
    }
}

/// The moment, as the store is told it.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
