//! The demo's client: etcd's calls as the story needs them, and nothing more.

use anyhow::{Result, bail};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        Compare, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
        WatchCreateRequest, compare, request_op,
    },
    mvccpb::KeyValue,
};
use tombolo_rig::{connect::Connection, process::Server, watching::stream::WatchStream};

/// One connection to a site.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
}

impl Client {
    /// Connects to a site.
    pub(crate) async fn connect(server: &Server) -> Result<Self> {
        Ok(Self { connection: server.connect().await? })
    }

    /// Writes one key and returns the revision.
    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Result<i64> {
        self.put_with_lease(key, value, 0).await
    }

    /// Writes one key that lives as long as a lease.
    pub(crate) async fn put_with_lease(&mut self, key: &str, value: &str, lease: i64) -> Result<i64> {
        let answer = self.connection.kv.put(put_request(key, value, lease)).await?.into_inner();
        Ok(revision(answer.header))
    }

    /// Reads one key.
    pub(crate) async fn get(&mut self, key: &str) -> Result<Option<KeyValue>> {
        self.get_at(key, 0).await
    }

    /// Reads one key as it was at a revision of this site; 0 means now.
    pub(crate) async fn get_at(&mut self, key: &str, revision: i64) -> Result<Option<KeyValue>> {
        let request = RangeRequest { key: bytes(key), revision, ..Default::default() };
        Ok(self.connection.kv.range(request).await?.into_inner().kvs.into_iter().next())
    }

    /// Reads every key with a prefix.
    pub(crate) async fn prefix(&mut self, prefix: &str) -> Result<Vec<KeyValue>> {
        let (key, range_end) = prefix_range(prefix);
        let request = RangeRequest { key, range_end, ..Default::default() };
        Ok(self.connection.kv.range(request).await?.into_inner().kvs)
    }

    /// Writes `value` if the key was last written at `mod_revision`, and says whether it was.
    pub(crate) async fn swap(&mut self, key: &str, mod_revision: i64, value: &str) -> Result<bool> {
        let guard = Compare {
            key: bytes(key),
            target: compare::CompareTarget::Mod.into(),
            result: compare::CompareResult::Equal.into(),
            target_union: Some(compare::TargetUnion::ModRevision(mod_revision)),
            ..Default::default()
        };
        let put = RequestOp { request: Some(request_op::Request::RequestPut(put_request(key, value, 0))) };
        let request = TxnRequest { compare: vec![guard], success: vec![put], failure: Vec::new() };
        Ok(self.connection.kv.txn(request).await?.into_inner().succeeded)
    }

    /// Starts a watch from a revision and says whether it is told, as after a compaction, to read everything anew.
    pub(crate) async fn must_relist(&mut self, key: &str, start_revision: i64) -> Result<bool> {
        let mut stream = WatchStream::open(&self.connection);
        stream.create(WatchCreateRequest { key: bytes(key), start_revision, ..Default::default() }).await?;
        stream.wait(|responses| responses.iter().any(|answer| answer.canceled || !answer.events.is_empty())).await?;
        Ok(stream.look(|responses| responses.iter().any(|answer| answer.canceled && answer.compact_revision > 0)))
    }

    /// Grants a lease and returns its number.
    pub(crate) async fn grant(&mut self, ttl_s: i64) -> Result<i64> {
        let request = LeaseGrantRequest { ttl: ttl_s, ..Default::default() };
        let granted = self.connection.lease.lease_grant(request).await?.into_inner();
        if granted.ttl != ttl_s {
            bail!("asked for a lease of {ttl_s} s and got one of {} s", granted.ttl);
        }
        Ok(granted.id)
    }
}

/// The text of a value.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The range of all keys with a prefix, as etcd writes it.
fn prefix_range(prefix: &str) -> (Bytes, Bytes) {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (bytes(prefix), end.into())
}

fn revision(header: Option<ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

fn put_request(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), lease, ..Default::default() }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::prefix_range;

    #[test]
    fn a_prefix_ends_where_its_last_byte_would_grow() {
        let (key, end) = prefix_range("/tide/");
        assert_eq!((key.as_ref(), end.as_ref()), (b"/tide/".as_slice(), b"/tide0".as_slice()));
    }
}
