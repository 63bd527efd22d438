//! How a server leaves: what is under way is answered, streams end in a way on which clients come back, and connections are told.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest,
    kv_client::KvClient, watch_request::RequestUnion,
};
use tombolo_rig::{
    pki::Authority,
    process::{Launch, Server},
    secure::Trust,
};
use tonic::{Code, transport::Endpoint};

fn secured() -> Result<(tempfile::TempDir, Launch)> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::root("Rig Root")?;
    let files = authority.local_server()?.write(folder.path(), "server")?;
    let launch = Server::tombolo()
        .with("--cert-file", &files.cert.display().to_string())
        .with("--key-file", &files.key.display().to_string())
        .secured(Trust::in_ca(&authority.pem()));
    Ok((folder, launch.in_memory()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_told_to_go_away() -> Result<()> {
    let mut server = Server::tombolo().in_memory().start().await?;
    let mut socket = TcpStream::connect(server.address())?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    // The preface, and settings that change nothing.
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal("TERM")?;
    let mut farewell = Vec::new();
    // A client that does not answer is not waited for; whatever was said is read.
    let _ = socket.read_to_end(&mut farewell);
    let mut frames = Vec::new();
    let mut rest = &farewell[..];
    while let [a, b, c, kind, _, _, _, _, _, tail @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let payload = tail.get(..length).context("a whole frame")?;
        frames.push((*kind, payload.to_vec()));
        rest = &tail[length..];
    }
    let goaway = frames.iter().find(|(kind, _)| *kind == 7).context("a GOAWAY frame")?;
    assert_eq!(goaway.1[4..8], [0, 0, 0, 0], "without an error");
    assert!(server.ended()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_under_way_arrives_whole() -> Result<()> {
    let mut server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    for index in 0..24 {
        let value = Bytes::from(vec![b'v'; 1 << 20]);
        connection.kv.put(PutRequest { key: format!("large/{index}").into(), value, ..Default::default() }).await?;
    }
    // With small windows the answer takes its time.
    let channel = Endpoint::from_shared(server.endpoint())?
        .initial_stream_window_size(Some(64 << 10))
        .initial_connection_window_size(Some(64 << 10))
        .connect()
        .await?;
    let mut slow = KvClient::new(channel).max_decoding_message_size(1 << 30);
    let request = RangeRequest { key: "large/".into(), range_end: "large0".into(), ..Default::default() };
    let answer = tokio::spawn(async move { slow.range(request).await });
    tokio::time::sleep(Duration::from_millis(15)).await;
    server.signal("TERM")?;
    assert_eq!(answer.await??.into_inner().kvs.len(), 24);
    assert!(server.ended()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_as_unavailable_and_soon() -> Result<()> {
    let (_folder, secured) = secured()?;
    for (launch, way) in [(Server::tombolo().in_memory(), "plaintext"), (secured, "TLS")] {
        let mut server = launch.start().await?;
        let mut connection = server.connect().await?;
        let (watches, requests) = tokio::sync::mpsc::channel(4);
        let create = WatchCreateRequest { key: Bytes::from_static(b"a"), ..Default::default() };
        watches.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
        let mut watch = connection.watch.watch(ReceiverStream::new(requests)).await?.into_inner();
        ensure!(watch.message().await?.context("an answer")?.created);
        let lease = connection.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await?.into_inner().id;
        let (renewals, requests) = tokio::sync::mpsc::channel(4);
        renewals.send(LeaseKeepAliveRequest { id: lease }).await?;
        let mut renewed = connection.lease.lease_keep_alive(ReceiverStream::new(requests)).await?.into_inner();
        ensure!(renewed.message().await?.is_some());
        // A connection that has not said a word holds nobody up.
        let _silent = TcpStream::connect(server.address())?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.signal("TERM")?;
        let since = Instant::now();
        let ended = watch.message().await.err().with_context(|| format!("{way}: the watch ends with a status"))?;
        assert_eq!(ended.code(), Code::Unavailable, "{way}: {ended:?}");
        let ended = renewed.message().await.err().with_context(|| format!("{way}: so do the renewals"))?;
        assert_eq!(ended.code(), Code::Unavailable, "{way}: {ended:?}");
        drop((watches, renewals, watch, renewed, connection));
        assert!(server.ended()?.success(), "{way}");
        assert!(since.elapsed() < Duration::from_secs(3), "{way}: {:?}", since.elapsed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_finds_the_server_that_came_back() -> Result<()> {
    let (_folder, secured) = secured()?;
    for launch in [Server::tombolo().in_memory(), secured] {
        let mut server = launch.start().await?;
        let mut connection = server.connect().await?;
        let put = |key: &'static str| PutRequest { key: Bytes::from_static(key.as_bytes()), ..Default::default() };
        connection.kv.put(put("before")).await?;
        server.stop()?;
        server.restart().await?;
        // The same channel: it connects again by itself, at the latest with the second call.
        if connection.kv.put(put("after")).await.is_err() {
            connection.kv.put(put("after")).await?;
        }
    }
    Ok(())
}
