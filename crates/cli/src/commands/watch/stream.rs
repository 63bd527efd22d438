//! The watches of one command, on one stream.
//!
//! The server names a watch when it confirms it, in the order in which watches were asked for; until then a watch waits
//! in a queue. When the stream breaks it is opened again, and every watch goes on from the revision after the last it
//! has seen: nothing is shown twice and nothing is missed. Only a server that says no ends a watch.

use std::{collections::VecDeque, future, time::Duration};

use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_client::ClientError;
use tombolo_proto::etcdserverpb::{WatchProgressRequest, WatchRequest, WatchResponse, watch_request::RequestUnion};
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue};

use super::{Subscription, exec};
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Answer,
};

/// How long to wait between attempts to open the stream again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A message of the stream, or how it ended.
pub(super) type Message = Result<Option<WatchResponse>, Status>;

#[derive(Debug)]
pub(super) struct Watches<'a> {
    context: &'a Context,
    watches: Vec<Watch>,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Watch {
    /// What to ask for; its start revision follows what has been seen.
    subscription: Subscription,
    /// The server's name for it, once it is confirmed.
    id: Option<i64>,
    ended: bool,
}

#[derive(Debug)]
struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    /// Watches that are asked for and not yet confirmed.
    unconfirmed: VecDeque<usize>,
}

impl<'a> Watches<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, watches: Vec::new(), stream: None }
    }

    /// Starts another watch.
    pub(super) async fn add(&mut self, subscription: Subscription) -> Result<(), Failure> {
        let index = self.watches.len();
        let create = create(&subscription);
        self.watches.push(Watch { subscription, id: None, ended: false });
        match &mut self.stream {
            Some(stream) => {
                stream.unconfirmed.push_back(index);
                // A closed stream shows in its next answer, and opening it again asks for every watch.
                let _ = stream.requests.send(create).await;
            }
            None => {
                let stream = self.open().await.map_err(|status| self.context.explain(status))?;
                self.stream = Some(stream);
            }
        }
        Ok(())
    }

    /// Asks how far the stream is. Without a watch there is none, and nothing to ask.
    pub(super) async fn request_progress(&mut self) {
        if let Some(stream) = &self.stream {
            let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
            let _ = stream.requests.send(WatchRequest { request_union: Some(progress) }).await;
        }
    }

    /// Waits for the next message; for ever, if there is no stream. Dropping the future loses nothing.
    pub(super) async fn answer(&mut self) -> Message {
        match &mut self.stream {
            Some(stream) => stream.answers.message().await,
            None => future::pending().await,
        }
    }

    /// Shows events until the server has ended every watch.
    pub(super) async fn run_to_the_end(mut self) -> Result<(), Failure> {
        while self.watches.iter().any(|watch| !watch.ended) {
            let answer = self.answer().await;
            self.take(answer).await?;
        }
        Err(Failure::new(Exit::Interrupted, "watch is canceled by the server"))
    }

    /// Acts on a message.
    pub(super) async fn take(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Ok(Some(response)) if response.created => self.confirm(&response),
            Ok(Some(response)) => self.deliver(response).await,
            Ok(None) => self.open_again("the server closed the stream").await,
            Err(status) if is_final(&status) => self.lose_all(&status),
            Err(status) => self.open_again(&ClientError::from(status).to_string()).await,
        }
    }

    fn confirm(&mut self, response: &WatchResponse) -> Result<(), Failure> {
        let unconfirmed = self.stream.as_mut().and_then(|stream| stream.unconfirmed.pop_front());
        let Some(watch) = unconfirmed.and_then(|index| self.watches.get_mut(index)) else { return Ok(()) };
        if response.canceled {
            watch.ended = true;
            eprintln!("watch was canceled ({})", response.cancel_reason);
            return self.context.printer.print(&Answer::WatchLost);
        }
        watch.id = Some(response.watch_id);
        let start = &mut watch.subscription.request.start_revision;
        if *start == 0 {
            *start = response.header.unwrap_or_default().revision + 1;
        }
        Ok(())
    }

    async fn deliver(&mut self, response: WatchResponse) -> Result<(), Failure> {
        // Progress of the whole stream carries no watch's id and is news for each of them.
        let for_all = response.watch_id == -1;
        for watch in &mut self.watches {
            let addressed = !watch.ended && watch.id.is_some_and(|id| for_all || id == response.watch_id);
            if addressed {
                watch.see(&response);
                watch.show(self.context, &response).await?;
            }
        }
        Ok(())
    }

    /// Opens the stream again, however long that takes.
    async fn open_again(&mut self, reason: &str) -> Result<(), Failure> {
        eprintln!("watch is interrupted ({reason}); trying to resume");
        self.stream = None;
        loop {
            match self.open().await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(status) if is_final(&status) => return self.lose_all(&status),
                Err(_) => time::sleep(RETRY_AFTER).await,
            }
        }
    }

    fn lose_all(&mut self, status: &Status) -> Result<(), Failure> {
        self.stream = None;
        for watch in self.watches.iter_mut().filter(|watch| !watch.ended) {
            watch.ended = true;
            eprintln!("watch was canceled ({})", status.message());
            self.context.printer.print(&Answer::WatchLost)?;
        }
        Ok(())
    }

    /// Opens a stream and asks for every watch that has not ended.
    async fn open(&mut self) -> Result<Stream, Status> {
        let live: VecDeque<usize> = (0..self.watches.len()).filter(|index| !self.watches[*index].ended).collect();
        // The requests must wait in the channel: a server may answer the call only together with the first of them.
        let (requests, receiver) = mpsc::channel(live.len() + 16);
        for index in &live {
            let watch = &mut self.watches[*index];
            watch.id = None;
            let room = requests.try_send(create(&watch.subscription));
            room.map_err(|_| Status::internal("no room for the watches of one stream"))?;
        }
        let mut request = Request::new(ReceiverStream::new(receiver));
        // A member without a leader would serve a stale stream; it then refuses instead.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let answers = self.context.client.watch().watch(request).await?.into_inner();
        Ok(Stream { requests, answers, unconfirmed: live })
    }
}

