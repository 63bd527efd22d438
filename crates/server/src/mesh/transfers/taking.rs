//! One transfer from one peer, from what is staged to the join.
//!
//! A few pulls are always on their way, so that a long link is kept full. Every page is on disk before more is asked for than that, so that
//! no more is ever held than what may be on the way. Reading pages keeps a processor busy and is done beside the runtime.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thiserror::Error;
use tokio::task::{self, JoinSet};
use tombolo_crdt::{Dot, ReplicaId, SignedHead, VersionVector};
use tombolo_net::{AskError, Fault, HeadFault, Limits, RosterEntry, SystemKey};
use tombolo_storage::{
    BroughtSystem, CollectedTransfer, Pull, ReadError, Receiver, Refusal, StagedPage, TransferError, TransferFault,
};

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
pub(crate) enum Interrupted {
    /// The provider is not there any more, or does not answer.
    #[error("the provider was lost: {0}")]
    Lost(#[from] AskError),
    /// The provider, or what it sent, is not as it should be.
    #[error(transparent)]
    Fault(#[from] TransferFault),
    /// Somebody whose records it is said to hold did not sign them.
    #[error("its state is not proven: {0}")]
    Forged(#[from] HeadFault),
    /// The provider sends so little at a time that it would never end.
    #[error("the provider has sent {bytes} bytes in {}s", waited.as_secs())]
    Trickling {
        /// What it has sent.
        bytes: u64,
        /// How long it was waited for.
        waited: Duration,
    },
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
            Self::Forged(_) | Self::Trickling { .. } | Self::Read(_) | Self::Step(_) | Self::Incomplete => true,
            Self::Lost(why) => matches!(why, AskError::NoAnswer | AskError::TimedOut { .. }),
            Self::Useless | Self::Stopping => false,
        }
    }

    /// Whether the provider has made something up. One that is damaged, slow or of another version does not come to that.
    pub(super) fn is_forgery(&self) -> bool {
        match self {
            Self::Forged(_) => true,
            Self::Fault(fault) => matches!(
                fault,
                TransferFault::Unsigned { .. }
                    | TransferFault::StrayHead { .. }
                    | TransferFault::Contradiction { .. }
                    | TransferFault::OutOfPlace { .. }
                    | TransferFault::Twice { .. }
                    | TransferFault::TooMuch { .. }
            ),
            _ => false,
        }
    }

    /// What it would be in a session, if it says that records or names are disputed. `own` is where this replica stands.
    pub(super) fn dispute(&self, own: &VersionVector) -> Option<Fault> {
        let ahead = |dot: Dot| Fault::AheadOfUs { dot, known: own.seq(dot.replica) };
        match self {
            Self::Fault(TransferFault::AheadOfUs { dot, .. }) => Some(ahead(*dot)),
            Self::Step(StepRefusal::Store(TransferError::AheadOfUs { dot })) => Some(ahead(*dot)),
            Self::Fault(TransferFault::Forked { dot, .. })
            | Self::Step(StepRefusal::Store(TransferError::Forked { dot, .. })) => Some(Fault::Forked { dot: *dot }),
            _ => None,
        }
    }
}

/// Pages on their way, with the numbers of their pulls.
type Pages = JoinSet<(u64, Result<Bytes, AskError>)>;

/// Takes the state of `provider`, and joins it.
pub(super) async fn take(replica: &Arc<Replica>, provider: ReplicaId, since: Duration) -> Result<Stepped, Interrupted> {
    let store = replica.store.clone();
    let receiver = beside(move || Receiver::resume(&store)).await??;
    let is_useless = |receiver: &Receiver| {
        let vector = receiver.vector();
        vector.is_some_and(|vector| replica.store.frontier().includes(vector))
    };
    let receiver = bring(replica, provider, receiver, since, is_useless).await?;
    if is_useless(&receiver) {
        replica.queue.step(Step::Drop, 0).await?;
        return Err(Interrupted::Useless);
    }
    join(replica, provider, receiver).await
}

/// Pulls until everything has come, or what has come is enough.
pub(super) async fn bring(
    replica: &Arc<Replica>,
    provider: ReplicaId,
    mut receiver: Receiver,
    since: Duration,
    is_enough: impl Fn(&Receiver) -> bool,
) -> Result<Receiver, Interrupted> {
    let transfers = &replica.mesh.transfers;
    transfers.show(Some(Progress { provider, phase: Phase::Opening, since, counts: receiver.progress() }));
    let mut pages = Pages::new();
    let (mut pace, mut is_judged) = (Pace::default(), false);
    loop {
        for Pull { id, body } in receiver.next_pulls(Limits::default().pulls_max) {
            let page = pull(replica, provider, body);
            pages.spawn(async move { (id, page.await) });
        }
        let asked = Instant::now();
        let Some(arrived) = pages.join_next().await else { break };
        let waited = asked.elapsed();
        let (id, page) = arrived.map_err(|_| Interrupted::Stopping)?;
        let page = page?;
        replica.metrics.pages_taken.add(1);
        let bytes = page.len() as u64;
        replica.metrics.page_bytes_taken.add(bytes);
        let taken;
        (receiver, taken) = beside(move || {
            let taken = receiver.take(id, page);
            (receiver, taken)
        })
        .await?;
        pace.note(waited, bytes)?;
        let taken = match taken {
            // Who says that we wrote more than we know of has to show our own hand.
            Err(TransferFault::AheadOfUs { dot, head }) => {
                replica.mesh.roster().judge_head(replica.mesh.id(), &head)?;
                return Err(TransferFault::AheadOfUs { dot, head }.into());
            }
            taken => taken?,
        };
        if receiver.vector().is_some() && !is_judged {
            is_judged = true;
            judge_early(replica, receiver.heads())?;
        }
        stage(replica, taken).await?;
        let counts = receiver.progress();
        let phase = if receiver.vector().is_some() { Phase::Taking } else { Phase::Opening };
        transfers.update(|progress| (progress.phase, progress.counts) = (phase, counts));
        if is_enough(&receiver) {
            break;
        }
    }
    Ok(receiver)
}

pub(super) async fn join(
    replica: &Arc<Replica>,
    provider: ReplicaId,
    receiver: Receiver,
) -> Result<Stepped, Interrupted> {
    replica.mesh.transfers.update(|progress| progress.phase = Phase::Joining);
    let complete = beside(move || receiver.complete()).await??;
    let (collected, proving) = (complete.ok_or(Interrupted::Incomplete)?, Arc::clone(replica));
    let proven = beside(move || collected.prove(|collected| prove(&proving, collected))).await??;
    Ok(replica.queue.step(Step::Join(provider, Box::new(proven)), 0).await?)
}

/// Refuses heads that are forged as far as is known by now, before much has come.
fn judge_early(replica: &Replica, heads: &[SignedHead]) -> Result<(), Interrupted> {
    let roster = replica.mesh.roster();
    let mut judged = heads.iter().map(|head| roster.judge_head(replica.mesh.id(), head));
    let forged = judged.find_map(|judged| judged.err().filter(|fault| matches!(fault, HeadFault::Forged { .. })));
    forged.map_or(Ok(()), |fault| Err(fault.into()))
}

/// Judges all heads, by whom the roster knows and whom the transfer itself proves to have been admitted: a newcomer knows hardly anybody.
fn prove(replica: &Replica, collected: &CollectedTransfer) -> Result<(), Interrupted> {
    replica.mesh.roster().judge_heads(replica.mesh.id(), collected.heads(), || {
        let brought = collected.system(SystemKey::MEMBER_PREFIX.as_bytes())?;
        let entry = |BroughtSystem { key, element, value }| RosterEntry {
            key,
            author: element.dot.replica,
            seq: element.dot.seq,
            value,
        };
        Ok::<_, Interrupted>(brought.into_iter().map(entry).collect())
    })
}

/// How fast pages come.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Takes note of a page. Of those that are waited for together the first counts.
    fn note(&mut self, waited: Duration, bytes: u64) -> Result<(), Interrupted> {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
        let due = self.waited.saturating_sub(GRACE).as_secs().saturating_mul(BYTES_PER_SECOND_MIN);
        if self.bytes >= due {
            return Ok(());
        }
        Err(Interrupted::Trickling { bytes: self.bytes, waited: self.waited })
    }
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

pub(super) fn pull(
    replica: &Replica,
    provider: ReplicaId,
    body: Bytes,
) -> impl Future<Output = Result<Bytes, AskError>> + Send + use<> {
    pull_within(replica, provider, body, PATIENCE)
}

/// The same for who waits no longer than that.
pub(super) fn pull_within(
    replica: &Replica,
    provider: ReplicaId,
    body: Bytes,
    patience: Duration,
) -> impl Future<Output = Result<Bytes, AskError>> + Send + use<> {
    let page = match &*replica.mesh.link.read() {
        Link::Up(node) => Some(node.pull(provider, body, patience)),
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
pub(super) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Interrupted> {
    match task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
        Err(_) => Err(Interrupted::Stopping),
    }
}

/// How long a page may take: some mebibytes over the slowest link there is, or a look at every key there is.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long pages may come as slowly as they like: a provider may have to look at every key first.
const GRACE: Duration = Duration::from_secs(900);
/// How fast they have to come beyond that: as fast as frames.
const BYTES_PER_SECOND_MIN: u64 = 4_000;
/// Between two attempts at a queue that is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_trickles_is_given_up_and_a_slow_one_is_not() {
        let mut slow = Pace::default();
        for _ in 0..10_000 {
            slow.note(Duration::from_secs(10), 40_000).unwrap();
        }
        let mut trickling = Pace::default();
        let given_up = (0..).find_map(|_| trickling.note(Duration::from_secs(10), 39_000).err()).unwrap();
        assert!(matches!(given_up, Interrupted::Trickling { waited, .. } if waited > GRACE));
        let mut busy = Pace::default();
        busy.note(GRACE, 10).unwrap();
    }

    #[test]
    fn a_refused_join_is_what_it_would_be_in_a_session() {
        let own = ReplicaId::new(1).unwrap();
        let (dot, own) = (Dot::new(own, 9), [Dot::new(own, 5)].into_iter().collect());
        let chain = tombolo_crdt::Chain::BEGINNING;
        let refused = |why| Interrupted::Step(StepRefusal::Store(why));
        let ahead = refused(TransferError::AheadOfUs { dot });
        assert_eq!(ahead.dispute(&own), Some(Fault::AheadOfUs { dot, known: 5 }));
        let forked = refused(TransferError::Forked { dot, ours: chain, theirs: chain });
        assert_eq!(forked.dispute(&own), Some(Fault::Forked { dot }));
        assert_eq!(Interrupted::Useless.dispute(&own), None);
    }
}
