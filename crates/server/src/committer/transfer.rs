//! A transfer's place among the writes: its pages are staged like any other write, and what has come whole is joined in one step.
//!
//! Joining takes its turn in the queue. What was asked for before it is durable before it, and what comes after it waits; so that
//! watchers, leases, policy and peers are told of it at its place in the order of commits. What is [large](CompleteTransfer::is_large) is prepared
//! [beside](super::joining) the writes instead, and takes its place among them when it is.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::oneshot;
use tombolo_crdt::ReplicaId;
use tombolo_storage::{Commit, CommitError, CompleteTransfer, PublishedTransfer, StagedPage, TransferError};

use super::{
    Refusal, Worker,
    queue::{CommitQueue, Work},
};
use crate::clock;

/// Something to do for a transfer.
pub(crate) enum Step {
    /// Keep what has come.
    Stage(Vec<StagedPage>),
    /// Join everything with the state, as it came from this replica.
    Join(ReplicaId, Box<CompleteTransfer>),
    /// Give it up, and forget what was staged.
    Drop,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stepped {
    /// Elements that were added to the state.
    pub(crate) added: u64,
    /// Elements that were removed from it.
    pub(crate) removed: u64,
}

/// Why a step was not done.
#[derive(Debug, Error)]
pub(crate) enum StepRefusal {
    /// The store refused it; nothing has changed.
    #[error(transparent)]
    Store(TransferError),
    /// Whoever it comes from was removed from the mesh.
    #[error("whoever it comes from was removed from the mesh")]
    ShutOut,
    /// Its group was not made durable.
    #[error(transparent)]
    NotDurable(Arc<CommitError>),
    /// Too many requests wait.
    #[error("too many requests are waiting")]
    QueueFull,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopped,
}

/// What a step is answered.
pub(crate) type StepReply = Result<Stepped, StepRefusal>;

impl CommitQueue {
    /// Does a step of a transfer, of about `bytes` bytes, and waits until it is durable.
    pub(crate) async fn step(&self, step: Step, bytes: usize) -> StepReply {
        let (reply, answer) = oneshot::channel();
        match self.push(Work::Step { step, reply }, bytes) {
            Ok(()) => answer.await.unwrap_or(Err(StepRefusal::Stopped)),
            Err(Refusal::QueueFull) => Err(StepRefusal::QueueFull),
            Err(_) => Err(StepRefusal::Stopped),
        }
    }
}

impl Worker {
    /// Does a step. Commits that it made durable, with those before it, are added to `commits`.
    pub(super) fn step(&mut self, step: Step, commits: &mut Vec<Arc<Commit>>) -> StepReply {
        let wall = clock::wall();
        let done = match step {
            Step::Stage(pages) => self.committer.stage(wall, pages).map(|()| Stepped::default()),
            Step::Join(from, _) if self.queue.is_shut_out(from) => return Err(StepRefusal::ShutOut),
            Step::Join(..) if let Err(why) = self.settle(commits) => return Err(why),
            Step::Join(_, complete) => self.committer.publish_transfer(wall, *complete).map(|published| {
                let PublishedTransfer { commits: made, added, removed, .. } = published;
                commits.extend(made);
                Stepped { added, removed }
            }),
            Step::Drop => self.committer.drop_transfer().map(|()| Stepped::default()).map_err(TransferError::from),
        };
        done.map_err(|why| self.refused(why))
    }

    /// Makes what was executed so far durable. A join would do so as well; but one that is refused tells nobody of it.
    pub(super) fn settle(&mut self, commits: &mut Vec<Arc<Commit>>) -> Result<(), StepRefusal> {
        let made = self.committer.commit().map_err(|why| self.refused(why.into()))?;
        commits.extend(made);
        Ok(())
    }

    /// What is answered when the store has not done a step.
    pub(super) fn refused(&mut self, why: TransferError) -> StepRefusal {
        match why {
            TransferError::Commit(why) => {
                self.complain(&why);
                StepRefusal::NotDurable(Arc::new(why))
            }
            why => StepRefusal::Store(why),
        }
    }
}
