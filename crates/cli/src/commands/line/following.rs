//! One watch that goes on when its connection breaks, from where it was.

use std::time::Duration;

use tokio::time;
use tokio_stream::StreamExt as _;
use tombolo_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion};
use tonic::{Status, Streaming};

use crate::{
    context::Context,
    exit::{Exit, Failure},
};

/// How long to wait before a stream that broke is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// One watch.
pub(in super::super) struct Following<'a> {
    context: &'a Context,
    request: WatchCreateRequest,
    stream: Option<Streaming<WatchResponse>>,
}

impl<'a> Following<'a> {
    /// A watch that has not begun yet.
    pub(in super::super) fn new(context: &'a Context, request: WatchCreateRequest) -> Self {
        Self { context, request, stream: None }
    }

    /// The next events; `None` when what they were to begin with is compacted, so that it is time to read again.
    pub(in super::super) async fn next(&mut self) -> Result<Option<WatchResponse>, Failure> {
        loop {
            let response = match self.message().await {
                Ok(Some(response)) => response,
                Ok(None) | Err(_) => {
                    self.stream = None;
                    time::sleep(RETRY_AFTER).await;
                    continue;
                }
            };
            if response.canceled {
                return match response.compact_revision {
                    0 => Err(Failure::new(Exit::Error, response.cancel_reason)),
                    _ => Ok(None),
                };
            }
            if let Some(last) = response.events.last().and_then(|event| event.kv.as_ref()) {
                self.request.start_revision = last.mod_revision + 1;
                return Ok(Some(response));
            }
        }
    }

    async fn message(&mut self) -> Result<Option<WatchResponse>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let create = RequestUnion::CreateRequest(self.request.clone());
                let create = tokio_stream::once(WatchRequest { request_union: Some(create) });
                // The stream of requests stays open: its end would be the watch's.
                let requests = create.chain(tokio_stream::pending());
                let opened = self.context.client.watch().watch(requests).await?;
                self.stream.insert(opened.into_inner())
            }
        };
        stream.message().await
    }
}
