//! Writers that each wait for their put, on one thread that also executes, and one thread that waits for the disk.
//!
//! A writer is a task that brings its put to the committer and sleeps until the group it is in is published. While one
//! group is on its way to the disk the next one fills up. With a thread for each writer most of what one measures is the
//! kernel waking sixty-four threads; with a thread for the committer, two more wakes for each group.

use std::{
    cell::RefCell,
    rc::Rc,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    runtime,
    sync::{Notify, mpsc, oneshot},
    task::{JoinSet, LocalSet},
};
use tombolo_storage::{Committer, Group, Put, Request, WallTime};

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
    /// Who waits for the group that is filling up.
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
    /// Something was executed.
    executed: Notify,
}

impl Work {
    /// Puts in all.
    pub(super) const fn puts(self) -> u64 {
        self.writers * self.each
    }

    /// Does the work. Returns the committer and the number of groups it made durable.
    pub(super) fn run(self, committer: Committer) -> Result<(Committer, u64)> {
        let (to_disk, mut sealed) = mpsc::channel::<Group>(1);
        let (on_disk, durable) = mpsc::channel::<Group>(1);
        let disk = thread::spawn(move || {
            while let Some(mut group) = sealed.blocking_recv() {
                group.persist();
                if on_disk.blocking_send(group).is_err() {
                    return;
                }
            }
        });
        let shared = Rc::new(Shared {
            committer: RefCell::new(committer),
            waiting: RefCell::new(Vec::new()),
            executed: Notify::new(),
        });
        let runtime = runtime::Builder::new_current_thread().build()?;
        let groups = runtime.block_on(LocalSet::new().run_until(self.write(Rc::clone(&shared), to_disk, durable)))?;
        disk.join().map_err(|_| anyhow!("the disk thread panicked"))?;
        let shared = Rc::into_inner(shared).context("a writer is still there")?;
        Ok((shared.committer.into_inner(), groups))
    }

    /// Runs the writers and sends their groups to the disk, one at a time. Returns the number of groups.
    async fn write(
        self,
        shared: Rc<Shared>,
        to_disk: mpsc::Sender<Group>,
        mut durable: mpsc::Receiver<Group>,
    ) -> Result<u64> {
        let values = Values::new(self.seed);
        let mut writers = JoinSet::new();
        for writer in 0..self.writers {
            let numbers = writer * self.each..(writer + 1) * self.each;
            writers.spawn_local(one_writer(self, numbers, values.clone(), Rc::clone(&shared)));
        }
        let mut groups = 0;
        loop {
            let sealed = shared.committer.borrow_mut().seal()?;
            let Some(group) = sealed else {
                tokio::select! {
                    () = shared.executed.notified() => continue,
                    done = writers.join_next() => match done {
                        Some(done) => done.context("a writer panicked")??,
                        None => return Ok(groups),
                    },
                }
                continue;
            };
            let waiting = std::mem::take(&mut *shared.waiting.borrow_mut());
            to_disk.send(group).await.context("the disk thread ended")?;
            let group = durable.recv().await.context("the disk thread ended")?;
            shared.committer.borrow_mut().publish(group)?;
            groups += 1;
            for writer in waiting {
                writer.send(()).map_err(|()| anyhow!("a writer ended"))?;
            }
            while shared.committer.borrow_mut().maintain(now())? {}
        }
    }
}

async fn one_writer(work: Work, numbers: std::ops::Range<u64>, values: Values, shared: Rc<Shared>) -> Result<()> {
    for number in numbers {
        let key = key(mix(work.seed ^ number) % work.keys);
        let put = Put { key, value: Some(values.value(number)), lease: Some(0), previous: false };
        let (done, published) = oneshot::channel();
        shared.committer.borrow_mut().execute(now(), Request::Put(put))?;
        shared.waiting.borrow_mut().push(done);
        shared.executed.notify_one();
        published.await.context("the group was not published")?;
    }
    Ok(())
}

/// The moment, as the store is told it.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
