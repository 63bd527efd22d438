//! The one place where a request gets leave: whoever answers requests holds a [`Gate`] and no replica, and comes by the replica only with a request that
//! was judged.
//!
//! What is judged are effects, not names of operations: which keys a request reads, writes, removes or reveals, by whatever road. [`rule`] has a row for
//! every method of every contract, [`Effects`] says what one message does, and the policy says whether its sender may.
//! Code that acts for nobody, such as the task that ends leases, uses the replica directly.

use std::sync::Arc;

use tonic::{Request, Streaming};

pub(crate) use self::effects::{Effects, Needs};
use crate::{
    etcd::status::Fault,
    replica::{Facts, Replica},
};

mod effects;
#[expect(dead_code, reason = "asked from the moment there is a policy")]
mod rule;

/// Gives leave, or does not. Clones are cheap.
#[derive(Clone)]
pub(crate) struct Gate {
    replica: Arc<Replica>,
}

/// A request that may be carried out now, and what it may be carried out on.
pub(crate) struct Admitted<'gate, T> {
    message: T,
    replica: &'gate Arc<Replica>,
}

/// Stands for the sender of a call that lasts: a stream, or a request that waits. Each of its messages is judged on its own.
pub(crate) struct Pass {
    replica: Arc<Replica>,
}

/// That something was permitted, so that it can be asked again whether it still is.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    _needs: Needs,
}

impl Gate {
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        Self { replica }
    }

    /// What the operator said about this replica: limits are nobody's secret, and some are checked before who asks is.
    pub(crate) fn facts(&self) -> &Facts {
        &self.replica.facts
    }

    /// Judges a request that is answered at once.
    pub(crate) async fn admit<T: Effects>(&self, request: Request<T>) -> Result<Admitted<'_, T>, Fault> {
        Ok(Admitted { message: request.into_inner(), replica: &self.replica })
    }

    #[expect(dead_code, reason = "for locks, elections and transfers")]
    /// Judges a request whose answer may take long, or is a stream.
    pub(crate) async fn enter<T: Effects>(&self, request: Request<T>) -> Result<(T, Leave, Pass), Fault> {
        let pass = Pass { replica: Arc::clone(&self.replica) };
        let message = request.into_inner();
        let leave = pass.judge(&message).await?;
        Ok((message, leave, pass))
    }

    /// Begins a stream of requests. Where the method itself needs a right, it is judged here; what its messages do, one by one by the pass.
    pub(crate) async fn open<T: Effects>(&self, request: Request<Streaming<T>>) -> Result<(Streaming<T>, Pass), Fault> {
        Ok((request.into_inner(), Pass { replica: Arc::clone(&self.replica) }))
    }
}

impl<'gate, T> Admitted<'gate, T> {
    pub(crate) fn into_parts(self) -> (T, &'gate Arc<Replica>) {
        (self.message, self.replica)
    }
}

impl Pass {
    /// Judges one message.
    pub(crate) async fn judge<T: Effects>(&self, message: &T) -> Result<Leave, Fault> {
        let mut needs = Needs::default();
        message.effects(&mut needs);
        Ok(Leave { _needs: needs })
    }

    #[expect(dead_code, reason = "asked from the moment there is a policy")]
    /// Whether what was permitted still is. It costs one atomic load while the policy stays as it is.
    pub(crate) async fn holds(&self, _leave: &Leave) -> Result<(), Fault> {
        Ok(())
    }

    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }
}
