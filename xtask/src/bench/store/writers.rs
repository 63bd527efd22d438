//! Writers that each wait for their put, and one committer thread that makes all waiting puts durable as one group.
//!
//! This is the server's shape without gRPC: writers are tasks of one runtime, and a group's replies come back in one
//! message. With a thread for each writer most of what one measures is the kernel waking sixty-four threads.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tombolo_storage::{Committer, Group, Put, Request, WallTime};

use crate::bench::load::{Values, key, mix};

/// Puts that wait at most; more than there are writers, so that none ever waits to wait.
const QUEUE_PUTS_MAX: usize = 1024;

/// How much to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) writers: u64,
    /// Puts of each writer.
    pub(super) each: u64,
    pub(super) keys: u64,
    pub(super) seed: u64,
}

/// A put on its way to the committer, and the way back to its writer.
type Job = (Request, oneshot::Sender<()>);

impl Work {
    /// Puts in all.
    pub(super) const fn puts(self) -> u64 {
        self.writers * self.each
    }

    /// Does the work. Returns the committer and the number of groups it made durable.
    pub(super) fn run(self, committer: Committer) -> Result<(Committer, u64)> {
        let (queue, jobs) = mpsc::channel(QUEUE_PUTS_MAX);
        let (groups, replies) = mpsc::channel(QUEUE_PUTS_MAX);
        let committer = thread::spawn(move || commit_all(committer, jobs, &groups));
        let runtime = runtime::Builder::new_current_thread().build()?;
        let written = runtime.block_on(self.write(queue, replies));
        let committed = committer.join().map_err(|_| anyhow!("the committer panicked"))?;
        // If both failed, the committer knows why.
        let (committer, groups) = committed?;
        written?;
        Ok((committer, groups))
    }

    async fn write(
        self,
        queue: mpsc::Sender<Job>,
        mut replies: mpsc::Receiver<Vec<oneshot::Sender<()>>>,
    ) -> Result<()> {
        let values = Values::new(self.seed);
        let mut writers = JoinSet::new();
        for writer in 0..self.writers {
            let numbers = writer * self.each..(writer + 1) * self.each;
            writers.spawn(one_writer(self, numbers, values.clone(), queue.clone()));
        }
        drop(queue);
        while let Some(group) = replies.recv().await {
            for writer in group {
                writer.send(()).map_err(|()| anyhow!("a writer ended"))?;
            }
        }
        while let Some(done) = writers.join_next().await {
            done.context("a writer panicked")??;
        }
        Ok(())
    }
}

async fn one_writer(work: Work, numbers: std::ops::Range<u64>, values: Values, queue: mpsc::Sender<Job>) -> Result<()> {
    for number in numbers {
        let key = key(mix(work.seed ^ number) % work.keys);
        let put = Put { key, value: Some(values.value(number)), lease: Some(0), previous: false };
        let (done, answer) = oneshot::channel();
        queue.send((Request::Put(put), done)).await.context("the committer ended")?;
        answer.await.context("the committer ended")?;
    }
    Ok(())
}

/// Takes what is waiting and executes it while the group before is on its way to the disk, on a thread of its own; answers
/// each group as one message; until every writer is done.
fn commit_all(
    mut committer: Committer,
    mut jobs: mpsc::Receiver<Job>,
    groups: &mpsc::Sender<Vec<oneshot::Sender<()>>>,
) -> Result<(Committer, u64)> {
    let (to_disk, mut sealed) = mpsc::channel::<Group>(1);
    let (on_disk, mut durable) = mpsc::channel::<Group>(1);
    let disk = thread::spawn(move || {
        while let Some(mut group) = sealed.blocking_recv() {
            group.persist();
            if on_disk.blocking_send(group).is_err() {
                return;
            }
        }
    });
    let (mut count, mut waiting, mut under_way) = (0, Vec::new(), None);
    loop {
        // With a group under way there is something to do besides waiting for jobs.
        let is_idle = under_way.is_none() && jobs.blocking_recv_many(&mut waiting, QUEUE_PUTS_MAX) == 0;
        while waiting.len() < QUEUE_PUTS_MAX
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        if is_idle {
            break;
        }
        let mut writers = Vec::with_capacity(waiting.len());
        for (request, writer) in waiting.drain(..) {
            committer.execute(now(), request)?;
            writers.push(writer);
        }
        if let Some(answered) = under_way.take() {
            let group = durable.blocking_recv().context("the disk thread ended")?;
            committer.publish(group)?;
            groups.blocking_send(answered).context("the writers ended")?;
        }
        if let Some(group) = committer.seal()? {
            to_disk.blocking_send(group).context("the disk thread ended")?;
            under_way = Some(writers);
            count += 1;
        }
        while committer.maintain(now())? {}
    }
    drop(to_disk);
    disk.join().map_err(|_| anyhow!("the disk thread panicked"))?;
    Ok((committer, count))
}

/// The moment, as the store is told it.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
