//! A watch over every key, followed in the background and asked what it has seen.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::{
    etcdserverpb::{WatchCreateRequest, WatchRequest, watch_client::WatchClient, watch_request},
    mvccpb::{Event, event::EventType},
};
use tonic::transport::Channel;

use super::client::prefix_range;

/// One event as a watcher saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) revision: i64,
    pub(crate) key: String,
    /// `None` for a removal.
    pub(crate) value: Option<String>,
}

/// The watch, and what came of it so far.
#[derive(Debug)]
pub(crate) struct Follower {
    incoming: UnboundedReceiver<Seen>,
    seen: Vec<Seen>,
}

impl Follower {
    /// Watches all keys from a revision on.
    pub(crate) async fn start(channel: Channel, start_revision: i64) -> Result<Self> {
        let (key, range_end) = prefix_range("");
        let create = WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        let request = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
        let (requests, stream) = mpsc::channel(1);
        requests.send(request).await.context("send the watch request")?;
        let mut answers = WatchClient::new(channel).watch(ReceiverStream::new(stream)).await?.into_inner();
        let first = answers.message().await?.context("the watch ended at once")?;
        if !first.created || first.canceled {
            bail!("the watch was refused: {}", first.cancel_reason);
        }
        let (sender, incoming) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // The stream lives as long as its requests' sender does.
            let _requests = requests;
            // The server's death ends the stream with an error, which is part of the story.
            while let Ok(Some(answer)) = answers.message().await {
                answer.events.into_iter().for_each(|event| forward(event, &sender));
            }
        });
        Ok(Self { incoming, seen: Vec::new() })
    }

    /// Waits until an event of at least this revision was seen.
    pub(crate) async fn reach(&mut self, revision: i64, patience: Duration) -> Result<()> {
        let wait = async {
            while self.last_revision() < revision {
                let Some(event) = self.incoming.recv().await else { bail!("the watch ended") };
                self.seen.push(event);
            }
            Ok(())
        };
        let reached = timeout(patience, wait).await;
        reached.with_context(|| {
            format!("the watcher saw nothing of revision {revision} within {patience:?}, only {}", self.last_revision())
        })?
    }

    /// Waits until the next event about a key, and returns it.
    pub(crate) async fn next_of(&mut self, key: &str, patience: Duration) -> Result<Seen> {
        let wait = async {
            while let Some(event) = self.incoming.recv().await {
                self.seen.push(event.clone());
                if event.key == key {
                    return Ok(event);
                }
            }
            bail!("the watch ended")
        };
        timeout(patience, wait)
            .await
            .with_context(|| format!("the watcher saw nothing of {key} within {patience:?}"))?
    }

    /// The revision of the newest event seen, 0 before the first.
    pub(crate) fn last_revision(&self) -> i64 {
        self.seen.last().map_or(0, |event| event.revision)
    }

    /// Everything seen, taken out once the stream has ended.
    pub(crate) async fn into_seen(mut self) -> Vec<Seen> {
        while let Some(event) = self.incoming.recv().await {
            self.seen.push(event);
        }
        self.seen
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }
}

fn forward(event: Event, sender: &UnboundedSender<Seen>) {
    let removed = event.r#type() == EventType::Delete;
    let Some(pair) = event.kv else { return };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // A follower that was dropped needs no more events.
    let _ = sender.send(Seen {
        revision: pair.mod_revision,
        key: text(&pair.key),
        value: (!removed).then(|| text(&pair.value)),
    });
}
