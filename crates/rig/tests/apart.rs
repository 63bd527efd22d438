//! What the differential rig leaves out: requests on which etcd's releases differ or break down, and the numbers and
//! overlaps in which Tombolo means to differ.

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCancelRequest,
    WatchCreateRequest, WatchResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as Op,
    watch_request::RequestUnion,
};
use tombolo_rig::{connect::Connection, process::Server, watching::stream::WatchStream};
use tonic::Code;

/// A server with `a` put at revisions 2 and 3, and `b` put at 4.
async fn prepared() -> Result<(Server, Connection)> {
    let server = Server::tombolo().in_memory().start().await?;
    let mut connection = server.connect().await?;
    for (key, value) in [("a", "1"), ("a", "2"), ("b", "1")] {
        connection.kv.put(put(key, value)).await?;
    }
    Ok((server, connection))
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: Bytes::from(key), value: Bytes::from(value), ..Default::default() }
}

fn put_op(key: &'static str) -> RequestOp {
    RequestOp { request: Some(Op::RequestPut(put(key, "txn"))) }
}

fn delete_op(key: &'static str, range_end: &'static str) -> RequestOp {
    let delete = DeleteRangeRequest { key: Bytes::from(key), range_end: Bytes::from(range_end), ..Default::default() };
    RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
}

fn nested_op(success: Vec<RequestOp>) -> RequestOp {
    RequestOp { request: Some(Op::RequestTxn(TxnRequest { success, ..Default::default() })) }
}

