//! Writers that each wait for their put, on one thread that also executes and waits for the disk.
//!
//! A writer is a task that brings its put to the committer and sleeps until the group it is in is published. Whoever finds
//! that everybody else sleeps makes the group durable for all: the committer's thread of the server does the same when it
//! takes what has gathered. With a thread for each writer most of what one measures is the kernel waking sixty-four threads;
//! with a thread for the disk, two more wakes and twice the syncs for each put.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    ops::Range,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
};
use tombolo_storage::{Committer, Put, Request, WallTime};

use crate::bench::load::{Values, key, mix};

/// How much to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) writers: u64,
    /// Puts of each writer.
    pub(super) each: u64,
    pub(super) keys: u64,
    pub(super) seed: u64,
}

/// What the writers share: they take turns, none holds it while it waits.
struct Shared {
    committer: RefCell<Committer>,
    /// When the group that is filling up began.
    wall: Cell<WallTime>,
    /// Writers that have puts left.
    writing: Cell<usize>,
    /// Those of them that wait for the group that is filling up.
    waiting: RefCell<Vec<Waker>>,
    /// Groups made durable.
    groups: Cell<u64>,
}

impl Work {
    /// Puts in all.
    pub(super) const fn puts(self) -> u64 {
        self.writers * self.each
    }

    /// Does the work. Returns the committer and the number of groups it made durable.
    pub(super) fn run(self, committer: Committer) -> Result<(Committer, u64)> {
        let shared = Rc::new(Shared {
            committer: RefCell::new(committer),
            wall: Cell::new(now()),
            writing: Cell::new(usize::try_from(self.writers)?),
            waiting: RefCell::default(),
            groups: Cell::new(0),
        });
        let runtime = runtime::Builder::new_current_thread().build()?;
        runtime.block_on(LocalSet::new().run_until(self.write(&shared)))?;
        let shared = Rc::into_inner(shared).context("a writer is still there")?;
        Ok((shared.committer.into_inner(), shared.groups.get()))
    }

    async fn write(self, shared: &Rc<Shared>) -> Result<()> {
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
    if shared.waiting.borrow().len() == shared.writing.get() { shared.commit() } else { Ok(()) }
}

impl Shared {
    /// Waits until the group that is filling up is durable and visible.
    async fn published(&self) -> Result<()> {
        let before = self.groups.get();
        if self.waiting.borrow().len() + 1 == self.writing.get() {
            return self.commit();
        }
        poll_fn(|context| {
            if self.groups.get() > before {
                return Poll::Ready(Ok(()));
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Makes everybody's puts durable, and lets everybody go on.
    fn commit(&self) -> Result<()> {
        let mut committer = self.committer.borrow_mut();
        committer.commit()?;
        self.wall.set(now());
        while committer.maintain(self.wall.get())? {}
        self.groups.update(|groups| groups + 1);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        Ok(())
    }
}

/// The moment, as the store is told it.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
