//! The shapes of requests that newer Kubernetes sends and the one that can be built here does not: single reads with a limit, pages by count, lists at the cache's
//! own version, the watch of the compaction clock, and consistent lists by progress. Each is sent to Tombolo and, where there is one, to a real etcd.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, StatusRequest, TxnRequest,
    TxnResponse, WatchCreateRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use tombolo_rig::{connect::Connection, process::Server, watching::stream::WatchStream};

const PODS: &[u8] = b"/registry/pods/";
const PODS_END: &[u8] = b"/registry/pods0";
const CLOCK: &[u8] = b"compact_rev_key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_kubernetes_finds_what_it_asks_for() -> Result<()> {
    for launch in [Some(Server::tombolo()), Server::etcd()].into_iter().flatten() {
        let server = launch.in_memory().start().await?;
        let mut connection = server.connect().await?;
        optimistic_writes(&mut connection).await.context("optimistic writes")?;
        pages_by_count(&mut connection).await.context("pages")?;
        consistent_lists(&mut connection).await.context("consistent lists")?;
        the_clock_is_watched(&mut connection).await.context("the clock")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_promises_answers_about_progress() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    let status = server.connect().await?.maintenance.status(StatusRequest {}).await?.into_inner();
    let parts: Vec<u32> = status.version.split('.').map(str::parse).collect::<Result<_, _>>()?;
    ensure!(parts.len() == 3 && parts >= vec![3, 5, 13], "Kubernetes does not ask {} for progress", status.version);
    Ok(())
}

/// Create, get with a limit, update and delete, each where it is right and where it is too late.
async fn optimistic_writes(connection: &mut Connection) -> Result<()> {
    let key = [PODS, b"a"].concat();
    let made = write(connection, &key, 0, Some(b"1")).await?;
    ensure!(made.succeeded, "{made:?}");
    let revision = header(&made)?;
    let too_late = write(connection, &key, 0, Some(b"2")).await?;
    ensure!(!too_late.succeeded && header(&too_late)? == revision, "{too_late:?}");
    let Some(Response::ResponseRange(found)) = too_late.responses.first().and_then(|op| op.response.as_ref()) else {
        anyhow::bail!("no range in {too_late:?}");
    };
    ensure!(found.kvs.len() == 1 && found.kvs[0].mod_revision == revision, "{found:?}");
    let got = range(connection, RangeRequest { key: key.clone().into(), limit: 1, ..Default::default() }).await?;
    ensure!(got.kvs.len() == 1 && got.count == 1 && !got.more, "{got:?}");
    let changed = write(connection, &key, revision, Some(b"2")).await?;
    ensure!(changed.succeeded && header(&changed)? == revision + 1, "{changed:?}");
    ensure!(!write(connection, &key, revision, None).await?.succeeded, "a stale delete went through");
    ensure!(write(connection, &key, revision + 1, None).await?.succeeded, "a delete was refused");
    let gone = range(connection, RangeRequest { key: key.into(), limit: 1, ..Default::default() }).await?;
    ensure!(gone.kvs.is_empty() && gone.count == 0, "{gone:?}");
    Ok(())
}

/// A list goes on while fewer came than there are; later pages, and the check of a cache, ask for its revision.
async fn pages_by_count(connection: &mut Connection) -> Result<()> {
    for number in 0..25 {
        let key = [PODS, format!("p{number:02}").as_bytes()].concat();
        connection.kv.put(PutRequest { key: key.into(), value: "x".into(), ..Default::default() }).await?;
    }
    let list = |key: Vec<u8>, revision| {
        let range_end = Bytes::from_static(PODS_END);
        RangeRequest { key: key.into(), range_end, limit: 10, revision, ..Default::default() }
    };
    let (mut from, mut revision, mut seen) = (PODS.to_vec(), 0, 0);
    loop {
        let page = range(connection, list(from, revision)).await?;
        let last = page.kvs.last().context("a page without keys")?;
        seen += page.kvs.len();
        revision = if revision == 0 { page.header.context("a header")?.revision } else { revision };
        ensure!(page.more == ((page.kvs.len() as i64) < page.count), "{page:?}");
        if (page.kvs.len() as i64) >= page.count {
            break;
        }
        from = [&last.key[..], b"\0"].concat();
        // What comes later is not on a later page.
        let late = [PODS, b"z"].concat();
        connection.kv.put(PutRequest { key: late.into(), ..Default::default() }).await?;
    }
    ensure!(seen == 25, "{seen} keys");
    let range_end = Bytes::from_static(PODS_END);
    let names = RangeRequest { key: Bytes::from_static(PODS), range_end, keys_only: true, ..Default::default() };
    let names = range(connection, names).await?;
    ensure!(names.kvs.len() == 26 && names.kvs.iter().all(|pair| pair.value.is_empty()), "{names:?}");
    Ok(())
}

