//! What is served over plain HTTP beside gRPC: version, health and metrics. Nothing here can change the store or read a key.

use std::sync::Arc;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::header;
use serde_json::json;

use crate::{etcd, metrics::expose, replica::Replica};

mod health;
mod query;

/// The routes. Unknown paths are answered 404 by the router.
pub(crate) fn routes(replica: Arc<Replica>) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .route("/health", get(health::health))
        .route("/livez", get(health::livez))
        .route("/livez/{check}", get(health::livez_one))
        .route("/readyz", get(health::readyz))
        .route("/readyz/{check}", get(health::readyz_one))
        .with_state(replica)
}

async fn version() -> impl IntoResponse {
    let versions = json!({ "etcdserver": etcd::VERSION, "etcdcluster": etcd::CLUSTER_VERSION, "tombolo": env!("CARGO_PKG_VERSION") });
    ([(header::CONTENT_TYPE, "application/json")], versions.to_string())
}

async fn metrics(State(replica): State<Arc<Replica>>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], expose::expose(&replica))
}
