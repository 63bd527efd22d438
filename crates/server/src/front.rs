//! The service behind each connection: tells gRPC from plain HTTP, counts, and says in gRPC's words what the libraries say in their own.
//!
//! `KV` takes nearly all requests and is called directly; a router costs more than a read.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::Router;
use http::{Request, Response, header};
use hyper::body::Incoming;
use tombolo_proto::{Kind, Method, etcdserverpb::kv_server::KvServer};
use tonic::body::Body;
use tonic_health::server::HealthReporter;
use tower::{Service, ServiceExt};

use self::stream::CountedStream;
use crate::{
    etcd::{self, KvService, status},
    gate::Gate,
    http as plain,
    metrics::Metrics,
    replica::Replica,
    v1,
};

mod stream;

/// The names under which the server's health is told: the empty one is all of it.
pub(crate) const SERVICES: [&str; 7] = [
    "",
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "tombolo.v1.Mesh",
];

/// The service of all client connections; clones are cheap.
#[derive(Clone)]
pub(crate) struct Front {
    kv: Option<KvServer<KvService>>,
    others: Router,
    metrics: Arc<Metrics>,
}

impl Front {
    /// Everything, for clients. Whoever holds the reporter can end the streams of those who watch the server's health.
    pub(crate) fn new(replica: &Arc<Replica>) -> Result<(Self, HealthReporter), tonic_reflection::server::Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let gate = Gate::new(Arc::clone(replica));
        let decoded_max = replica.facts.message_bytes_max();
        let grpc = etcd::routes(&gate, decoded_max)
            .add_service(v1::mesh(&gate))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .into_axum_router();
        let front = Self {
            kv: Some(etcd::kv(&gate, decoded_max)),
            others: plain::routes(Arc::clone(replica)).merge(grpc).fallback(unknown),
            metrics: Arc::clone(&replica.metrics),
        };
        Ok((front, reporter))
    }

    /// Plain HTTP alone: metrics and health.
    pub(crate) fn plain(replica: &Arc<Replica>) -> Self {
        let others = plain::routes(Arc::clone(replica)).fallback(unknown);
        Self { kv: None, others, metrics: Arc::clone(&replica.metrics) }
    }
}

/// Whether a method is one of the service that is called without a router.
const fn is_kv(method: Method) -> bool {
    matches!(method, Method::KvRange | Method::KvPut | Method::KvDeleteRange | Method::KvTxn | Method::KvCompact)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tombolo_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let method = Method::of_path(request.uri().path());
        if let Some(method) = method {
            self.metrics.rpcs.started(method);
        }
        let answer: Answer = match &self.kv {
            Some(kv) if method.is_some_and(is_kv) => Service::call(&mut kv.clone(), request),
            _ => {
                let answer = self.others.clone().oneshot(request);
                Box::pin(async move { answer.await.map(|response| response.map(Body::new)) })
            }
        };
        Answering { answer, method, since: Instant::now(), metrics: Arc::clone(&self.metrics) }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// An answer on its way; it is counted when it begins, or, for a stream, when it ends.
pub(crate) struct Answering {
    answer: Answer,
    method: Option<Method>,
    since: Instant,
    metrics: Arc<Metrics>,
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match ready!(self.answer.as_mut().poll(cx)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let Some(method) = self.method else { return Poll::Ready(Ok(response)) };
        let code = status::of_head(response.headers_mut());
        // A stream that was refused ends where it begins.
        if method.kind() == Kind::Unary || code != status::OK {
            self.metrics.rpcs.handled(method, code, self.since.elapsed());
            return Poll::Ready(Ok(response));
        }
        let metrics = Arc::clone(&self.metrics);
        Poll::Ready(Ok(response.map(|body| Body::new(CountedStream::new(body, method, metrics)))))
    }
}

/// Whatever has no route: an unknown gRPC service is said to be so in gRPC's way, else clients would not fall back.
async fn unknown(request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return status::unknown_service(request.uri().path()).into_http();
    }
    let mut response = Response::new(axum::body::Body::from("404 page not found\n"));
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    response
}
