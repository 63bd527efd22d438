//! What `Lease`'s messages do: a lease holds keys, and to decide on it is to decide on them.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    etcdserverpb::{LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest},
};

use super::{Effects, Reach};

impl Effects for LeaseRevokeRequest {
    const METHOD: Method = Method::LeaseRevoke;

    fn effects(&self, reach: &mut Reach) {
        reach.writes_keys_of(self.id);
    }
}

impl Effects for LeaseKeepAliveRequest {
    const METHOD: Method = Method::LeaseKeepAlive;

    fn effects(&self, reach: &mut Reach) {
        reach.writes_keys_of(self.id);
    }
}

impl Effects for LeaseTimeToLiveRequest {
    const METHOD: Method = Method::LeaseTimeToLive;

    fn effects(&self, reach: &mut Reach) {
        if self.keys {
            reach.reads_keys_of(self.id);
        }
    }
}

/// The keys that an answer to [`LeaseTimeToLiveRequest`] would tell. The lease may have got others since the request was judged.
pub(crate) struct KeysTold<'a>(pub(crate) &'a [Bytes]);

impl Effects for KeysTold<'_> {
    const METHOD: Method = Method::LeaseTimeToLive;

    fn effects(&self, reach: &mut Reach) {
        self.0.iter().for_each(|key| reach.reads(key, &Bytes::new()));
    }
}

/// The keys with which a lease is about to be ended.
pub(crate) struct KeysDecided<'a>(pub(crate) &'a [Bytes]);

impl Effects for KeysDecided<'_> {
    const METHOD: Method = Method::LeaseRevoke;

    fn effects(&self, reach: &mut Reach) {
        self.0.iter().for_each(|key| reach.writes(key, &Bytes::new()));
    }
}

impl Effects for LeaseLeasesRequest {
    const METHOD: Method = Method::LeaseLeases;

    fn effects(&self, reach: &mut Reach) {
        reach.reads_keys_of_all_leases();
    }
}
