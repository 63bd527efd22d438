//! A live etcd: what its keys hold at one revision, in pages, and with history every event from there to the revision at which this began.
//!
//! It goes on serving. What happens after that revision is not brought along.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_client::prefix_end;
use tombolo_proto::{
    etcdserverpb::{
        LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
        watch_request::RequestUnion,
    },
    mvccpb::{Event, event::EventType},
    v1::{ImportLease, ImportPlan},
};
use tonic::{Code, Streaming};

use super::{
    Wanted,
    outlet::Outlet,
    progress::Progress,
    source::{Survey, put, removal},
    spool::{Sorted, Spool},
};
use crate::{
    context::Context,
    exit::{Exit, Failure},
};

/// Pairs in a page: a page is one message, of a size that every etcd sends.
const PAGE: i64 = 500;
/// Silence from a watch that has not told everything yet.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A key that nobody has: a watch on it tells nothing but how far history goes back.
const NOBODY: &[u8] = b"\0tombolo import";

/// A live etcd.
#[derive(Debug)]
pub(super) struct Live {
    etcd: Context,
    wanted: Wanted,
    /// The revision up to which everything is brought along.
    revision: i64,
    /// The revision whose state is brought along as it is.
    horizon: i64,
    state: Option<Sorted>,
}

impl Live {
    pub(super) fn new(etcd: Context, wanted: Wanted) -> Self {
        Self { etcd, wanted, revision: 0, horizon: 0, state: None }
    }

    pub(super) async fn survey(&mut self, under_way: Option<&ImportPlan>) -> Result<Survey, Failure> {
        let header = self.range(NOBODY.to_vec(), Vec::new(), 0, 1).await?.header.unwrap_or_default();
        let source: bytes::Bytes = format!("etcd {:016x}", header.cluster_id).into();
        let mut leases = BTreeMap::new();
        self.leases(&mut leases).await?;
        match under_way {
            // At another revision it would be another import.
            Some(plan) if plan.source == source && plan.prefix == self.wanted.prefix => {
                (self.revision, self.horizon) = (plan.revision, plan.compacted_revision);
            }
            _ => {
                self.revision = header.revision;
                self.horizon = if self.wanted.history { self.compacted().await? } else { header.revision };
            }
        }
        let changes = self.read_state().await?;
        // Leases that were granted meanwhile.
        self.leases(&mut leases).await?;
        let plan = ImportPlan {
            source,
            revision: self.revision,
            compacted_revision: self.horizon,
            prefix: self.wanted.prefix.clone().into(),
        };
        let leases = leases.into_iter().map(|(id, ttl_s)| ImportLease { id, ttl_s }).collect();
        Ok(Survey { plan, leases, changes: (self.horizon == self.revision).then_some(changes) })
    }

    pub(super) async fn send(mut self: Box<Self>, above: i64, outlet: &mut Outlet) -> Result<(), Failure> {
        if let Some(mut state) = self.state.take() {
            while let Some((revision, pairs)) = state.next().map_err(|error| spooled(&error))? {
                if outlet.is_closed() {
                    return Ok(());
                }
                if revision > above {
                    let numbered = (0..).zip(pairs);
                    outlet.push(revision, numbered.map(|(ordinal, pair)| put(pair, ordinal)).collect()).await;
                }
            }
        }
        if self.horizon < self.revision { self.send_history(above.max(self.horizon), outlet).await } else { Ok(()) }
    }

    /// Reads what the keys held at the horizon.
    async fn read_state(&mut self) -> Result<u64, Failure> {
        if self.horizon < 1 {
            return Ok(0);
        }
        let mut spool = Spool::new().map_err(|error| spooled(&error))?;
        let (mut from, to) = self.span();
        let mut progress = Progress::begin("read", None);
        loop {
            let page = self.range(from, to.clone(), self.horizon, PAGE).await?;
            for pair in &page.kvs {
                spool.push(pair).map_err(|error| spooled(&error))?;
            }
            progress.reached(spool.len() as u64, self.horizon);
            progress.tell_if_due();
            match page.kvs.last() {
                Some(last) if page.more => from = [last.key.as_ref(), &[0]].concat(),
                Some(_) | None => break,
            }
        }
        progress.end();
        let count = spool.len() as u64;
        self.state = Some(spool.sorted().map_err(|error| spooled(&error))?);
        Ok(count)
    }

    /// Sends every event above a revision, transaction by transaction.
    async fn send_history(&self, above: i64, outlet: &mut Outlet) -> Result<(), Failure> {
        // Every revision has an event of some key: only of all keys it is known when everything has come.
        let (_requests, mut answers) = self.watch(vec![0], vec![0], above + 1).await?;
        let mut pending: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        loop {
            let answer = self.next(&mut answers).await?;
            if answer.compact_revision != 0 || answer.canceled {
                return Err(self.lost(&answer));
            }
            for event in answer.events {
                let revision = event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
                pending.entry(revision).or_default().push(event);
            }
            if answer.fragment {
                continue;
            }
            let last = pending.keys().next_back().copied().unwrap_or(0);
            for (revision, events) in std::mem::take(&mut pending) {
                if revision <= self.revision {
                    self.push(revision, events, outlet).await;
                }
            }
            if last >= self.revision || outlet.is_closed() {
                return Ok(());
            }
        }
    }

