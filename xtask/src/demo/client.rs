//! The demo's client: etcd's calls as the story needs them, and nothing more.

use anyhow::{Context, Result};
use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse, RequestOp,
        ResponseHeader, TxnRequest, compare, kv_client::KvClient, lease_client::LeaseClient, request_op,
    },
    mvccpb::KeyValue,
};
use tonic::transport::{Channel, Endpoint};

/// One connection to a server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
}

impl Client {
    /// Connects to `http://host:port`.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
        let channel = endpoint.connect().await.with_context(|| format!("connect to {url}"))?;
        // All that a burst wrote comes back in one answer.
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        Ok(Self { kv, lease: LeaseClient::new(channel.clone()), channel })
    }

    /// Writes one key and returns the revision.
    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Result<i64> {
        self.put_with_lease(key, value, 0).await
    }

    /// Writes one key that lives as long as a lease.
    pub(crate) async fn put_with_lease(&mut self, key: &str, value: &str, lease: i64) -> Result<i64> {
        let answer = self.kv.put(put_request(key, value, lease)).await?.into_inner();
        Ok(revision(answer.header))
    }

    /// Reads one key.
    pub(crate) async fn get(&mut self, key: &str) -> Result<Option<KeyValue>> {
        let request = RangeRequest { key: bytes(key), ..Default::default() };
        Ok(self.kv.range(request).await?.into_inner().kvs.into_iter().next())
    }

    /// Reads every key with a prefix; the empty one means all keys.
    pub(crate) async fn prefix(&mut self, prefix: &str) -> Result<RangeResponse> {
        let (key, range_end) = prefix_range(prefix);
        Ok(self.kv.range(RangeRequest { key, range_end, ..Default::default() }).await?.into_inner())
    }

    /// Removes one key and returns the revision.
    pub(crate) async fn delete(&mut self, key: &str) -> Result<i64> {
        let request = DeleteRangeRequest { key: bytes(key), ..Default::default() };
        Ok(revision(self.kv.delete_range(request).await?.into_inner().header))
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
        Ok(self.kv.txn(request).await?.into_inner().succeeded)
    }

    /// Grants a lease and returns its number.
    pub(crate) async fn grant(&mut self, ttl_s: i64) -> Result<i64> {
        let request = LeaseGrantRequest { ttl: ttl_s, ..Default::default() };
        Ok(self.lease.lease_grant(request).await?.into_inner().id)
    }
}

/// The range of all keys with a prefix, as etcd writes it. The end of "all keys" is a zero byte.
pub(crate) fn prefix_range(prefix: &str) -> (Bytes, Bytes) {
    if prefix.is_empty() {
        return (Bytes::from_static(&[0]), Bytes::from_static(&[0]));
    }
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (bytes(prefix), end.into())
}

/// The revision in a header.
pub(crate) fn revision(header: Option<ResponseHeader>) -> i64 {
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
        assert_eq!(prefix_range("").1.as_ref(), [0]);
    }
}
