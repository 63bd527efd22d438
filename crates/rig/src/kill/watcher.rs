//! One of the watchers: it resumes behind the last revision it was told of, as a client does after a broken connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{WatchCreateRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb::Event,
};

use super::{history::revision_of, verdict::Told};
use crate::{connect::Connection, watching::stream::WatchStream};

#[derive(Debug)]
pub(crate) struct Watcher {
    key: Bytes,
    end: Bytes,
    /// What it was told over the streams that are over.
    events: Vec<Event>,
    seen_revision: i64,
    stream: Option<WatchStream>,
}

impl Watcher {
    pub(crate) fn new(key: &'static [u8], end: &'static [u8]) -> Self {
        let (key, end) = (Bytes::from_static(key), Bytes::from_static(end));
        Self { key, end, events: Vec::new(), seen_revision: 0, stream: None }
    }

    /// Goes on where the last stream broke; does nothing while that one is alive.
    pub(crate) async fn resume(&mut self, connection: &Connection) {
        if let Some(stream) = &self.stream {
            if stream.end().is_none() {
                return;
            }
            let (events, seen) = heard(&stream.responses());
            self.events.extend(events);
            self.seen_revision = self.seen_revision.max(seen);
        }
        let request = WatchCreateRequest {
            key: self.key.clone(),
            range_end: self.end.clone(),
            start_revision: self.events.last().map_or(1, |event| revision_of(event) + 1),
            prev_kv: true,
            ..Default::default()
        };
        let mut stream = WatchStream::open(connection);
        // A stream that breaks at once is resumed next time.
        drop(stream.send(RequestUnion::CreateRequest(request)).await);
        self.stream = Some(stream);
    }

    /// Waits until the stream has noticed that the server is gone.
    pub(crate) async fn wait_for_the_end(&self) {
        let Some(stream) = &self.stream else { return };
        while stream.end().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What it was told so far, once that is all of `history` that concerns it, or after a while.
    pub(crate) async fn told_all_of(&self, history: &[Event]) -> Told {
        let mut told = Told { key: self.key.clone(), end: self.end.clone(), ..Default::default() };
        let wanted = history.iter().filter(|event| told.concerns(event)).count();
        let started = Instant::now();
        while self.events.len() + self.fresh() < wanted && started.elapsed() < PATIENCE {
            tokio::time::sleep(STEP).await;
        }
        // One that repeats itself would do so now.
        tokio::time::sleep(STEP).await;
        let responses = self.stream.as_ref().map(WatchStream::responses).unwrap_or_default();
        let (fresh, seen) = heard(&responses);
        told.events = self.events.clone();
        told.events.extend(fresh);
        told.seen_revision = self.seen_revision.max(seen);
        told
    }

    fn fresh(&self) -> usize {
        let count = |responses: &[WatchResponse]| responses.iter().map(|response| response.events.len()).sum();
        self.stream.as_ref().map_or(0, |stream| stream.look(count))
    }
}

fn heard(responses: &[WatchResponse]) -> (Vec<Event>, i64) {
    let headers = responses.iter().filter_map(|response| response.header.as_ref());
    let seen = headers.map(|header| header.revision).max().unwrap_or_default();
    (responses.iter().flat_map(|response| response.events.iter().cloned()).collect(), seen)
}

const STEP: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);
