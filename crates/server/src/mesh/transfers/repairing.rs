//! A repair: this replica is made to hold what a peer holds that has applied the same records, in place and under its own name.
//!
//! It is a transfer that takes besides what differs. It takes its turn among the transfers, so that one [`Receiver`] is at work at a time. The peer must
//! have applied what is applied here when it begins, and is waited for; what is written here meanwhile is not waited for. A repair that fails has changed
//! nothing, and is not gone on with: it is asked for again.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{sync::oneshot, time::Instant};
use tombolo_crdt::ReplicaId;
use tombolo_storage::{MendCounts, Receiver, Revision};
use tracing::{info, warn};

use super::taking::{Interrupted, beside, bring, join, pull};
use crate::{committer::Step, replica::Replica};

/// What a repair has changed, or would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repaired {
    pub(crate) counts: MendCounts,
    /// The revision from which on it is so.
    pub(crate) revision: Revision,
}

/// Why nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum RepairError {
    /// Nobody has that name.
    #[error("{member} is no member of the mesh")]
    NotFound { member: ReplicaId },
    /// It is this replica.
    #[error("this site cannot be repaired from itself: name another one")]
    Itself,
    /// One thing at a time.
    #[error("another repair is under way")]
    Busy,
    /// There is no connection to it.
    #[error("{who} is not connected")]
    NotConnected { who: String },
    /// It lacks records that are applied here.
    #[error("{who} lacks records that are applied here, and has not got them in {}s", PATIENCE.as_secs())]
    Behind { who: String },
    /// It did not come to its end.
    #[error("nothing was changed: {0}")]
    Interrupted(#[from] Interrupted),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// A repair that waits for its turn.
pub(super) struct Order {
    from: ReplicaId,
    is_dry_run: bool,
    reply: oneshot::Sender<Result<Repaired, RepairError>>,
}

/// Makes this replica hold what `from` holds, or says what would change.
pub(crate) async fn repair(replica: &Arc<Replica>, from: ReplicaId, is_dry_run: bool) -> Result<Repaired, RepairError> {
    if from == replica.mesh.own() {
        return Err(RepairError::Itself);
    }
    let roster = replica.mesh.roster();
    if !roster.present().any(|member| member.replica() == from) {
        return Err(RepairError::NotFound { member: from });
    }
    let (reply, answer) = oneshot::channel();
    let transfers = &replica.mesh.transfers;
    {
        let order = &mut *transfers.order.lock();
        // Whoever has hung up wants nothing any more.
        if order.as_ref().is_some_and(|order| !order.reply.is_closed()) {
            return Err(RepairError::Busy);
        }
        *order = Some(Order { from, is_dry_run, reply });
    }
    transfers.wake.notify_one();
    answer.await.unwrap_or(Err(RepairError::Stopping))
}

pub(super) async fn carry_out(replica: &Arc<Replica>, order: Order) {
    let Order { from, is_dry_run, reply } = order;
    if reply.is_closed() {
        return;
    }
    let who = replica.mesh.call(from);
    let outcome = mend(replica, from, is_dry_run).await;
    replica.mesh.transfers.show(None);
    if is_dry_run || outcome.is_err() {
        // What was staged is for this alone. If the queue is full it goes when the server starts again.
        drop(replica.queue.step(Step::Drop, 0).await);
    }
    match &outcome {
        Ok(Repaired { counts: MendCounts { removed, added, replaced, is_digest_wrong }, .. }) => {
            info!(from = %who, removed, added, replaced, is_digest_wrong, is_dry_run, "this site was compared with a peer, to hold what that one holds");
        }
        Err(why) => warn!(from = %who, %why, "this site was not repaired"),
    }
    // Whoever asked may have gone.
    drop(reply.send(outcome));
}

async fn mend(replica: &Arc<Replica>, from: ReplicaId, is_dry_run: bool) -> Result<Repaired, RepairError> {
    let store = replica.store.clone();
    let receiver = beside(move || Receiver::mend(&store)).await?.map_err(Interrupted::from)?;
    wait_for(replica, from, &receiver).await?;
    let is_enough = |receiver: &Receiver| is_dry_run && receiver.mends().is_some();
    let receiver = bring(replica, from, receiver, replica.uptime.now(), is_enough).await?;
    let counts = receiver.mends().ok_or(Interrupted::Incomplete)?;
    let farewell = receiver.farewell();
    if !is_dry_run {
        join(replica, from, receiver).await?;
    }
    if let Some(farewell) = farewell {
        // Whoever does not hear it lets go of the moment by itself.
        drop(pull(replica, from, farewell).await);
    }
    Ok(Repaired { counts, revision: replica.store.published().revision })
}

/// Waits until the peer has said that it has applied what is to be compared.
async fn wait_for(replica: &Replica, from: ReplicaId, receiver: &Receiver) -> Result<(), RepairError> {
    let Some(wanted) = receiver.asks_of() else { return Ok(()) };
    let began = Instant::now();
    loop {
        let views = replica.mesh.peers();
        let who = || replica.mesh.call(from).to_string();
        let view = views.iter().find(|view| view.replica == from && view.status.is_established);
        let Some(view) = view else { return Err(RepairError::NotConnected { who: who() }) };
        if view.status.frontier.includes(wanted) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(RepairError::Behind { who: who() });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How long a peer may take to apply what is applied here.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what it has applied.
const PAUSE: Duration = Duration::from_millis(100);
