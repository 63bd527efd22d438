//! What the store's tests share: opening, short requests, short reads.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tombolo_storage::{
    Answer, Commit, Committer, Delete, HistoryBudget, KeyRange, KeyValue, OpenError, OpenOptions, Outcome, Put,
    RangeQuery, Request, RequestError, Store, WallTime,
};

pub(crate) const NOW: WallTime = WallTime(1_700_000_000_000);

pub(crate) fn options() -> OpenOptions {
    OpenOptions::new(NOW, [7; 32])
}

pub(crate) fn open(path: &Path) -> (Store, Committer) {
    try_open(path).expect("the folder opens")
}

pub(crate) fn try_open(path: &Path) -> Result<(Store, Committer), OpenError> {
    Store::open(path, &options())
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    put_leased(key, value, 0)
}

pub(crate) fn put_leased(key: &str, value: &str, lease: i64) -> Request {
    Request::Put(Put { lease: Some(lease), ..put_op(key, value) })
}

/// A put as a step of a transaction.
pub(crate) fn put_op(key: &str, value: &str) -> Put {
    Put { key: bytes(key), value: Some(bytes(value)), lease: Some(0), previous: true }
}

pub(crate) fn delete(range: KeyRange) -> Request {
    Request::Delete(delete_op(range))
}

/// A delete as a step of a transaction.
pub(crate) fn delete_op(range: KeyRange) -> Delete {
    Delete { range, previous: true }
}

pub(crate) fn single(key: &str) -> KeyRange {
    KeyRange::single(bytes(key))
}

/// Executes and commits one request.
pub(crate) fn run(committer: &mut Committer, request: Request) -> Answer {
    let answer = try_run(committer, request).expect("the request is carried out");
    committer.commit().expect("the group commits");
    answer
}

pub(crate) fn try_run(committer: &mut Committer, request: Request) -> Result<Answer, RequestError> {
    committer.execute(NOW, request)
}

pub(crate) fn commit(committer: &mut Committer) -> Vec<Arc<Commit>> {
    committer.commit().expect("the group commits")
}

pub(crate) fn get(store: &Store, key: &str) -> Option<KeyValue> {
    get_at(store, key, 0)
}

pub(crate) fn get_at(store: &Store, key: &str, revision: i64) -> Option<KeyValue> {
    let query = RangeQuery { revision, ..RangeQuery::all(single(key)) };
    store.range(&query).expect("the read is answered").pairs.pop()
}

pub(crate) fn value(store: &Store, key: &str) -> Option<String> {
    get(store, key).map(|pair| text(&pair.value))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the tests write text")
}

pub(crate) fn all(store: &Store) -> Vec<KeyValue> {
    all_at(store, 0)
}

pub(crate) fn all_at(store: &Store, revision: i64) -> Vec<KeyValue> {
    let query = RangeQuery { revision, ..RangeQuery::all(KeyRange::all()) };
    store.range(&query).expect("the read is answered").pairs
}

pub(crate) fn history(store: &Store, from: i64) -> Vec<Commit> {
    let budget = HistoryBudget { commits: usize::MAX, bytes: usize::MAX };
    store.history(from, &KeyRange::all(), budget).expect("history is kept").commits
}

pub(crate) fn previous(answer: &Answer) -> Option<&KeyValue> {
    match &answer.outcome {
        Outcome::Put(put) => put.previous.as_ref(),
        _ => None,
    }
}
