//! The one place where a request gets leave: whoever answers requests holds a [`Gate`] and no replica, and comes by the replica only with a request that
//! was judged.
//!
//! What is judged are effects, not names of operations: which keys a request reads, writes, removes or reveals, by whatever road. [`rule`] has a row for
//! every method of every contract, [`Effects`] says what one message does, and the policy says whether its sender may.
//! Code that acts for nobody, such as the task that ends leases, uses the replica directly. While there is no policy, all of this is one atomic load.

use std::sync::Arc;

use tombolo_auth::Caller;
use tonic::{Extensions, Request, Streaming, metadata::MetadataMap};

use self::judge::Judge;
pub(crate) use self::{
    effects::{Effects, KeysDecided, KeysTold, Reach},
    pass::{Leave, Pass},
    rule::{Rule, rule},
};
use crate::{
    etcd::status::Fault,
    replica::{Facts, Replica},
    tls::ClientCertificate,
};

mod effects;
mod import;
mod judge;
mod pass;
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

impl Gate {
    pub(crate) fn new(replica: Arc<Replica>) -> Self {
        Self { replica }
    }

    /// What the operator said about this replica: limits are nobody's secret, and some are checked before who asks is.
    pub(crate) fn facts(&self) -> &Facts {
        &self.replica.facts
    }

    /// Judges a request that is answered at once.
    #[inline]
    pub(crate) async fn admit<T: Effects>(&self, request: Request<T>) -> Result<Admitted<'_, T>, Fault> {
        import::check(&self.replica, T::METHOD)?;
        if self.replica.policy.is_enabled() {
            Sender::of(&request).judge(&self.replica, request.get_ref())?;
        }
        Ok(Admitted { message: request.into_inner(), replica: &self.replica })
    }

    /// Judges a request whose answer may take long, or is a stream.
    pub(crate) async fn enter<T: Effects>(&self, request: Request<T>) -> Result<(T, Leave, Pass), Fault> {
        let (metadata, extensions, message) = request.into_parts();
        let pass = Pass::new(Arc::clone(&self.replica), metadata, extensions);
        let leave = pass.judge(&message).await?;
        Ok((message, leave, pass))
    }

    /// Begins a stream of requests. Where the method itself needs a right, it is judged here; what its messages do, one by one by the pass.
    pub(crate) async fn open<T: Effects>(&self, request: Request<Streaming<T>>) -> Result<(Streaming<T>, Pass), Fault> {
        import::check(&self.replica, T::METHOD)?;
        if self.replica.policy.is_enabled() && rule(T::METHOD) != Rule::Effects {
            Sender::of(&request).judge_method(&self.replica, T::METHOD)?;
        }
        let (metadata, extensions, messages) = request.into_parts();
        Ok((messages, Pass::new(Arc::clone(&self.replica), metadata, extensions)))
    }
}

impl<'gate, T> Admitted<'gate, T> {
    pub(crate) fn into_parts(self) -> (T, &'gate Arc<Replica>) {
        (self.message, self.replica)
    }
}

/// Where a request says who sent it.
#[derive(Clone, Copy)]
struct Sender<'a> {
    metadata: &'a MetadataMap,
    extensions: &'a Extensions,
}

impl<'a> Sender<'a> {
    fn of<T>(request: &'a Request<T>) -> Self {
        Self { metadata: request.metadata(), extensions: request.extensions() }
    }

    fn identify(self, replica: &Replica) -> Result<Caller, Fault> {
        let certificate = self.extensions.get::<ClientCertificate>();
        replica.policy.identify(self.metadata, certificate)
    }

    fn judge<T: Effects>(self, replica: &Replica, message: &T) -> Result<(), Fault> {
        let rule = rule(T::METHOD);
        if rule == Rule::Open {
            return Ok(());
        }
        let caller = self.identify(replica)?;
        let mut reach = Reach::default();
        message.effects(&mut reach);
        Judge::now(replica).judge(&caller, rule, &reach)
    }

    fn judge_method(self, replica: &Replica, method: tombolo_proto::Method) -> Result<(), Fault> {
        Judge::now(replica).judge(&self.identify(replica)?, rule(method), &Reach::default())
    }
}
