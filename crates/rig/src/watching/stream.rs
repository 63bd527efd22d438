//! One Watch stream: requests go out, and every response is kept in the order of its arrival.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use tonic::{Request, Status, transport::Channel};

use crate::connect::Connection;

/// A stream and what it has said so far. Dropping it closes the stream.
#[derive(Debug)]
pub struct WatchStream {
    requests: mpsc::Sender<WatchRequest>,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    said: Mutex<Said>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Said {
    responses: Vec<WatchResponse>,
    end: Option<String>,
}

impl WatchStream {
    /// Opens a stream and begins to listen. A server may say nothing, not even that it accepted the stream, before the
    /// first request, so this does not wait.
    #[must_use]
    pub fn open(connection: &Connection) -> Self {
        let (requests, receiver) = mpsc::channel(16);
        let heard = Arc::new(Heard::default());
        // With the token that the connection shows, if it shows one.
        let signed = connection.wallet.sign(ReceiverStream::new(receiver));
        let signed = signed.map_err(|why| Status::internal(why.to_string()));
        tokio::spawn(listen(connection.watch.clone(), signed, Arc::clone(&heard)));
        Self { requests, heard }
    }

    /// Asks for a watcher and waits for the answer, which is the next `created` one: answers come in order.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn create(&mut self, request: WatchCreateRequest) -> Result<()> {
        let is_created = |response: &WatchResponse| response.created;
        self.send_and_wait(RequestUnion::CreateRequest(request), is_created).await
    }

    /// Cancels a watcher and waits for the answer.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn cancel(&mut self, watch_id: i64) -> Result<()> {
        let is_canceled = move |response: &WatchResponse| response.canceled && response.watch_id == watch_id;
        self.send_and_wait(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }), is_canceled).await
    }

    /// Asks how far the stream has got and waits for the answer.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn progress(&mut self) -> Result<()> {
        let is_progress = |response: &WatchResponse| response.watch_id == -1 && !response.created;
        self.send_and_wait(RequestUnion::ProgressRequest(WatchProgressRequest {}), is_progress).await
    }

    /// Sends a request that need not be answered.
    ///
    /// # Errors
    ///
    /// When the stream has ended.
    pub async fn send(&mut self, union: RequestUnion) -> Result<()> {
        self.requests.send(WatchRequest { request_union: Some(union) }).await.context("the stream has ended")
    }

    /// Everything said so far.
    #[must_use]
    pub fn responses(&self) -> Vec<WatchResponse> {
        self.heard.said().responses.clone()
    }

    /// Looks at everything said so far.
    pub fn look<T>(&self, look: impl FnOnce(&[WatchResponse]) -> T) -> T {
        look(&self.heard.said().responses)
    }

    /// How the stream ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<String> {
        self.heard.said().end.clone()
    }

    /// Waits until `enough` of all that was said.
    ///
    /// # Errors
    ///
    /// When that takes more than ten seconds, or the stream ends before.
    pub async fn wait(&self, enough: impl Fn(&[WatchResponse]) -> bool) -> Result<()> {
        let wait = async {
            loop {
                let arrived = self.heard.arrived.notified();
                let end = {
                    let said = self.heard.said();
                    if enough(&said.responses) {
                        return Ok(());
                    }
                    said.end.clone()
                };
                if let Some(end) = end {
                    bail!("the stream ended: {end}");
                }
                arrived.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("no answer on the stream")?
    }

    async fn send_and_wait(&mut self, union: RequestUnion, wanted: impl Fn(&WatchResponse) -> bool) -> Result<()> {
        let count = |responses: &[WatchResponse]| responses.iter().filter(|response| wanted(response)).count();
        let before = count(&self.heard.said().responses);
        self.send(union).await?;
        self.wait(|responses| count(responses) > before).await
    }
}

impl Heard {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("listeners do not panic")
    }

    fn hear(&self, next: Result<Option<WatchResponse>, Status>) {
        let mut said = self.said();
        match next {
            Ok(Some(response)) => said.responses.push(response),
            Ok(None) => said.end = Some("closed by the server".to_owned()),
            Err(status) => said.end = Some(status.to_string()),
        }
        drop(said);
        self.arrived.notify_waiters();
    }
}

async fn listen(
    mut watch: WatchClient<Channel>,
    requests: Result<Request<ReceiverStream<WatchRequest>>, Status>,
    heard: Arc<Heard>,
) {
    let requests = match requests {
        Ok(requests) => requests,
        Err(status) => return heard.hear(Err(status)),
    };
    let mut responses = match watch.watch(requests).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return heard.hear(Err(status)),
    };
    loop {
        let next = responses.message().await;
        let ended = !matches!(next, Ok(Some(_)));
        heard.hear(next);
        if ended {
            return;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
