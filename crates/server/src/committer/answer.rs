//! What comes back from the committer: groups that are durable, who waits for them, and what each is told. Telling is up to whoever receives a
//! group, after the watchers and the lease table have heard of its commits.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::oneshot;
use tombolo_storage::{Answer, Commit, CommitError, IngestError, RequestError};

use super::{StepRefusal, transfer::StepReply};

/// What a request is answered.
pub(crate) type Reply = Result<Answer, Refusal>;

/// Why a request was not carried out.
#[derive(Clone, Debug, Error)]
pub(crate) enum Refusal {
    /// The store refused it; nothing has changed.
    #[error(transparent)]
    Request(Arc<RequestError>),
    /// Its group was not made durable; whether it will be there after a restart is unknown.
    #[error(transparent)]
    Commit(Arc<CommitError>),
    /// Too many requests wait.
    #[error("too many requests are waiting")]
    QueueFull,
    /// Another site has records under this replica's name that are not its own.
    #[error("this replica's records are disputed by another site: see `tombolo mesh status`")]
    Disowned,
    /// This replica was removed from the mesh.
    #[error("this replica was removed from the mesh: see `tombolo mesh status`")]
    Removed,
    /// Somebody has raised an alarm that the data is corrupt.
    #[error("an alarm was raised by hand: the data is said to be corrupt")]
    Corrupt,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopped,
}

impl From<RequestError> for Refusal {
    fn from(why: RequestError) -> Self {
        Self::Request(Arc::new(why))
    }
}

/// What became of records from a peer.
#[derive(Debug)]
pub(crate) struct Ingested {
    /// How many of them, from the first on, may be applied.
    pub(crate) passed: usize,
    /// Why the next one may not; then none was applied. `None`: all are durable here now.
    pub(crate) refusal: Option<IngestRefusal>,
}

/// Why a record from a peer was not applied.
#[derive(Debug)]
pub(crate) enum IngestRefusal {
    /// The store refused it.
    Record(IngestError),
    /// Its group was not made durable.
    NotDurable,
    /// Too many requests wait.
    QueueFull,
    /// Whoever sent it was removed from the mesh.
    ShutOut,
    /// The server is stopping.
    Stopped,
}

impl Ingested {
    pub(super) fn none(refusal: IngestRefusal) -> Self {
        Self { passed: 0, refusal: Some(refusal) }
    }
}

/// Requests that became durable together.
pub(crate) struct Group {
    /// What watchers and the lease table have to know before the replies go out.
    pub(crate) commits: Vec<Arc<Commit>>,
    /// Who waits, and what each is told.
    pub(crate) replies: Vec<Answered>,
}

/// Someone who waits, and what is to be told.
pub(crate) enum Answered {
    Request(oneshot::Sender<Reply>, Reply),
    Ingest(oneshot::Sender<Ingested>, Ingested),
    Step(oneshot::Sender<StepReply>, StepReply),
    Mend(oneshot::Sender<u64>, u64),
}

impl Answered {
    /// Tells it. Whoever does not wait any more does not need the answer.
    pub(crate) fn tell(self) {
        match self {
            Self::Request(waiting, reply) => drop(waiting.send(reply)),
            Self::Ingest(waiting, ingested) => drop(waiting.send(ingested)),
            Self::Step(waiting, reply) => drop(waiting.send(reply)),
            Self::Mend(waiting, rows) => drop(waiting.send(rows)),
        }
    }

    /// Takes back success: its group was not made durable.
    pub(super) fn fail(&mut self, why: &Arc<CommitError>) {
        match self {
            // Rows are mended apart from the group.
            Self::Request(_, Err(_)) | Self::Step(_, Err(_)) | Self::Mend(..) => {}
            Self::Request(_, reply) => *reply = Err(Refusal::Commit(Arc::clone(why))),
            Self::Ingest(_, ingested) => *ingested = Ingested::none(IngestRefusal::NotDurable),
            Self::Step(_, reply) => *reply = Err(StepRefusal::NotDurable(Arc::clone(why))),
        }
    }
}
