//! What one client may ask for, with TLS and without: large answers whole, large requests refused in etcd's words, and no more connections, streams and
//! headers than are good for the others.

use std::{io::Read as _, net::TcpStream, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tempfile::TempDir;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest, request_op,
    watch_request::RequestUnion,
};
use tombolo_rig::{
    connect::Connection,
    http::Page,
    pki::Authority,
    process::{Launch, Server},
    requirement::Tool,
    secure::Trust,
};
use tonic::{Code, transport::Endpoint};

/// The server twice: with TLS and without. The folder has the certificates.
fn both() -> Result<(TempDir, [(Launch, &'static str); 2])> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::root("Rig Root")?;
    let files = authority.local_server()?.write(folder.path(), "server")?;
    std::fs::write(folder.path().join("ca.crt"), authority.pem())?;
    let secured = Server::tombolo()
        .with("--cert-file", &files.cert.display().to_string())
        .with("--key-file", &files.key.display().to_string())
        .secured(Trust::in_ca(&authority.pem()));
    Ok((folder, [(Server::tombolo().in_memory(), "plaintext"), (secured.in_memory(), "TLS")]))
}

fn put_of(key: String, bytes: usize) -> PutRequest {
    PutRequest { key: key.into(), value: vec![b'v'; bytes].into(), ..Default::default() }
}

const VALUES: usize = 64;
const VALUE_BYTES: usize = 1 << 20;

fn everything() -> RangeRequest {
    RangeRequest { key: Bytes::from_static(b"large/"), range_end: Bytes::from_static(b"large0"), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_sixty_four_megabytes_arrives_whole() -> Result<()> {
    let (folder, both) = both()?;
    for (launch, way) in both {
        let server = launch.start().await?;
        let mut connection = server.connect().await?;
        for index in 0..VALUES {
            connection.kv.put(put_of(format!("large/{index:02}"), VALUE_BYTES)).await?;
        }
        let answer = connection.kv.range(everything()).await?.into_inner();
        assert_eq!(answer.kvs.len(), VALUES, "{way}");
        assert!(answer.kvs.iter().all(|kv| kv.value.len() == VALUE_BYTES), "{way}");
        let Some(etcdctl) = Tool::Etcdctl.find() else { continue };
        let mut command = Command::new(etcdctl);
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(server.endpoint());
        if way == "TLS" {
            command.arg("--cacert").arg(folder.path().join("ca.crt"));
        }
        let got = command.args(["get", "--prefix", "large/"]).output()?;
        assert!(got.status.success(), "{way}: {}", String::from_utf8_lossy(&got.stderr));
        // Each value is followed by the end of its line, and so is its key.
        assert_eq!(got.stdout.len(), VALUES * (VALUE_BYTES + 1 + "large/00\n".len()), "{way}");
    }
    Ok(())
}

async fn refused(connection: &mut Connection, request: PutRequest) -> Result<(Code, String)> {
    let refused = connection.kv.put(request).await.err().context("it should be refused")?;
    Ok((refused.code(), refused.message().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_too_large_are_refused_in_etcd_s_words() -> Result<()> {
    let (_folder, both) = both()?;
    let etcd = Server::etcd().map(|etcd| (etcd, "etcd"));
    for (launch, way) in both.into_iter().chain(etcd) {
        let server = launch.start().await?;
        let mut connection = server.connect().await?;
        let (code, text) = refused(&mut connection, put_of("a".to_owned(), 1_600_000)).await?;
        assert_eq!((code, text.as_str()), (Code::InvalidArgument, "etcdserver: request is too large"), "{way}");
        let (code, text) = refused(&mut connection, put_of("a".to_owned(), 3_000_000)).await?;
        assert_eq!(code, Code::ResourceExhausted, "{way}");
        // Newer releases of its library say what the numbers are.
        let words = "received message larger than max (3000008 vs. 2097152)";
        assert!(text.contains(words), "{way}: {text}");
        let operation =
            |index: usize| RequestOp { request: Some(request_op::Request::RequestPut(put_of(format!("{index}"), 1))) };
        let transaction = TxnRequest { success: (0..129).map(operation).collect(), ..Default::default() };
        let refused = connection.kv.txn(transaction).await.err().context("129 operations")?;
        assert_eq!(refused.message(), "etcdserver: too many operations in txn request", "{way}");
        let compares =
            TxnRequest { compare: vec![Compare { key: "a".into(), ..Default::default() }; 129], ..Default::default() };
        let refused = connection.kv.txn(compares).await.err().context("129 compares")?;
        assert_eq!(refused.message(), "etcdserver: too many operations in txn request", "{way}");
        connection.kv.put(put_of("a".to_owned(), 1_500_000)).await.context("what is within the limit")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_has_more_streams_than_were_allowed() -> Result<()> {
    let (_folder, both) = both()?;
    for (launch, way) in both {
        let server = launch.with("--max-concurrent-streams", "8").start().await?;
        let connection = server.connect().await?;
        let mut streams = Vec::new();
        for _ in 0..8 {
            let (requests, receiver) = tokio::sync::mpsc::channel(1);
            let create = WatchCreateRequest { key: Bytes::from_static(b"a"), ..Default::default() };
            requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
            let mut answers = connection.watch.clone().watch(ReceiverStream::new(receiver)).await?.into_inner();
            assert!(answers.message().await?.is_some_and(|answer| answer.created));
            streams.push((requests, answers));
        }
        let mut ninth = connection.clone();
        let waits = tokio::time::timeout(Duration::from_millis(500), ninth.kv.range(everything())).await;
        assert!(waits.is_err(), "{way}: the ninth stream waits for one of the eight to end");
        drop(streams);
        let answered = tokio::time::timeout(Duration::from_secs(5), ninth.kv.range(everything())).await;
        answered.context("it goes on")??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_requests_are_bounded() -> Result<()> {
    let (_folder, both) = both()?;
    for (launch, way) in both {
        let server = launch.start().await?;
        let with_metadata = |bytes: usize| -> Result<tonic::Request<RangeRequest>> {
            let mut request = tonic::Request::new(everything());
            request.metadata_mut().insert("padding", "x".repeat(bytes).parse()?);
            Ok(request)
        };
        let mut connection = server.connect().await?;
        connection.kv.range(with_metadata(8 << 10)?).await.with_context(|| format!("{way}: a long token"))?;
        assert!(connection.kv.range(with_metadata(32 << 10)?).await.is_err(), "{way}");
        server.connect().await?.kv.range(everything()).await.with_context(|| format!("{way}: the others"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_however_frequent_end_no_connection() -> Result<()> {
    let (_folder, [(launch, _), _]) = both()?;
    let server = launch.start().await?;
    let channel = Endpoint::from_shared(server.endpoint())?
        .http2_keep_alive_interval(Duration::from_millis(50))
        .keep_alive_while_idle(true)
        .connect()
        .await?;
    let accepted = || -> Result<u64> {
        let page = Page::get(server.metrics_address(), "/metrics")?.body;
        let line = page.lines().find_map(|line| line.strip_prefix("tombolo_connections_total "));
        Ok(line.context("a count")?.parse()?)
    };
    let mut kv = tombolo_proto::etcdserverpb::kv_client::KvClient::new(channel);
    kv.range(everything()).await?;
    let before = accepted()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    kv.range(everything()).await?;
    // Both looks at the metrics are connections, the first of them before its own answer.
    assert_eq!(accepted()?, before + 1, "the client did not have to connect again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_wait_and_silent_ones_make_room() -> Result<()> {
    let (_folder, [(launch, _), _]) = both()?;
    let server = launch.start().await?;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(server.address())?);
    }
    // The oldest of those that never said a word have been let go for the newer ones.
    let mut oldest = silent.swap_remove(0);
    oldest.set_read_timeout(Some(Duration::from_secs(5)))?;
    assert!(matches!(oldest.read(&mut [0; 1]), Ok(0) | Err(_)), "it is closed");
    let page = tokio::task::block_in_place(|| Page::get(server.address(), "/health"))?;
    assert_eq!(page.status, 200);
    assert_eq!(Page::get(server.metrics_address(), "/readyz")?.status, 200);
    drop(silent);
    Ok(())
}