async fn revision(connection: &mut Connection) -> Result<i64> {
    let response = connection.kv.range(RangeRequest { key: Bytes::from("a"), ..Default::default() }).await?;
    Ok(response.into_inner().header.context("a header")?.revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_sort_is_refused_and_ends_nothing() -> Result<()> {
    let (_server, mut connection) = prepared().await?;
    for (sort_order, sort_target) in [(0, 9), (1, 9), (9, 0), (9, 9), (-1, 0)] {
        let request = RangeRequest { key: Bytes::from("a"), sort_order, sort_target, ..Default::default() };
        let status = connection.kv.range(request.clone()).await.err().context("it was answered")?;
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "etcdserver: invalid sort option"));
        let op = RequestOp { request: Some(Op::RequestRange(request)) };
        let status = connection.kv.txn(TxnRequest { success: vec![op], ..Default::default() }).await.err();
        assert_eq!(status.map(|status| status.code()), Some(Code::InvalidArgument));
    }
    assert_eq!(revision(&mut connection).await?, 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_and_a_delete_of_one_key_in_one_transaction_are_refused_however_hidden() -> Result<()> {
    let (_server, mut connection) = prepared().await?;
    let hidden = [
        vec![put_op("c"), delete_op("b", "\0")],
        vec![delete_op("\0", "\0"), put_op("a")],
        vec![nested_op(vec![put_op("a")]), nested_op(vec![delete_op("a", "")])],
        vec![nested_op(vec![put_op("a")]), nested_op(vec![nested_op(vec![delete_op("a", "c")])])],
        vec![nested_op(vec![nested_op(vec![delete_op("a", "\0")])]), put_op("d")],
    ];
    for ops in hidden {
        // The branch that would not be taken, too.
        let [success, failure] = [
            TxnRequest { success: ops.clone(), ..Default::default() },
            TxnRequest { failure: ops, ..Default::default() },
        ];
        for request in [success, failure] {
            let status = connection.kv.txn(request.clone()).await.err();
            let status = status.with_context(|| format!("it was carried out: {request:?}"))?;
            let expected = (Code::InvalidArgument, "etcdserver: duplicate key given in txn request");
            assert_eq!((status.code(), status.message()), expected);
        }
    }
    assert_eq!(revision(&mut connection).await?, 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_of_another_replica_reads_as_compacted() -> Result<()> {
    let (_server, mut connection) = prepared().await?;
    for foreign in [1 << 38, (1 << 38) + 4, 5 << 40, (1 << 53) - 1] {
        let request = RangeRequest { key: Bytes::from("a"), revision: foreign, ..Default::default() };
        let status = connection.kv.range(request).await.err().context("it was answered")?;
        let expected = (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        assert_eq!((status.code(), status.message()), expected, "{foreign}");
        let end = first_end(&mut connection, foreign).await?;
        assert!(end.canceled && end.compact_revision >= 1, "{end:?}");
        assert_ne!(end.header.map_or(0, |header| header.revision), 0);
    }
    Ok(())
}

/// The response that ends a watcher which starts there.
async fn first_end(connection: &mut Connection, start_revision: i64) -> Result<WatchResponse> {
    let mut stream = WatchStream::open(connection);
    stream.create(WatchCreateRequest { key: Bytes::from("a"), start_revision, ..Default::default() }).await?;
    stream.wait(|responses| responses.iter().any(|response| response.canceled)).await?;
    stream.responses().into_iter().find(|response| response.canceled).context("it was cancelled")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compare_with_a_revision_of_another_replica_is_false_under_every_operator() -> Result<()> {
    let (_server, mut connection) = prepared().await?;
    let results = [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
    for result in results {
        for (key, operand, expected) in [
            ("a", 1 << 38, false),
            ("absent", 7 << 38, false),
            // The largest number is a constant, and so are 0 and 1: they compare as numbers.
            ("a", i64::MAX, matches!(result, CompareResult::Less | CompareResult::NotEqual)),
            ("a", 1, matches!(result, CompareResult::Greater | CompareResult::NotEqual)),
            ("absent", 1, matches!(result, CompareResult::Less | CompareResult::NotEqual)),
        ] {
            for (target, union) in [
                (CompareTarget::Mod, TargetUnion::ModRevision(operand)),
                (CompareTarget::Create, TargetUnion::CreateRevision(operand)),
            ] {
                let compare = Compare {
                    result: result as i32,
                    target: target as i32,
                    key: Bytes::from(key),
                    target_union: Some(union),
                    ..Default::default()
                };
                let txn = TxnRequest { compare: vec![compare], ..Default::default() };
                let succeeded = connection.kv.txn(txn).await?.into_inner().succeeded;
                assert_eq!(succeeded, expected, "{target:?} of {key} {result:?} {operand}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_negative_start_is_refused_as_compacted_as_newer_etcds_do() -> Result<()> {
    let (_server, connection) = prepared().await?;
    let mut stream = WatchStream::open(&connection);
    stream.create(WatchCreateRequest { key: Bytes::from("a"), start_revision: -5, ..Default::default() }).await?;
    let answer = stream.responses().pop().context("an answer")?;
    assert!(answer.created && answer.canceled, "{answer:?}");
    assert_eq!(answer.watch_id, -1);
    assert_eq!(answer.cancel_reason, "etcdserver: mvcc: required revision has been compacted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_the_compacted_revision_sees_its_deletion_too() -> Result<()> {
    let (_server, mut connection) = prepared().await?;
    let delete = DeleteRangeRequest { key: Bytes::from("a"), ..Default::default() };
    connection.kv.delete_range(delete).await?;
    let compact = tombolo_proto::etcdserverpb::CompactionRequest { revision: 5, physical: true };
    connection.kv.compact(compact).await?;
    let mut stream = WatchStream::open(&connection);
    stream.create(WatchCreateRequest { key: Bytes::from("a"), start_revision: 5, ..Default::default() }).await?;
    stream.wait(|responses| responses.iter().any(|response| !response.events.is_empty())).await?;
    let events: Vec<_> = stream.responses().into_iter().flat_map(|response| response.events).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].kv.as_ref().map(|kv| kv.mod_revision), Some(5));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_of_nobody_is_not_answered_and_harms_nobody() -> Result<()> {
    let (_server, mut connection) = prepared().await?;
    let mut stream = WatchStream::open(&connection);
    stream.create(WatchCreateRequest { key: Bytes::from("a"), ..Default::default() }).await?;
    stream.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 777 })).await?;
    connection.kv.put(put("a", "3")).await?;
    stream.wait(|responses| responses.iter().any(|response| !response.events.is_empty())).await?;
    assert!(!stream.responses().iter().any(|response| response.canceled || response.watch_id == 777));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_call_is_unimplemented() -> Result<()> {
    let server = Server::tombolo().in_memory().start().await?;
    for path in ["/etcdserverpb.KV/RangeStream", "/etcdserverpb.KV/range", "/no.such.Service/Call"] {
        let status = call(&server, path).await?;
        assert_eq!(status, Code::Unimplemented, "{path}");
    }
    Ok(())
}

/// The code with which a call of any path ends.
async fn call(server: &Server, path: &'static str) -> Result<Code> {
    let mut client = tonic::client::Grpc::new(server.connect().await?.channel);
    client.ready().await?;
    let codec = tonic_prost::ProstCodec::<RangeRequest, RangeRequest>::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    let answer = client.unary(tonic::Request::new(RangeRequest::default()), path, codec).await;
    Ok(answer.err().context("it was answered")?.code())
}
