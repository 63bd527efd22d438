//! One watch stream: requests in, answers out, in the hub's order.
//!
//! A session is driven by whoever wants the next answer, so a client that does not read makes no work: its requests wait in the connection, its events
//! within the hub's credit. Every answer passes the outbox, the session's own words too, so that `created` precedes the watcher's first
//! event and a promise of progress overtakes none.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse, watch_create_request::FilterType,
        watch_request::RequestUnion,
    },
    mvccpb,
};
use tombolo_site::{Credit, Delivery, EndCause, Ending, Progress, WatchError, WatchSpec, WatcherId};
use tombolo_storage::{Event, KeyRange, Revision};
use tonic::{Status, Streaming};
use tracing::{debug, warn};

use super::{
    fragment,
    ids::{Ids, Watcher},
};
use crate::{
    etcd::{convert, status::Fault},
    gate::{Leave, Pass},
    limits,
    replica::Replica,
    watches::{Item, Subscription},
};

/// One watch stream.
pub(super) struct Session {
    pass: Pass,
    /// `None` once the client has said that no more will come; it goes on listening.
    requests: Option<Streaming<WatchRequest>>,
    subscription: Subscription,
    ids: Ids,
    /// What each watcher was permitted.
    leaves: HashMap<WatcherId, Leave>,
    /// Answers that are ready to go.
    ready: VecDeque<WatchResponse>,
    /// What the answers cost that have gone, not yet given back to the hub.
    owed: Credit,
    over: bool,
}

/// What happens to a session.
enum Turn {
    Send(Item),
    Request(RequestUnion),
    /// The client sent what asks for nothing.
    Nothing,
    /// The policy is another one.
    Outdated,
    /// The client sends no more.
    Silence,
    /// The stream broke, or the client went.
    Broken(Status),
    /// The server stops.
    Stopped,
}

impl Session {
    pub(super) fn new(pass: Pass, requests: Streaming<WatchRequest>) -> Self {
        let subscription = pass.replica().watches.subscribe();
        Self {
            pass,
            requests: Some(requests),
            subscription,
            ids: Ids::default(),
            leaves: HashMap::new(),
            ready: VecDeque::new(),
            owed: Credit::default(),
            over: false,
        }
    }

    /// The next answer, and the session that goes on after it.
    pub(super) async fn next(mut self: Box<Self>) -> Option<(Result<WatchResponse, Status>, Box<Self>)> {
        loop {
            // Before anything goes out: what is ready may be for eyes that may no longer see it.
            if self.pass.is_outdated() {
                self.judge_again().await;
            }
            if let Some(response) = self.ready.pop_front() {
                return Some((Ok(response), self));
            }
            if self.over {
                return None;
            }
            self.settle();
            let fault = match self.turn().await {
                Turn::Send(item) => {
                    self.send(item).await;
                    continue;
                }
                Turn::Request(request) => {
                    self.serve(request).await;
                    continue;
                }
                Turn::Nothing | Turn::Outdated => continue,
                Turn::Silence => {
                    self.requests = None;
                    continue;
                }
                Turn::Broken(status) => status,
                Turn::Stopped => Fault::Stopped.into(),
            };
            self.over = true;
            return Some((Err(fault), self));
        }
    }

    async fn turn(&mut self) -> Turn {
        let outbox = &mut self.subscription.outbox;
        let may_ask = outbox.len() < limits::WATCH_BACKLOG_MAX;
        tokio::select! {
            item = outbox.recv() => item.map_or(Turn::Stopped, Turn::Send),
            () = self.pass.outdated() => Turn::Outdated,
            turn = receive(self.requests.as_mut()), if may_ask && self.requests.is_some() => turn,
        }
    }

    /// Gives back what has gone, in lots, since each giving back takes the hub's lock.
    fn settle(&mut self) {
        let worth_it = self.subscription.outbox.is_empty() || self.owed.events >= SETTLED_EVENTS;
        if worth_it && self.owed != Credit::default() {
            self.subscription.drained(mem::take(&mut self.owed));
        }
    }

