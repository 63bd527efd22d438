//! The committer's thread: the one place where the store is written.
//!
//! Requests come through a bounded queue from the runtime. The thread takes what is there, executes it in order, makes it durable as one group,
//! and sends the whole group back as one message: waking another thread costs more than a put, so it happens once for each
//! group and never for each request. There is no timed wait for a group to fill; while one group is being synced the next one gathers by itself.
//!
//! A group reaches the runtime as [`Group`]: whoever receives it announces the commits first and completes the replies then.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tombolo_crdt::{ReplicaId, SignedHead};
use tombolo_net::ProvenBatch;
use tombolo_storage::{CommitError, Committer, Durability, MendedRow, RefusedBatch, WallTime};
use tracing::{error, info};

use self::{
    joining::Joining,
    queue::{Job, Taken, Work},
};
use crate::{clock, limits, metrics::Metrics};

pub(crate) use self::{
    answer::{Answered, Group, IngestRefusal, Ingested, Refusal, Reply},
    queue::CommitQueue,
    transfer::{Step, StepRefusal, Stepped},
};

mod answer;
mod joining;
mod queue;
#[cfg(test)]
mod tests;
mod transfer;

/// The running thread.
pub(crate) struct CommitThread {
    queue: CommitQueue,
    thread: JoinHandle<Result<(), CommitError>>,
}

impl CommitThread {
    /// Starts the thread. Groups come out of the receiver in order. A weaker durability than fsync has its syncs from the housekeeping, which
    /// must then come round as often.
    pub(crate) fn start(
        committer: Committer,
        durability: Durability,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, CommitQueue, mpsc::Receiver<Group>)> {
        let queue = CommitQueue::default();
        let (groups, received) = mpsc::channel(limits::GROUPS_UNANNOUNCED_MAX);
        let patience = match durability {
            Durability::Interval(interval) => interval.min(limits::HOUSEKEEPING_INTERVAL),
            Durability::Fsync | Durability::Os => limits::HOUSEKEEPING_INTERVAL,
        };
        let worker =
            Worker { committer, queue: queue.clone(), groups, metrics, patience, complained: false, joining: None };
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(move || worker.run())?;
        Ok((Self { queue: queue.clone(), thread }, queue, received))
    }

    /// Takes no further requests, carries out those that wait, and closes the store. Blocks until that is done.
    pub(crate) fn stop(self) -> Result<(), CommitError> {
        self.queue.close();
        match self.thread.join() {
            Ok(closed) => closed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Worker {
    committer: Committer,
    queue: CommitQueue,
    groups: mpsc::Sender<Group>,
    metrics: Arc<Metrics>,
    /// The longest sleep.
    patience: Duration,
    /// Whether a failure of the store has been logged: it stays until the store is reopened.
    complained: bool,
    /// A join that is being prepared.
    joining: Option<Joining>,
}

impl Worker {
    fn run(mut self) -> Result<(), CommitError> {
        let mut jobs = Vec::new();
        loop {
            let more_due = self.keep_house();
            let patience = if more_due { Duration::ZERO } else { self.patience };
            match self.queue.take(&mut jobs, patience) {
                Taken::Nothing if self.committer.pending() == 0 && !self.must_join() => {}
                // Housekeeping may have something to commit when nobody asks for anything.
                Taken::Nothing | Taken::Some => {
                    let group = self.carry_out(&mut jobs);
                    // Nobody listens only when the runtime is gone, and then nobody waits either.
                    let _ = self.groups.blocking_send(group);
                }
                // What was held for a join is still to be done.
                Taken::Closed if self.joining.is_some() => {
                    let group = self.carry_out(&mut jobs);
                    let _ = self.groups.blocking_send(group);
                }
                Taken::Closed => break,
            }
        }
        info!("closing the store");
        self.committer.close()
    }

    /// Whether the join under way is to be published before anything else.
    fn must_join(&self) -> bool {
        let joining = self.joining.as_ref();
        joining.is_some_and(|joining| joining.is_prepared() || self.committer.must_join() || self.queue.is_closed())
    }

    fn carry_out(&mut self, jobs: &mut Vec<Job>) -> Group {
        let started = Instant::now();
        let wall = clock::wall();
        let mut replies: Vec<Answered> = Vec::with_capacity(jobs.len());
        let mut commits = Vec::new();
        if self.must_join() {
            replies.extend(self.end_join(jobs, &mut commits));
        }
        for job in jobs.drain(..) {
            let job = match &mut self.joining {
                Some(joining) => joining.hold(job),
                None => Some(job),
            };
            let Some(Job { work, .. }) = job else { continue };
            replies.push(match work {
                Work::Step { step: Step::Join(from, complete), reply } if complete.is_large() => {
                    replies.extend(self.begin_join(from, *complete, reply, &mut commits));
                    continue;
                }
                Work::Request { request, reply } => {
                    Answered::Request(reply, self.committer.execute(wall, request).map_err(Refusal::from))
                }
                Work::Ingest { from, batch, reply } => Answered::Ingest(reply, self.ingest(wall, from, batch)),
                Work::Step { step, reply } => Answered::Step(reply, self.step(step, &mut commits)),
                Work::Mend { rows, heads, reply } => Answered::Mend(reply, self.mend(rows, &heads)),
            });
        }
        let executed = Instant::now();
        match self.committer.commit() {
            Ok(made) => commits.extend(made),
            Err(why) => {
                self.complain(&why);
                let why = Arc::new(why);
                replies.iter_mut().for_each(|answered| answered.fail(&why));
            }
        }
        self.metrics.committed(replies.len(), commits.len(), executed - started, executed.elapsed());
        Group { commits, replies }
    }

    /// Applies records in their order, all or none. One that is here already is as good as applied.
    fn ingest(&mut self, wall: WallTime, from: ReplicaId, batch: ProvenBatch) -> Ingested {
        if self.queue.is_shut_out(from) {
            return Ingested::none(IngestRefusal::ShutOut);
        }
        let (records, heads) = batch.into_parts();
        let count = records.len();
        match self.committer.ingest_batch(wall, records, heads) {
            Ok(applied) => {
                self.metrics.records_ingested.add(applied as u64);
                Ingested { passed: count, refusal: None }
            }
            Err(RefusedBatch { at, why }) => Ingested { passed: at, refusal: Some(IngestRefusal::Record(why)) },
        }
    }

    fn mend(&mut self, rows: Vec<MendedRow>, heads: &[SignedHead]) -> u64 {
        let made = self.committer.mend(rows).and_then(|made| Ok(made + self.committer.mend_signatures(heads)?));
        made.unwrap_or_else(|why| {
            self.complain(&why);
            0
        })
    }

    /// Answers whether more housekeeping is due at once.
    fn keep_house(&mut self) -> bool {
        self.committer.maintain(clock::wall()).unwrap_or_else(|why| {
            self.complain(&why);
            false
        })
    }

    fn complain(&mut self, why: &CommitError) {
        if self.complained {
            return;
        }
        self.complained = true;
        match why {
            CommitError::Poisoned { .. } => {
                error!(%why, "the store takes no more writes; it goes on reading until it is restarted");
            }
            CommitError::Read(_) => error!(%why, "compacted history stays on disk: it cannot be read"),
        }
    }
}
