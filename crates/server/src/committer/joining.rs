//! A large transfer on its way into the state: a thread prepares it, and clients' requests are carried out meanwhile.
//!
//! What cannot be done beside it waits: records of peers, further steps of transfers, steps of an import. That goes back to the head of the queue
//! once the join is published, in the order in which it came.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;
use tombolo_crdt::ReplicaId;
use tombolo_storage::{Commit, CompleteTransfer, Preparation, PublishedTransfer, Request};

use super::{
    Answered, Worker,
    queue::{Job, Work},
    transfer::{StepRefusal, StepReply, Stepped},
};
use crate::clock;

/// A join that is being prepared.
pub(super) struct Joining {
    /// Whom it comes from.
    from: ReplicaId,
    reply: oneshot::Sender<StepReply>,
    thread: JoinHandle<Preparation>,
    held: Vec<Job>,
}

impl Joining {
    /// Whether all of it is prepared.
    pub(super) fn is_prepared(&self) -> bool {
        self.thread.is_finished()
    }

    /// Keeps what cannot be done beside the join, and gives back the rest.
    pub(super) fn hold(&mut self, job: Job) -> Option<Job> {
        if matches!(&job.work, Work::Request { request, .. } if !matches!(request, Request::Import(_))) {
            return Some(job);
        }
        self.held.push(job);
        None
    }
}

impl Worker {
    /// Begins to join what is too much to be joined at once. Returns the answer if there is one already.
    pub(super) fn begin_join(
        &mut self,
        from: ReplicaId,
        complete: CompleteTransfer,
        reply: oneshot::Sender<StepReply>,
        commits: &mut Vec<Arc<Commit>>,
    ) -> Option<Answered> {
        if self.queue.is_shut_out(from) {
            return Some(Answered::Step(reply, Err(StepRefusal::ShutOut)));
        }
        if let Err(why) = self.settle(commits) {
            return Some(Answered::Step(reply, Err(why)));
        }
        let preparation = match self.committer.prepare_transfer(clock::wall(), complete) {
            Ok((made, preparation)) => {
                commits.extend(made);
                preparation
            }
            Err(why) => return Some(Answered::Step(reply, Err(self.refused(why)))),
        };
        let Some(preparation) = preparation else { return Some(Answered::Step(reply, Ok(Stepped::default()))) };
        self.joining = Some(Joining { from, reply, thread: self.prepare(preparation), held: Vec::new() });
        None
    }

    fn prepare(&self, mut preparation: Preparation) -> JoinHandle<Preparation> {
        let queue = self.queue.clone();
        thread::spawn(move || {
            preparation.run();
            queue.wake();
            preparation
        })
    }

    /// Publishes the join that is being prepared, and waits for it if need be. What was held is taken next, and then `jobs`.
    pub(super) fn end_join(&mut self, jobs: &mut Vec<Job>, commits: &mut Vec<Arc<Commit>>) -> Option<Answered> {
        let Joining { from, reply, thread, mut held } = self.joining.take()?;
        let preparation = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        held.append(jobs);
        self.queue.put_back(held);
        let stepped = if let Err(why) = self.settle(commits) {
            Err(why)
        } else if self.queue.is_shut_out(from) {
            self.committer
                .abandon_transfer(preparation)
                .map_err(|why| self.refused(why.into()))
                .and(Err(StepRefusal::ShutOut))
        } else {
            let published = self.committer.publish_prepared(clock::wall(), preparation);
            published.map_err(|why| self.refused(why)).map(|published| {
                let PublishedTransfer { commits: made, added, removed, .. } = published;
                commits.extend(made);
                Stepped { added, removed }
            })
        };
        Some(Answered::Step(reply, stepped))
    }
}
