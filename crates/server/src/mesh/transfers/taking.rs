//! One transfer from one peer, from what is staged to the join.
//!
//! A few pulls are always on their way, so that a long link is kept full. Every page is on disk before more is asked for than that, so that
//! no more is ever held than what may be on the way. Reading pages keeps a processor busy and is done beside the runtime.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tokio::task::{self, JoinSet};
use tombolo_crdt::ReplicaId;
use tombolo_net::{AskError, Limits};
use tombolo_storage::{Pull, ReadError, Receiver, Refusal, StagedPage, TransferFault};

use super::{
    super::Link,
    progress::{Phase, Progress},
};
use crate::{
    committer::{Step, StepRefusal, Stepped},
    replica::Replica,
};

/// Why a transfer ended before it was joined. What was staged stays.
#[derive(Debug, Error)]
pub(super) enum Interrupted {
    /// The provider is not there any more, or does not answer.
    #[error("the provider was lost: {0}")]
    Lost(#[from] AskError),
    /// The provider, or what it sent, is not as it should be.
    #[error(transparent)]
    Fault(#[from] TransferFault),
    /// This store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// This store did not take it.
    #[error("it was not written: {0}")]
    Step(#[from] StepRefusal),
    /// The peers say nothing more, and something is missing.
    #[error("the provider has answered everything, and something is missing")]
    Incomplete,
    /// Everything it would bring has come another way.
    #[error("everything it would bring has come another way")]
    Useless,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl Interrupted {
    /// Whether the same provider is better left alone for a while.
    pub(super) fn is_fault(&self) -> bool {
        match self {
            Self::Fault(fault) => !matches!(fault, TransferFault::Refused(Refusal::Gone)),
            Self::Read(_) | Self::Step(_) | Self::Incomplete => true,
            Self::Lost(why) => matches!(why, AskError::NoAnswer | AskError::TimedOut { .. }),
            Self::Useless | Self::Stopping => false,
        }
    }
}

/// Pages on their way, with the numbers of their pulls.
type Pages = JoinSet<(u64, Result<Bytes, AskError>)>;

/// Takes the state of `provider`, and joins it.
pub(super) async fn take(replica: &Arc<Replica>, provider: ReplicaId, since: Duration) -> Result<Stepped, Interrupted> {
    let transfers = &replica.mesh.transfers;
    let store = replica.store.clone();
    let mut receiver = beside(move || Receiver::resume(&store)).await??;
    transfers.show(Some(Progress { provider, phase: Phase::Opening, since, counts: receiver.progress() }));
    let mut pages = Pages::new();
    loop {
        for Pull { id, body } in receiver.next_pulls(Limits::default().pulls_max) {
            let page = pull(replica, provider, body);
            pages.spawn(async move { (id, page.await) });
        }
        let Some(arrived) = pages.join_next().await else { break };
        let (id, page) = arrived.map_err(|_| Interrupted::Stopping)?;
        let page = page?;
        replica.metrics.pages_taken.add(1);
        replica.metrics.page_bytes_taken.add(page.len() as u64);
        let taken;
        (receiver, taken) = beside(move || {
            let taken = receiver.take(id, page);
            (receiver, taken)
        })
        .await?;
        stage(replica, taken?).await?;
        let counts = receiver.progress();
        let phase = if receiver.vector().is_some() { Phase::Taking } else { Phase::Opening };
        transfers.update(|progress| (progress.phase, progress.counts) = (phase, counts));
        if receiver.vector().is_some_and(|vector| replica.store.frontier().includes(vector)) {
            replica.queue.step(Step::Drop, 0).await?;
            return Err(Interrupted::Useless);
        }
    }
    join(replica, provider, receiver).await
}

async fn join(replica: &Arc<Replica>, provider: ReplicaId, receiver: Receiver) -> Result<Stepped, Interrupted> {
    replica.mesh.transfers.update(|progress| progress.phase = Phase::Joining);
    let complete = beside(move || receiver.complete()).await??;
    let complete = Box::new(complete.ok_or(Interrupted::Incomplete)?);
    Ok(replica.queue.step(Step::Join(provider, complete), 0).await?)
}

/// Puts pages on disk. A queue that is full is not the provider's fault: it is waited for.
async fn stage(replica: &Replica, pages: Vec<StagedPage>) -> Result<(), Interrupted> {
    if pages.is_empty() {
        return Ok(());
    }
    let bytes = pages.iter().map(StagedPage::bytes).sum();
    loop {
        match replica.queue.step(Step::Stage(pages.clone()), bytes).await {
            Err(StepRefusal::QueueFull) => tokio::time::sleep(QUEUE_PAUSE).await,
            done => return Ok(done.map(drop)?),
        }
    }
}

fn pull(
    replica: &Replica,
    provider: ReplicaId,
    body: Bytes,
) -> impl Future<Output = Result<Bytes, AskError>> + Send + use<> {
    let page = match &*replica.mesh.link.read() {
        Link::Up(node) => Some(node.pull(provider, body, PATIENCE)),
        Link::Down(_) => None,
    };
    async move {
        match page {
            Some(page) => page.await,
            None => Err(AskError::NotConnected),
        }
    }
}

/// Does work that may take long where it holds up nobody.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Interrupted> {
    match task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
        Err(_) => Err(Interrupted::Stopping),
    }
}

/// How long a page may take: some mebibytes over the slowest link there is, or a look at every key there is.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two attempts at a queue that is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);
