//! What stands for the sender of a call that lasts: a stream, or a request that waits.
//!
//! Each message of a stream is judged on its own, by who the sender is then. What was permitted to go on for a while, such as a watch, is asked for
//! again whenever the policy has changed: a right that is taken away ends it.

use std::sync::Arc;

use futures_util::stream::{self, Stream};
use tokio::sync::{mpsc, watch};
use tombolo_auth::{Caller, Policy};
use tonic::{Extensions, Status, metadata::MetadataMap};

use super::{Effects, Judge, Reach, Rule, Sender, import, rule};
use crate::{etcd::status::Fault, replica::Replica};

/// Stands for the sender of a call that lasts.
pub(crate) struct Pass {
    replica: Arc<Replica>,
    metadata: MetadataMap,
    extensions: Extensions,
    changes: watch::Receiver<Arc<Policy>>,
}

/// That something was permitted, and to whom, so that it can be asked again whether it still is.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    caller: Caller,
    rule: Rule,
    reach: Reach,
}

impl Pass {
    pub(super) fn new(replica: Arc<Replica>, metadata: MetadataMap, extensions: Extensions) -> Self {
        let changes = replica.policy.changes();
        Self { replica, metadata, extensions, changes }
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Judges one message that starts something which lasts.
    pub(crate) async fn judge<T: Effects>(&self, message: &T) -> Result<Leave, Fault> {
        import::check(&self.replica, T::METHOD)?;
        let rule = rule(T::METHOD);
        let caller = if rule == Rule::Open { Caller::Nobody } else { self.sender().identify(&self.replica)? };
        let mut reach = Reach::default();
        message.effects(&mut reach);
        if self.replica.policy.is_enabled() {
            Judge::now(&self.replica).judge(&caller, rule, &reach)?;
        }
        Ok(Leave { caller, rule, reach })
    }

    /// Judges one message that is answered at once.
    pub(crate) async fn permits<T: Effects>(&self, message: &T) -> Result<(), Fault> {
        import::check(&self.replica, T::METHOD)?;
        if self.replica.policy.is_enabled() {
            self.sender().judge(&self.replica, message)?;
        }
        Ok(())
    }

    /// Whether what was permitted still is. A token that has expired since does no harm, a right that was taken away does.
    pub(crate) async fn holds(&self, leave: &Leave) -> Result<(), Fault> {
        if !self.replica.policy.is_enabled() {
            return Ok(());
        }
        let judge = Judge::now(&self.replica);
        let caller = match &leave.caller {
            // Nobody was asked who they are when this began, or they could not say.
            Caller::Nobody => self.sender().identify(&self.replica)?,
            user @ Caller::User { .. } => user.at(judge.revision()),
        };
        judge.judge(&caller, leave.rule, &leave.reach)
    }

    /// Whether the policy has changed since this was last asked. One atomic load as long as it has not.
    pub(crate) fn is_outdated(&mut self) -> bool {
        // An error means that the server is gone.
        let has_changed = self.changes.has_changed().unwrap_or(false);
        if has_changed {
            self.changes.mark_unchanged();
        }
        has_changed
    }

    /// Returns when the policy has changed since [`is_outdated`](Self::is_outdated) was last asked.
    pub(crate) async fn outdated(&mut self) {
        if self.changes.changed().await.is_ok() {
            // Whoever is woken by this asks for what has changed.
            self.changes.mark_changed();
        } else {
            std::future::pending().await
        }
    }

    /// What is sent piece by piece, for as long as the leave to have it holds. A right that is taken away ends it with the reason.
    pub(crate) fn stream<T: Send>(
        self,
        leave: Leave,
        pieces: mpsc::Receiver<Result<T, Fault>>,
    ) -> impl Stream<Item = Result<T, Status>> + Send {
        stream::unfold((self, leave, pieces), async |(pass, leave, mut pieces)| {
            let piece = pieces.recv().await?;
            let held = pass.holds(&leave).await;
            if held.is_err() {
                pieces.close();
            }
            Some((held.and(piece).map_err(Status::from), (pass, leave, pieces)))
        })
    }

    fn sender(&self) -> Sender<'_> {
        Sender { metadata: &self.metadata, extensions: &self.extensions }
    }
}