    async fn push(&self, revision: i64, events: Vec<Event>, outlet: &mut Outlet) {
        let changes = (0..).zip(events).filter_map(|(ordinal, event)| {
            let is_removal = event.r#type() == EventType::Delete;
            let pair = event.kv.filter(|pair| pair.key.starts_with(&self.wanted.prefix))?;
            Some(if is_removal { removal(pair, ordinal) } else { put(pair, ordinal) })
        });
        let changes: Vec<_> = changes.collect();
        if !changes.is_empty() {
            outlet.push(revision, changes).await;
        }
    }

    /// The revision of the last compaction, 0 if there was none.
    async fn compacted(&self) -> Result<i64, Failure> {
        let oldest = RangeRequest { key: NOBODY.to_vec().into(), revision: 1, ..RangeRequest::default() };
        match self.etcd.client.kv().range(oldest).await {
            Ok(_) => return Ok(0),
            Err(status) if status.code() == Code::OutOfRange => {}
            Err(status) => return Err(self.etcd.explain(status)),
        }
        let (_requests, mut answers) = self.watch(NOBODY.to_vec(), Vec::new(), 1).await?;
        loop {
            let answer = self.next(&mut answers).await?;
            if answer.compact_revision > 0 {
                return Ok(answer.compact_revision);
            }
            if answer.canceled {
                return Err(self.lost(&answer));
            }
        }
    }

    /// Adds the leases there are, with the time that each was granted.
    async fn leases(&self, known: &mut BTreeMap<i64, i64>) -> Result<(), Failure> {
        let mut client = self.etcd.client.lease();
        let listed = self.etcd.call(client.lease_leases(LeaseLeasesRequest {})).await?;
        let keys = !self.wanted.prefix.is_empty();
        for id in listed.leases.into_iter().map(|lease| lease.id) {
            if known.contains_key(&id) {
                continue;
            }
            let asked = client.lease_time_to_live(LeaseTimeToLiveRequest { id, keys });
            let lease = match timeout(self.etcd.timeout, asked).await {
                Ok(Ok(answer)) => answer.into_inner(),
                Ok(Err(status)) if status.code() == Code::NotFound => continue,
                Ok(Err(status)) => return Err(self.etcd.explain(status)),
                Err(_) => return Err(Failure::new(Exit::Error, "the source does not answer")),
            };
            let is_wanted = !keys || lease.keys.iter().any(|key| key.starts_with(&self.wanted.prefix));
            // One that ended meanwhile has no time left.
            if lease.ttl >= 0 && is_wanted {
                known.insert(id, lease.granted_ttl);
            }
        }
        Ok(())
    }

    /// The wanted keys, as etcd spells a range.
    fn span(&self) -> (Vec<u8>, Vec<u8>) {
        if self.wanted.prefix.is_empty() {
            return (vec![0], vec![0]);
        }
        (self.wanted.prefix.clone(), prefix_end(&self.wanted.prefix).to_vec())
    }

    async fn range(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        revision: i64,
        limit: i64,
    ) -> Result<tombolo_proto::etcdserverpb::RangeResponse, Failure> {
        let request =
            RangeRequest { key: from.into(), range_end: to.into(), revision, limit, ..RangeRequest::default() };
        match timeout(self.etcd.timeout, self.etcd.client.kv().range(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if status.code() == Code::OutOfRange && revision > 0 => Err(compacted_meanwhile()),
            Ok(Err(status)) => Err(self.etcd.explain(status)),
            Err(_) => Err(Failure::new(Exit::Error, "the source does not answer").hint("raise --command-timeout")),
        }
    }

    async fn watch(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        start_revision: i64,
    ) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), Failure> {
        let (requests, waiting) = mpsc::channel(1);
        let create = WatchCreateRequest {
            key: from.into(),
            range_end: to.into(),
            start_revision,
            fragment: true,
            ..WatchCreateRequest::default()
        };
        let _ = requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await;
        let answers = self.etcd.client.watch().watch(ReceiverStream::new(waiting)).await;
        Ok((requests, answers.map_err(|status| self.etcd.explain(status))?.into_inner()))
    }

    async fn next(&self, answers: &mut Streaming<WatchResponse>) -> Result<WatchResponse, Failure> {
        match timeout(SILENCE_MAX, answers.message()).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Err(status)) => Err(self.etcd.explain(status)),
            Ok(Ok(None)) | Err(_) => Err(Failure::new(Exit::Error, "the source has stopped telling its history")
                .hint("run the same command again: it goes on where it was")),
        }
    }

    fn lost(&self, answer: &WatchResponse) -> Failure {
        if answer.compact_revision > 0 {
            return compacted_meanwhile();
        }
        Failure::new(Exit::Error, format!("the source ended its history: {}", answer.cancel_reason))
    }
}

fn compacted_meanwhile() -> Failure {
    Failure::new(Exit::Error, "the source has compacted what was being read")
        .hint("stop its compaction meanwhile, or import a snapshot")
}

fn spooled(error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("cannot use a temporary file: {error}"))
}