/// The revision of a key that is not there, then an answer about progress that has reached it.
async fn consistent_lists(connection: &mut Connection) -> Result<()> {
    let mut stream = WatchStream::open(connection);
    let range_end = Bytes::from_static(PODS_END);
    let watch = WatchCreateRequest { key: Bytes::from_static(PODS), range_end, prev_kv: true, ..Default::default() };
    stream.create(WatchCreateRequest { progress_notify: true, ..watch }).await?;
    let elsewhere = PutRequest { key: "/registry/events/x".into(), ..Default::default() };
    connection.kv.put(elsewhere).await?;
    let probe = RangeRequest { key: "/registry/pods".into(), limit: 1, ..Default::default() };
    let wanted = range(connection, probe).await?.header.context("a header")?.revision;
    stream.progress().await?;
    let answer = stream.responses().pop().context("an answer")?;
    ensure!(answer.watch_id == -1 && answer.events.is_empty(), "{answer:?}");
    ensure!(answer.header.context("a header")?.revision >= wanted, "not as far as {wanted}");
    Ok(())
}

/// Another server's compaction is seen by its clock, whose value is a number.
async fn the_clock_is_watched(connection: &mut Connection) -> Result<()> {
    let mut stream = WatchStream::open(connection);
    stream.create(WatchCreateRequest { key: Bytes::from_static(CLOCK), ..Default::default() }).await?;
    let at = |version| Compare {
        key: Bytes::from_static(CLOCK),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Version.into(),
        target_union: Some(TargetUnion::Version(version)),
        ..Default::default()
    };
    for version in 0..2 {
        let put = PutRequest { key: Bytes::from_static(CLOCK), value: "7".into(), ..Default::default() };
        let success = vec![RequestOp { request: Some(Request::RequestPut(put)) }];
        let txn = TxnRequest { compare: vec![at(version)], success, ..Default::default() };
        ensure!(connection.kv.txn(txn).await?.into_inner().succeeded, "version {version}");
    }
    stream.wait(|responses| responses.iter().map(|response| response.events.len()).sum::<usize>() == 2).await?;
    let values = stream.responses().into_iter().flat_map(|response| response.events).filter_map(|event| event.kv);
    ensure!(values.into_iter().all(|pair| pair.value == "7"));
    Ok(())
}

/// Writes a key, or removes it, if it was modified last at a revision; reads it otherwise.
async fn write(connection: &mut Connection, key: &[u8], at: i64, value: Option<&'static [u8]>) -> Result<TxnResponse> {
    let key = Bytes::copy_from_slice(key);
    let compare = Compare {
        key: key.clone(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        target_union: Some(TargetUnion::ModRevision(at)),
        ..Default::default()
    };
    let read = Request::RequestRange(RangeRequest { key: key.clone(), ..Default::default() });
    let change = match value {
        Some(value) => Request::RequestPut(PutRequest { key, value: value.into(), ..Default::default() }),
        None => Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() }),
    };
    let op = |request| vec![RequestOp { request: Some(request) }];
    let txn = TxnRequest { compare: vec![compare], success: op(change), failure: op(read) };
    Ok(connection.kv.txn(txn).await?.into_inner())
}

async fn range(connection: &mut Connection, request: RangeRequest) -> Result<RangeResponse> {
    Ok(connection.kv.range(request).await?.into_inner())
}

fn header(answer: &TxnResponse) -> Result<i64> {
    Ok(answer.header.as_ref().context("a header")?.revision)
}