    async fn serve(&mut self, request: RequestUnion) {
        match request {
            RequestUnion::CreateRequest(request) => self.create(request).await,
            RequestUnion::CancelRequest(request) => self.cancel(request.watch_id),
            RequestUnion::ProgressRequest(_) => self.subscription.progress(),
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) {
        let spec = spec(&request);
        let replica = self.pass.replica();
        let refuse = |reason: String| {
            move |revision| WatchResponse {
                watch_id: -1,
                created: true,
                canceled: true,
                cancel_reason: reason,
                ..answer(replica, revision)
            }
        };
        if request.start_revision < 0 {
            // No history begins there. Older etcds differ among themselves; the newest releases answer this.
            return self.subscription.say(refuse(Fault::Compacted.to_string()));
        }
        let leave = match self.pass.judge(&request).await {
            Ok(leave) => leave,
            Err(fault) => return self.subscription.say(refuse(fault.as_go_error())),
        };
        if spec.range.is_empty() {
            return self.subscription.say(refuse(EMPTY_RANGE.to_owned()));
        }
        let watch_id = match self.ids.choose(request.watch_id) {
            Ok(watch_id) => watch_id,
            Err(why) => return self.subscription.say(refuse(why.to_string())),
        };
        let watcher = Watcher { watch_id, fragment: request.fragment };
        let (ids, leaves) = (&mut self.ids, &mut self.leaves);
        self.subscription.watch(spec, |created, revision| match created {
            Ok(id) => {
                ids.insert(id, watcher);
                leaves.insert(id, leave);
                WatchResponse { watch_id, created: true, ..answer(replica, revision) }
            }
            Err(WatchError::EmptyRange) => refuse(EMPTY_RANGE.to_owned())(revision),
            Err(why) => refuse(format!("tombolo: {why}"))(revision),
        });
    }

    /// As in etcd, an id that is not known is passed over in silence.
    fn cancel(&mut self, watch_id: i64) {
        let Some(watcher) = self.ids.remove(watch_id) else { return };
        let replica = self.pass.replica();
        let announce = |revision| WatchResponse { watch_id, canceled: true, ..answer(replica, revision) };
        match watcher {
            Some(watcher) => {
                self.leaves.remove(&watcher);
                self.subscription.cancel(watcher, announce);
            }
            None => self.subscription.say(announce),
        }
    }

    /// Ends the watchers whose client may no longer see what they watch, and takes back what is ready for them.
    async fn judge_again(&mut self) {
        let mut ended = Vec::new();
        for (id, leave) in &self.leaves {
            if let Err(fault) = self.pass.holds(leave).await {
                ended.push((*id, fault));
            }
        }
        for (id, fault) in ended {
            self.leaves.remove(&id);
            let Some(Watcher { watch_id, .. }) = self.ids.ended(id) else { continue };
            self.ready.retain(|response| response.watch_id != watch_id || response.events.is_empty());
            let replica = self.pass.replica();
            self.subscription.cancel(id, |revision| WatchResponse {
                watch_id,
                canceled: true,
                cancel_reason: fault.as_go_error(),
                ..answer(replica, revision)
            });
        }
    }

    async fn send(&mut self, item: Item) {
        match item {
            Item::Control(response) => self.ready.push_back(response),
            Item::Deliver(delivery) => self.deliver(delivery).await,
            Item::Progress(progress) => self.promise(&progress),
            Item::End(ending) => self.end(&ending),
        }
    }

    async fn deliver(&mut self, delivery: Delivery) {
        self.owed += delivery.cost;
        let Some(watcher) = self.ids.find(delivery.watcher) else { return };
        let events = self.events(&delivery).await;
        let header = Some(self.pass.replica().header(delivery.revision));
        let response = WatchResponse { header, watch_id: watcher.watch_id, events, ..Default::default() };
        if watcher.fragment {
            self.ready.extend(fragment::split(response, self.pass.replica().facts.message_bytes_max()));
        } else {
            self.ready.push_back(response);
        }
    }

    /// The events as clients see them. Previous values are looked up only now: until here an event is shared by all its watchers.
    async fn events(&self, delivery: &Delivery) -> Vec<mvccpb::Event> {
        if !delivery.wants_previous {
            return delivery.events().map(|event| convert::event(event, None)).collect();
        }
        let wanted: Vec<_> = delivery.events().filter_map(replaced).collect();
        let mut found = self.pass.replica().reads.previous(wanted).await.into_iter();
        let with_previous = |event: &Event| {
            let previous = replaced(event).and_then(|_| found.next().flatten());
            convert::event(event, previous)
        };
        delivery.events().map(with_previous).collect()
    }

    fn promise(&mut self, progress: &Progress) {
        self.owed += progress.cost;
        let watch_id = match progress.watcher {
            // The answer to a request concerns every watcher of the stream.
            None => -1,
            Some(watcher) => match self.ids.find(watcher) {
                Some(watcher) => watcher.watch_id,
                None => return,
            },
        };
        self.ready.push_back(WatchResponse { watch_id, ..answer(self.pass.replica(), progress.revision) });
    }

    fn end(&mut self, ending: &Ending) {
        self.leaves.remove(&ending.watcher);
        let Some(watcher) = self.ids.ended(ending.watcher) else { return };
        let mut response = WatchResponse {
            header: Some(self.pass.replica().header_now()),
            watch_id: watcher.watch_id,
            canceled: true,
            ..Default::default()
        };
        match &ending.cause {
            EndCause::Compacted { oldest } => response.compact_revision = *oldest,
            cause => {
                warn!(%cause, watch_id = watcher.watch_id, "a watcher was ended");
                response.cancel_reason = format!("tombolo: {cause}");
            }
        }
        self.ready.push_back(response);
    }
}

/// Credit is given back at the latest when so many events have gone.
const SETTLED_EVENTS: usize = 128;

const EMPTY_RANGE: &str = "mvcc: watcher range is empty";

async fn receive(requests: Option<&mut Streaming<WatchRequest>>) -> Turn {
    let Some(requests) = requests else { return std::future::pending().await };
    match requests.message().await {
        Ok(Some(request)) => request.request_union.map_or(Turn::Nothing, Turn::Request),
        Ok(None) => Turn::Silence,
        Err(status) => {
            debug!(%status, "a watch stream broke");
            Turn::Broken(status)
        }
    }
}

fn answer(replica: &Replica, revision: Revision) -> WatchResponse {
    let header: ResponseHeader = replica.header(revision);
    WatchResponse { header: Some(header), ..Default::default() }
}

fn spec(request: &WatchCreateRequest) -> WatchSpec {
    // As in etcd, no key means the smallest one.
    let key = if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key.clone() };
    let mut spec = WatchSpec::new(KeyRange::from_etcd(key, request.range_end.clone()), request.start_revision);
    spec.without_puts = request.filters().any(|filter| filter == FilterType::Noput);
    spec.without_deletes = request.filters().any(|filter| filter == FilterType::Nodelete);
    spec.previous = request.prev_kv;
    spec.progress_notify = request.progress_notify;
    spec
}

/// Key and revision of an event that replaced or removed something; `None` for a creation.
fn replaced(event: &Event) -> Option<(Bytes, Revision)> {
    match event {
        Event::Put(pair) if pair.create_revision == pair.mod_revision => None,
        Event::Put(pair) => Some((pair.key.clone(), Revision::new(pair.mod_revision)?)),
        Event::Delete { key, revision } => Some((key.clone(), *revision)),
    }
}
