//! What is on the client port beside etcd's services: HTTP/1.1 pages, gRPC health and reflection; and how soon.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::PutRequest;
use tombolo_rig::{http::Page, process::Server};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_answer_on_the_client_port() -> Result<()> {
    let server = Server::tombolo().start().await?;
    let version = Page::get(server.address(), "/version")?;
    assert_eq!(version.status, 200);
    for field in ["\"etcdserver\":\"", "\"etcdcluster\":\""] {
        assert!(version.body.contains(field), "{version:?}");
    }
    let health = Page::get(server.address(), "/health")?;
    assert_eq!(health.status, 200);
    assert!(health.body.contains("\"health\":\"true\""), "{health:?}");
    for path in ["/livez", "/readyz"] {
        let page = Page::get(server.address(), path)?;
        assert_eq!(page.status, 200, "{path}: {page:?}");
    }
    assert_eq!(Page::get(server.address(), "/no-such-page")?.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_prometheus_text_on_both_listeners() -> Result<()> {
    let server = Server::tombolo().start().await?;
    for address in [server.address(), server.metrics_address()] {
        let page = Page::get(address, "/metrics")?;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{page:?}");
        let samples = page.body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let mut count = 0;
        for sample in samples {
            let (_, value) = sample.rsplit_once(' ').context("a sample has a value")?;
            assert!(value.parse::<f64>().is_ok(), "not a number: {sample}");
            count += 1;
        }
        assert!(count >= 5, "only {count} samples: {}", page.body);
    }
    let health = Page::get(server.metrics_address(), "/health")?;
    assert_eq!(health.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_health_answers_check_and_watch() -> Result<()> {
    let server = Server::tombolo().start().await?;
    let mut client = HealthClient::new(server.connect().await?.channel);
    let whole = HealthCheckRequest { service: String::new() };
    let checked = client.check(whole.clone()).await?.into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    let mut watched = client.watch(whole).await?.into_inner();
    let first = watched.message().await?.context("a first status")?;
    assert_eq!(first.status(), ServingStatus::Serving);
    let unknown = client.check(HealthCheckRequest { service: "no.such.Service".to_owned() }).await;
    assert_eq!(unknown.err().map(|status| status.code()), Some(tonic::Code::NotFound));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_the_services() -> Result<()> {
    let server = Server::tombolo().start().await?;
    let mut client = ServerReflectionClient::new(server.connect().await?.channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    let answer = answers.message().await?.context("an answer")?.message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    let wanted = ["KV", "Watch", "Lease", "Cluster", "Maintenance"].map(|name| format!("etcdserverpb.{name}"));
    for name in wanted {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_put_is_answered_soon_after_the_start() -> Result<()> {
    let started = Instant::now();
    let server = Server::tombolo().start().await?;
    let mut connection = server.connect().await?;
    let put = PutRequest { key: Bytes::from_static(b"first"), value: Bytes::from_static(b"1"), ..Default::default() };
    let revision = connection.kv.put(put).await?.into_inner().header.context("a header")?.revision;
    let elapsed = started.elapsed();
    println!("first put {elapsed:?} after the start (first read after {:?})", server.ready_after());
    assert_eq!(revision, 2);
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    Ok(())
}
