//! The service behind each connection: decides who may speak to it at all, and tells gRPC from plain HTTP.

use std::{convert::Infallible, future, sync::Arc};

use axum::Router;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic_health::server::HealthReporter;

use self::access::Access;
pub(crate) use self::{
    access::Entrance,
    calls::{Answering, Calls},
};
use crate::{
    config::GatewayConfig,
    etcd::{self, status},
    gate::Gate,
    gateway, http as plain,
    replica::Replica,
    v1,
};

mod access;
mod calls;
mod stream;

/// The names under which the server's health is told: the empty one is all of it.
pub(crate) const SERVICES: [&str; 12] = [
    "",
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "tombolo.v1.Backup",
    "tombolo.v1.Import",
    "tombolo.v1.Mesh",
];

/// The service of all connections of a listener; clones are cheap.
#[derive(Clone)]
pub(crate) struct Front {
    calls: Option<Calls>,
    pages: Router,
    gateway: Arc<GatewayConfig>,
    access: Access,
}

impl Front {
    /// Everything, for clients. Whoever holds the reporter can end the streams of those who watch the server's health.
    pub(crate) fn new(
        replica: &Arc<Replica>,
        gateway: &GatewayConfig,
    ) -> Result<(Self, HealthReporter), tonic_reflection::server::Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let gate = Gate::new(Arc::clone(replica));
        let decoded_max = replica.facts.message_bytes_max();
        let others = etcd::routes(&gate, decoded_max)
            .add_service(v1::backup(&gate))
            .add_service(v1::import(&gate))
            .add_service(v1::mesh(&gate))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .into_axum_router()
            .fallback(unknown_service);
        let calls = Calls { kv: etcd::kv(&gate, decoded_max), others, metrics: Arc::clone(&replica.metrics) };
        let mut pages = plain::routes(Arc::clone(replica));
        if gateway.is_enabled {
            pages = pages.merge(gateway::routes(calls.clone(), decoded_max));
        }
        let pages = pages.fallback(unknown_page);
        Ok((Self::with(Some(calls), pages, gateway), reporter))
    }

    /// Plain HTTP alone: metrics and health.
    pub(crate) fn plain(replica: &Arc<Replica>, gateway: &GatewayConfig) -> Self {
        let pages = plain::routes(Arc::clone(replica)).fallback(unknown_page);
        Self::with(None, pages, gateway)
    }

    fn with(calls: Option<Calls>, pages: Router, gateway: &GatewayConfig) -> Self {
        // Strict, until it is known where connections come in.
        let entrance = Entrance { is_loopback: true, has_tls: false };
        Self { calls, pages, access: Access::new(gateway, entrance), gateway: Arc::new(gateway.clone()) }
    }

    /// The same for the connections of one listener.
    pub(crate) fn at(&self, entrance: Entrance) -> Self {
        Self { access: Access::new(&self.gateway, entrance), ..self.clone() }
    }

    fn page(&self, request: Request<Incoming>) -> Answering {
        if let Some(refusal) = self.access.refused_host(&request) {
            return at_once(refusal);
        }
        // Who sends one that is not listed was refused before.
        let origin = request.headers().get(header::ORIGIN).cloned();
        let answer = match self.access.preflight(request.method()) {
            Some(answer) => Box::pin(future::ready(Ok(answer.map(Body::new)))),
            None => calls::routed(&self.pages, request),
        };
        let access = self.access.clone();
        Answering::page(Box::pin(async move {
            let mut response = answer.await?;
            access.allow(origin, response.headers_mut());
            Ok(response)
        }))
    }
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
        if let Some(refusal) = self.access.refused_origin(request.headers()) {
            return at_once(refusal);
        }
        match &self.calls {
            Some(calls) if is_grpc(request.headers()) => calls.answer(request),
            _ => self.page(request),
        }
    }
}

/// Whether a request is a call. A page cannot send this type of content unless the server allowed it beforehand.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn at_once(response: Response<axum::body::Body>) -> Answering {
    Answering::page(Box::pin(future::ready(Ok(response.map(Body::new)))))
}

/// An unknown gRPC service is said to be so in gRPC's way, else clients would not fall back.
async fn unknown_service(request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    status::unknown_service(request.uri().path()).into_http()
}

async fn unknown_page() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "404 page not found\n")
}
