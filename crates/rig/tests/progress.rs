//! Progress requests: what Kubernetes' consistent lists from the cache stand on.
//!
//! An answer with watch id -1 and revision r promises that every watcher of the stream has been told all events up to r.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    PutRequest, WatchCreateRequest, WatchProgressRequest, WatchResponse, watch_request::RequestUnion,
};
use tombolo_rig::{connect::Connection, process::Server, watching::stream::WatchStream};

const WRITES: i64 = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_reaches_the_current_revision_when_nothing_happens() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    write(&mut connection, 10).await?;
    let mut stream = WatchStream::open(&connection);
    // A watcher that is told nothing must not hold the answer back.
    stream.create(watcher(b"nothing", b"", 0)).await?;
    stream.progress().await?;
    let answer = stream.responses().pop().context("an answer")?;
    assert_eq!(answer.header.map(|header| header.revision), Some(11));
    assert!(answer.events.is_empty() && answer.watch_id == -1, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_never_overtakes_an_event() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    write(&mut connection, WRITES).await?;
    let mut stream = WatchStream::open(&connection);
    // One that has all of history before it, one that has a part, one that is up to date.
    for start in [1, WRITES / 2, 0] {
        stream.create(watcher(b"\0", b"\0", start)).await?;
    }
    let mut writer = connection.clone();
    let writing = tokio::spawn(async move { write(&mut writer, WRITES).await });
    for _ in 0..200 {
        stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    writing.await??;
    let end = 2 * WRITES + 1;
    stream.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await?;
    let answered = |response: &WatchResponse| {
        response.watch_id == -1 && response.header.as_ref().is_some_and(|header| header.revision == end)
    };
    stream.wait(|responses| responses.iter().any(answered)).await?;
    check(&stream.responses(), &[(0, 1), (1, WRITES / 2), (2, WRITES + 2)], end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_watcher_is_told_how_far_it_is_as_often_as_the_flag_says() -> Result<()> {
    let server =
        Server::tombolo().in_memory().with("--experimental-watch-progress-notify-interval", "200ms").start().await?;
    let mut connection = server.connect().await?;
    let mut stream = WatchStream::open(&connection);
    stream.create(WatchCreateRequest { progress_notify: true, ..watcher(b"nothing", b"", 0) }).await?;
    stream.create(watcher(b"nothing", b"", 0)).await?;
    write(&mut connection, 10).await?;
    let told = |response: &&WatchResponse| !response.created && response.events.is_empty();
    let is_at_end = |response: &WatchResponse| response.header.as_ref().is_some_and(|header| header.revision == 11);
    let started = std::time::Instant::now();
    stream.wait(|responses| responses.iter().filter(told).filter(|response| is_at_end(response)).count() >= 3).await?;
    assert!(started.elapsed() > std::time::Duration::from_millis(350), "{:?}", started.elapsed());
    assert!(stream.responses().iter().filter(told).all(|response| response.watch_id == 0), "only who asked for it");
    Ok(())
}

/// Replays the responses: at each answer every watcher must have been told all up to its revision.
fn check(responses: &[WatchResponse], starts: &[(i64, i64)], end: i64) -> Result<()> {
    let mut told: BTreeMap<i64, i64> = starts.iter().map(|(id, start)| (*id, (*start).max(2) - 1)).collect();
    let (mut answers, mut last) = (0, 0);
    for response in responses {
        let header = response.header.as_ref().context("a header")?.revision;
        if response.watch_id == -1 {
            answers += 1;
            assert!(header >= last, "an answer went back from {last} to {header}");
            last = header;
            for (id, told) in &told {
                assert!(*told >= header, "progress {header}, but watcher {id} was told only {told}");
            }
        }
        for event in &response.events {
            let revision = event.kv.as_ref().context("a pair")?.mod_revision;
            let told = told.get_mut(&response.watch_id).context("a known watcher")?;
            assert_eq!(revision, *told + 1, "watcher {} was told {revision} after {told}", response.watch_id);
            *told = revision;
        }
    }
    assert!(answers >= 1, "no answer at all");
    assert!(told.values().all(|told| *told == end), "{told:?} is not {end}");
    println!("{answers} answers");
    Ok(())
}

async fn write(connection: &mut Connection, count: i64) -> Result<()> {
    for index in 0..count {
        let key = Bytes::from(format!("key/{}", index % 50));
        connection.kv.put(PutRequest { key, value: Bytes::from_static(b"x"), ..Default::default() }).await?;
    }
    Ok(())
}

fn watcher(key: &'static [u8], range_end: &'static [u8], start_revision: i64) -> WatchCreateRequest {
    let (key, range_end) = (Bytes::from_static(key), Bytes::from_static(range_end));
    WatchCreateRequest { key, range_end, start_revision, ..Default::default() }
}
