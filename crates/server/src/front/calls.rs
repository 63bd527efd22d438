//! Every gRPC call, whoever brings it: counted, and answered in gRPC's words where the libraries have their own.
//!
//! `KV` takes nearly all calls and is called directly; a router costs more than a read.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use tombolo_proto::{Kind, Method, etcdserverpb::kv_server::KvServer};
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::stream::CountedStream;
use crate::{
    etcd::{KvService, status},
    metrics::Metrics,
};

/// The services; clones are cheap.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(super) kv: KvServer<KvService>,
    pub(super) others: Router,
    pub(super) metrics: Arc<Metrics>,
}

/// Whether a method is one of the service that is called without a router.
const fn is_kv(method: Method) -> bool {
    matches!(method, Method::KvRange | Method::KvPut | Method::KvDeleteRange | Method::KvTxn | Method::KvCompact)
}

/// For the gateway, which calls as a client of this process.
impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        self.answer(request)
    }
}

impl Calls {
    pub(super) fn answer<B>(&self, request: Request<B>) -> Answering
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        let method = Method::of_path(request.uri().path());
        if let Some(method) = method {
            self.metrics.rpcs.started(method);
        }
        let answer: Answer = if method.is_some_and(is_kv) {
            Service::call(&mut self.kv.clone(), request)
        } else {
            routed(&self.others, request)
        };
        let counted =
            method.map(|method| Counted { method, since: Instant::now(), metrics: Arc::clone(&self.metrics) });
        Answering { answer, counted }
    }
}

/// The answer of a router.
pub(super) fn routed<B>(router: &Router, request: Request<B>) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    let answer = router.clone().oneshot(request);
    Box::pin(async move { answer.await.map(|response| response.map(Body::new)) })
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// An answer on its way; it is counted when it begins, or, for a stream, when it ends.
pub(crate) struct Answering {
    answer: Answer,
    counted: Option<Counted>,
}

struct Counted {
    method: Method,
    since: Instant,
    metrics: Arc<Metrics>,
}

impl Answering {
    /// One that is no call and is not counted.
    pub(super) fn page(answer: Answer) -> Self {
        Self { answer, counted: None }
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match ready!(self.answer.as_mut().poll(cx)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let Some(Counted { method, since, metrics }) = self.counted.take() else { return Poll::Ready(Ok(response)) };
        let code = status::of_head(response.headers_mut());
        // A stream that was refused ends where it begins.
        if method.kind() == Kind::Unary || code != status::OK {
            metrics.rpcs.handled(method, code, since.elapsed());
            return Poll::Ready(Ok(response));
        }
        Poll::Ready(Ok(response.map(|body| Body::new(CountedStream::new(body, method, metrics)))))
    }
}
