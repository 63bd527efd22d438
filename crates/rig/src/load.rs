//! Fills a server with many keys of 256 bytes, and checks that they are all there.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tombolo_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request as Op};

use crate::connect::Connection;

/// Puts keys `0..count`, some writers at a time, by transactions as large as a server takes by default.
///
/// # Errors
///
/// When a transaction is refused.
pub async fn fill(connection: &Connection, count: usize) -> Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let connection = connection.clone();
        writers.spawn(async move { fill_part(connection, writer, count).await });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// Checks the count of keys, and the values of some of them.
///
/// # Errors
///
/// When one is missing or wrong.
pub async fn check(connection: &mut Connection, count: usize) -> Result<()> {
    let request = RangeRequest {
        key: Bytes::from_static(b"load/"),
        range_end: Bytes::from_static(b"load0"),
        count_only: true,
        ..Default::default()
    };
    let counted = connection.kv.range(request).await?.into_inner().count;
    ensure!(counted == count as i64, "{counted} keys of {count} are there");
    let step = (count / SAMPLES).max(1);
    for index in (0..count).step_by(step) {
        let request = RangeRequest { key: key(index), ..Default::default() };
        let response = connection.kv.range(request).await?.into_inner();
        let kv = response.kvs.first().with_context(|| format!("key {index} is not there"))?;
        ensure!(kv.value == value(index), "key {index} has another value");
        ensure!(kv.version == 1 && kv.create_revision == kv.mod_revision, "key {index} was put once: {kv:?}");
    }
    Ok(())
}

async fn fill_part(mut connection: Connection, writer: usize, count: usize) -> Result<()> {
    let mine: Vec<usize> = (writer..count).step_by(WRITERS).collect();
    for chunk in mine.chunks(TXN_PUTS) {
        let put = |index: &usize| {
            let put = PutRequest { key: key(*index), value: value(*index), ..Default::default() };
            RequestOp { request: Some(Op::RequestPut(put)) }
        };
        let success = chunk.iter().map(put).collect();
        connection.kv.txn(TxnRequest { success, ..Default::default() }).await?;
    }
    Ok(())
}

fn key(index: usize) -> Bytes {
    Bytes::from(format!("load/{index:08}"))
}

/// 256 bytes that differ from key to key and do not compress to nothing.
fn value(index: usize) -> Bytes {
    let mut word = index as u64 + 1;
    let mut value = Vec::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        value.extend_from_slice(&word.to_be_bytes());
    }
    Bytes::from(value)
}

const VALUE_BYTES: usize = 256;
/// etcd takes 128 operations in a transaction.
const TXN_PUTS: usize = 120;
const WRITERS: usize = 16;
const SAMPLES: usize = 500;
