//! Counts a stream of answers when it ends, by the code in its trailers; one that ends without them was given up by the client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tombolo_proto::Method;
use tonic::{Status, body::Body};

use crate::{etcd::status, metrics::Metrics};

/// A stream of answers under way.
pub(super) struct CountedStream {
    body: Body,
    method: Method,
    code: usize,
    since: Instant,
    metrics: Arc<Metrics>,
}

impl CountedStream {
    pub(super) fn new(body: Body, method: Method, metrics: Arc<Metrics>) -> Self {
        Self { body, method, code: status::CANCELED, since: Instant::now(), metrics }
    }
}

impl hyper::body::Body for CountedStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(trailers) = frame.as_mut().and_then(|frame| frame.as_mut().ok()).and_then(Frame::trailers_mut) {
            self.code = status::of_head(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.metrics.rpcs.handled(self.method, self.code, self.since.elapsed());
    }
}
