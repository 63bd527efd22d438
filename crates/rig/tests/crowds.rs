//! Many streams, a watcher that does not listen, large answers: what a busy API server does to a store.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::etcdserverpb::{
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use tombolo_rig::{
    connect::Connection,
    process::{Launch, Server},
    watching::stream::WatchStream,
};

/// As many as a kube-apiserver keeps, with a few streams each.
const CONNECTIONS: usize = 75;
const STREAMS_EACH: usize = 4;
const WRITES: usize = 20;

async fn put(connection: &mut Connection, key: &str, value: Bytes) -> Result<()> {
    connection.kv.put(PutRequest { key: Bytes::from(key.to_owned()), value, ..Default::default() }).await?;
    Ok(())
}

fn everything(start_revision: i64) -> WatchCreateRequest {
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    WatchCreateRequest { key, range_end, start_revision, prev_kv: true, ..Default::default() }
}

fn events_of(responses: &[WatchResponse]) -> usize {
    responses.iter().map(|response| response.events.len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_streams_are_all_told() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut streams = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = server.connect().await?;
        for _ in 0..STREAMS_EACH {
            let mut stream = WatchStream::open(&connection);
            stream.create(everything(0)).await?;
            streams.push(stream);
        }
        connections.push(connection);
    }
    for (write, connection) in connections.iter_mut().enumerate().take(WRITES) {
        put(connection, &format!("key/{write}"), Bytes::from_static(b"x")).await?;
    }
    for stream in &streams {
        stream.wait(|responses| events_of(responses) == WRITES).await?;
        let responses = stream.responses();
        let revisions: Vec<i64> = responses
            .iter()
            .flat_map(|response| &response.events)
            .filter_map(|event| event.kv.as_ref().map(|kv| kv.mod_revision))
            .collect();
        assert_eq!(revisions, (2..2 + WRITES as i64).collect::<Vec<_>>());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_listen_delays_nobody_and_misses_nothing() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut deaf = server.connect().await?;
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    let create = RequestUnion::CreateRequest(everything(0));
    requests.send(WatchRequest { request_union: Some(create) }).await?;
    let mut responses = deaf.watch.watch(ReceiverStream::new(receiver)).await?.into_inner();
    let created = responses.message().await?.context("an answer")?;
    assert!(created.created);

    // 120 MB that nobody reads, while others are served.
    let (writes, value) = (3_000, Bytes::from(vec![b'v'; 40_000]));
    let mut writer = server.connect().await?;
    let mut listener = WatchStream::open(&writer);
    listener.create(WatchCreateRequest { key: Bytes::from("last"), ..Default::default() }).await?;
    for write in 0..writes {
        put(&mut writer, &format!("key/{}", write % 10), value.clone()).await?;
    }
    put(&mut writer, "last", Bytes::from_static(b"x")).await?;
    listener.wait(|responses| events_of(responses) == 1).await?;

    let mut next = 2;
    while next < writes + 3 {
        let response = tokio::time::timeout(Duration::from_secs(20), responses.message()).await;
        let response = response.context("it was forgotten")??.context("it was dropped")?;
        assert!(!response.canceled, "{response:?}");
        for event in &response.events {
            let kv = event.kv.as_ref().context("a pair")?;
            assert_eq!(kv.mod_revision, next);
            assert_eq!(event.prev_kv.is_some(), kv.create_revision != kv.mod_revision);
            next += 1;
        }
    }
    Ok(())
}

async fn answers_of_tens_of_megabytes(launch: Launch) -> Result<()> {
    let server = launch.in_memory().start().await?;
    let mut connection = server.connect().await?;
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    for index in 0..40 {
        put(&mut connection, &format!("large/{index}"), value.clone()).await?;
    }
    let prefix = RangeRequest { key: Bytes::from("large/"), range_end: Bytes::from("large0"), ..Default::default() };
    let response = connection.kv.range(prefix).await?.into_inner();
    assert_eq!((response.count, response.kvs.len()), (40, 40));
    assert!(response.kvs.iter().all(|kv| kv.value == value));

    // With fragments no message is much larger than a request may be; together they are the same events.
    let mut stream = WatchStream::open(&connection);
    stream.create(WatchCreateRequest { fragment: true, prev_kv: false, ..everything(1) }).await?;
    stream.wait(|responses| events_of(responses) == 40).await?;
    for response in stream.responses() {
        let bytes: usize = response.events.iter().filter_map(|event| Some(event.kv.as_ref()?.value.len())).sum();
        assert!(bytes <= 2 << 20, "a fragment of {bytes} bytes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombolo_sends_answers_of_tens_of_megabytes() -> Result<()> {
    answers_of_tens_of_megabytes(Server::tombolo()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_sends_answers_of_tens_of_megabytes() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    answers_of_tens_of_megabytes(etcd).await
}
