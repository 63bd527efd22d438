//! One stream of renewals.
//!
//! Leases of this replica are renewed at once. Those of others are asked for at their homes, several at a time, so that a slow
//! home delays its own leases alone. The answers for one lease come in the order of its requests.
//!
//! An error ends the stream, as in etcd, and with it the renewals of all its leases. So, when one home fails, the others get a moment
//! to be heard first: a client opens the stream again and repeats all its requests, and would lose leases that are well
//! if the one that is not always came before them.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};
use tombolo_crdt::ReplicaId;
use tombolo_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tonic::{Status, Streaming};

use super::{super::status::Fault, homes::Homes};
use crate::{gate::Pass, stopping::Stopping};

/// One stream of renewals.
pub(super) struct KeepAlives {
    pass: Pass,
    homes: Homes,
    requests: Streaming<LeaseKeepAliveRequest>,
    stopping: Stopping,
    /// Renewals that are asked for elsewhere, one for a lease.
    forwards: FuturesUnordered<Forward>,
    /// The leases of those, and how many requests for each wait behind it.
    behind: BTreeMap<i64, usize>,
    /// Requests that are not answered.
    open: usize,
    /// The client sends no more.
    is_over: bool,
    /// Why the stream ends, and when.
    ending: Option<(Status, Instant)>,
}

type Forward = Pin<Box<dyn Future<Output = (i64, ReplicaId, Result<LeaseKeepAliveResponse, Fault>)> + Send>>;
type Answer = Result<LeaseKeepAliveResponse, Status>;

/// What happened.
enum Wake {
    Request(Result<Option<LeaseKeepAliveRequest>, Status>),
    Forwarded(i64, ReplicaId, Result<LeaseKeepAliveResponse, Fault>),
    End,
    Stop,
}

impl KeepAlives {
    pub(super) fn new(pass: Pass, requests: Streaming<LeaseKeepAliveRequest>) -> Self {
        let homes = Homes(Arc::clone(pass.replica()));
        let stopping = homes.0.stopping.clone();
        let (forwards, behind) = (FuturesUnordered::new(), BTreeMap::new());
        Self { pass, homes, requests, stopping, forwards, behind, open: 0, is_over: false, ending: None }
    }

    /// The next answer; what follows an error is the end.
    pub(super) async fn next(this: Option<Self>) -> Option<(Answer, Option<Self>)> {
        let mut this = this?;
        loop {
            if this.is_over && this.open == 0 {
                return this.ending.map(|(why, _)| (Err(why), None));
            }
            match this.wake().await {
                Wake::Request(Ok(Some(request))) => {
                    // As in etcd, one renewal that is not permitted ends the stream.
                    if let Err(fault) = this.pass.permits(&request).await {
                        return Some((Err(fault.into()), None));
                    }
                    if let Some(answer) = this.begin(request.id) {
                        return Some((Ok(answer), Some(this)));
                    }
                }
                Wake::Request(Ok(None)) => this.is_over = true,
                Wake::Request(Err(status)) => return Some((Err(status), None)),
                Wake::Forwarded(id, home, answer) => {
                    this.go_on(id, home);
                    match answer {
                        Ok(answer) => return Some((Ok(answer), Some(this))),
                        Err(fault) => drop(this.ending.get_or_insert((fault.into(), Instant::now() + LINGER))),
                    }
                }
                Wake::End => return this.ending.map(|(why, _)| (Err(why), None)),
                Wake::Stop => return Some((Err(Fault::Stopped.into()), None)),
            }
        }
    }

    /// Waits for whatever comes first. Losing the race costs none of them anything.
    async fn wake(&mut self) -> Wake {
        let end = self.ending.as_ref().map(|(_, at)| *at);
        tokio::select! {
            request = self.requests.message(), if !self.is_over && self.open < OPEN_MAX => Wake::Request(request),
            Some((id, home, answer)) = self.forwards.next() => Wake::Forwarded(id, home, answer),
            () = async { match end { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                Wake::End
            }
            () = self.stopping.told() => Wake::Stop,
        }
    }

    /// Renews a lease: at once, or by and by.
    fn begin(&mut self, id: i64) -> Option<LeaseKeepAliveResponse> {
        if let Some(behind) = self.behind.get_mut(&id) {
            *behind += 1;
            self.open += 1;
            return None;
        }
        // The header comes first: it must not speak of a revision later than the renewal.
        let header = self.homes.0.header_now();
        let ttl = self.homes.0.leases.renew(id);
        if ttl.is_none()
            && let Some(home) = self.homes.home_elsewhere(id)
        {
            self.behind.insert(id, 0);
            self.open += 1;
            self.forward(id, home);
            return None;
        }
        Some(LeaseKeepAliveResponse { header: Some(header), id, ttl: ttl.unwrap_or(0) })
    }

    fn forward(&self, id: i64, home: ReplicaId) {
        let homes = self.homes.clone();
        self.forwards.push(Box::pin(async move { (id, home, homes.renew_elsewhere(home, id).await) }));
    }

    /// A lease's renewal is answered: the next one's turn.
    fn go_on(&mut self, id: i64, home: ReplicaId) {
        self.open -= 1;
        match self.behind.get_mut(&id) {
            Some(behind) if *behind > 0 => {
                *behind -= 1;
                self.forward(id, home);
            }
            _ => drop(self.behind.remove(&id)),
        }
    }
}

/// Requests of one stream that may be unanswered before no more are read.
const OPEN_MAX: usize = 64;
/// How long the other leases of a stream are served once it has to end.
const LINGER: Duration = Duration::from_millis(500);