impl Watch {
    /// Remembers how far it is, to go on from there, and whether this is its last message.
    fn see(&mut self, response: &WatchResponse) {
        let seen = match response.events.last().and_then(|event| event.kv.as_ref()) {
            Some(pair) => pair.mod_revision,
            None => response.header.unwrap_or_default().revision,
        };
        let start = &mut self.subscription.request.start_revision;
        *start = (*start).max(seen + 1);
        self.ended = response.canceled;
    }

    async fn show(&self, context: &Context, response: &WatchResponse) -> Result<(), Failure> {
        let revision = response.header.unwrap_or_default().revision;
        match (response.canceled, response.compact_revision) {
            // The command's own last words say that the server ended it; there is nothing else to show.
            (true, 0) => return Ok(()),
            (true, _) => eprintln!("watch was canceled (etcdserver: mvcc: required revision has been compacted)"),
            (false, _) if response.events.is_empty() && revision != 0 => context.printer.note_progress(revision)?,
            (false, _) => {}
        }
        context.printer.print(&Answer::Watch(response))?;
        for event in &response.events {
            exec::run(&self.subscription.command, event, revision).await?;
        }
        Ok(())
    }
}

fn create(subscription: &Subscription) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(subscription.request.clone())) }
}

/// Whether the server has said no, as against a failure that trying again may mend.
fn is_final(status: &Status) -> bool {
    let refused = matches!(ClientError::from(status.clone()), ClientError::Refused { .. });
    let no_leader = status.message() == "etcdserver: no leader";
    refused && (no_leader || !matches!(status.code(), Code::Unavailable | Code::Internal))
}

#[cfg(test)]
mod tests {
    use tombolo_proto::{
        etcdserverpb::{ResponseHeader, WatchCreateRequest},
        mvccpb::{Event, KeyValue},
    };

    use super::*;

    fn watch(start_revision: i64) -> Watch {
        let request = WatchCreateRequest { start_revision, ..Default::default() };
        Watch { subscription: Subscription { request, command: Vec::new() }, id: Some(0), ended: false }
    }

    fn response(revision: i64, events: &[i64]) -> WatchResponse {
        let event = |mod_revision: &i64| Event {
            kv: Some(KeyValue { mod_revision: *mod_revision, ..Default::default() }),
            ..Default::default()
        };
        let header = Some(ResponseHeader { revision, ..Default::default() });
        WatchResponse { header, events: events.iter().map(event).collect(), ..Default::default() }
    }

    fn start_after(mut watch: Watch, seen: &[WatchResponse]) -> i64 {
        seen.iter().for_each(|response| watch.see(response));
        watch.subscription.request.start_revision
    }

    #[test]
    fn a_watch_resumes_after_the_last_event_it_has_seen() {
        assert_eq!(start_after(watch(3), &[response(9, &[4, 5])]), 6);
    }

    #[test]
    fn progress_moves_the_resumption_point_and_never_back() {
        assert_eq!(start_after(watch(3), &[response(9, &[])]), 10);
        assert_eq!(start_after(watch(3), &[response(9, &[8]), response(7, &[])]), 9);
    }

    #[test]
    fn only_a_server_s_refusal_is_final() {
        assert!(is_final(&Status::permission_denied("etcdserver: permission denied")));
        assert!(is_final(&Status::unavailable("etcdserver: no leader")));
        assert!(!is_final(&Status::unavailable("etcdserver: server stopped")));
        assert!(!is_final(&Status::internal("stream terminated")));
        let mut broken = Status::unknown("transport error");
        broken.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
        assert!(!is_final(&broken));
    }
}
