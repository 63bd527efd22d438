//! What locks and elections have in common: a session's lease, a place in the line, and waiting in it.
//!
//! Each call does its work in a task of its own that learns when its caller has gone, so that nothing is left half done: whoever
//! stops waiting, for whatever reason, leaves the line as its last act. Waiting is hearing of one departure from the watch hub.
//!
//! **All of this holds within one replica.** Another site may hold the same lock, or elect somebody else, until the two have replicated.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tombolo_site::{Entry, Place, Turn};
use tombolo_storage::{
    Answer, KeyRange, KeyValue, Outcome, RangeQuery, Request as StoreRequest, RequestError, Revision, Transaction,
    TxnAnswer,
};

use self::{departure::Departure, waiters::Seat};
pub(super) use self::{
    departure::{resumable, watch},
    waiters::Waiters,
};
use super::{
    kv::mismatched,
    lease::random_id,
    status::{Fault, line::LineFault},
};
use crate::{committer::Refusal, replica::Replica};

mod departure;
mod waiters;

/// Knows when whoever called has gone.
pub(super) struct Caller {
    present: oneshot::Receiver<()>,
    is_gone: bool,
}

impl Caller {
    /// Carries out a call that must not be dropped half way. When the answer is not wanted any more, `work` learns it from its caller.
    pub(super) async fn attend<T, F>(work: impl FnOnce(Self) -> F) -> Result<T, LineFault>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LineFault>> + Send + 'static,
    {
        let (present, gone) = oneshot::channel();
        let answer = tokio::spawn(work(Self { present: gone, is_gone: false })).await;
        drop(present);
        answer.map_err(|why| Fault::Internal { what: why.to_string() })?
    }

    /// Returns when the caller has gone.
    pub(super) async fn gone(&mut self) {
        if !self.is_gone {
            // Nothing is ever sent: an end is what is waited for.
            let _ = (&mut self.present).await;
            self.is_gone = true;
        }
    }
}

/// The lease that a call stands on. Without one it gets a session's, as in etcd: nobody renews it, and nobody but its time ends it.
pub(super) async fn session(replica: &Replica, lease: i64) -> Result<i64, LineFault> {
    if lease != 0 {
        return Ok(lease);
    }
    loop {
        let id = random_id()?;
        match replica.commit(StoreRequest::LeaseGrant { id, ttl_s: SESSION_TTL_S }, 0).await {
            Ok(_) => return Ok(id),
            // Two random ids may meet, once in a very long time.
            Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseExists { .. }) => {}
            Err(why) => return Err(Fault::from(why).into()),
        }
    }
}

/// etcd's time to live for a session that nobody chose one for.
const SESSION_TTL_S: i64 = 60;

/// Enters the line of `name`, or finds the place that the lease has there. The revision is that of the answer.
pub(super) async fn enter(
    replica: &Replica,
    name: &[u8],
    lease: i64,
    value: Bytes,
) -> Result<(Entry, Revision), LineFault> {
    let bytes = name.len() + value.len();
    let (answer, revision) = txn(replica, Turn::enter(name, lease, value), bytes).await?;
    let entry = Turn::entered(name, lease, answer, revision.get()).ok_or_else(mismatched)?;
    Ok((entry, revision))
}

/// Commits a transaction.
pub(super) async fn txn(
    replica: &Replica,
    transaction: Transaction,
    bytes: usize,
) -> Result<(TxnAnswer, Revision), LineFault> {
    replica.metrics.txns.add(1);
    let Answer { revision, outcome } =
        replica.commit(StoreRequest::Txn(transaction), bytes).await.map_err(Fault::from)?;
    match outcome {
        Outcome::Txn(answer) => Ok((answer, revision)),
        _ => Err(mismatched().into()),
    }
}

/// Reads one pair.
pub(super) async fn read(replica: &Replica, query: RangeQuery) -> Result<(Option<KeyValue>, Revision), LineFault> {
    let answer = replica.reads.range(query).await.map_err(|why| Fault::from(&why))?;
    Ok((answer.pairs.into_iter().next(), answer.revision))
}

/// The revision at which a place is still held; `None` when its key is gone, or another's by now.
pub(super) async fn still_held(replica: &Replica, place: &Place) -> Result<Option<Revision>, LineFault> {
    let (pair, revision) = read(replica, RangeQuery::all(KeyRange::single(place.key.clone()))).await?;
    Ok(pair.filter(|pair| pair.create_revision == place.created).map(|_| revision))
}

/// Who waits, and on whose behalf.
pub(super) struct Waiting<'call> {
    pub(super) replica: &'call Arc<Replica>,
    pub(super) waiters: &'call Arc<Waiters>,
    pub(super) caller: &'call mut Caller,
}

impl Waiting<'_> {
    /// Waits until the turn comes. After an error the place is left, unless another call waits at the same one.
    ///
    /// `may_stay` is asked whenever something has happened: what was permitted may not be any more.
    pub(super) async fn turn<F>(&mut self, turn: &Turn, may_stay: impl Fn() -> F) -> Result<(), LineFault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let seat = match self.waiters.sit(&turn.place().key) {
            Ok(seat) => seat,
            Err(why) => {
                if !self.waiters.is_taken(&turn.place().key) {
                    self.give_up(turn).await;
                }
                return Err(why);
            }
        };
        loop {
            let (ahead, departure) = match self.look(turn).await {
                Ok(Some(ahead)) => ahead,
                Ok(None) => return Ok(()),
                Err(why) => {
                    self.leave(turn, None, &seat).await;
                    return Err(why);
                }
            };
            let (reason, stands) = match self.hear(departure, &may_stay).await {
                Ok(()) => continue,
                Err(why @ (LineFault::CallerGone | LineFault::Server(Fault::Stopped))) => (why, Some(&ahead)),
                Err(why) => (why, None),
            };
            if self.leave(turn, stands, &seat).await {
                return Err(reason);
            }
        }
    }

    /// Who is directly ahead, and their departure.
    async fn look(&self, turn: &Turn) -> Result<Option<(KeyValue, Departure)>, LineFault> {
        let mut answer = self.replica.reads.range(turn.ahead()).await.map_err(|why| Fault::from(&why))?;
        let Some(ahead) = answer.pairs.pop() else { return Ok(None) };
        let departure = Departure::of(self.replica, &ahead, &answer)?;
        Ok(Some((ahead, departure)))
    }

    /// Waits for a departure, or for a reason to wait no longer. The end of the server ends the wait as it ends every watch.
    async fn hear<F>(&mut self, departure: Departure, may_stay: impl Fn() -> F) -> Result<(), LineFault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        tokio::select! {
            heard = departure.heard() => {
                heard?;
                Ok(may_stay().await?)
            }
            () = self.caller.gone() => Err(LineFault::CallerGone),
        }
    }

    /// Leaves the line, as far as that is possible: where it is not, the lease's end does it. Where `ahead` is given, the place is kept if
    /// that one has gone, since the turn may have come just now for somebody who stands on the same lease. Answers whether it is left.
    async fn leave(&self, turn: &Turn, ahead: Option<&KeyValue>, seat: &Seat) -> bool {
        if seat.is_shared() {
            return true;
        }
        let Some(ahead) = ahead else {
            self.give_up(turn).await;
            return true;
        };
        match txn(self.replica, turn.leave(ahead), 0).await {
            Ok((answer, _)) if !answer.succeeded => {
                !matches!(still_held(self.replica, turn.place()).await, Ok(Some(_)))
            }
            _ => true,
        }
    }

    async fn give_up(&self, turn: &Turn) {
        let _ = txn(self.replica, turn.place().give_up(), 0).await;
    }
}
