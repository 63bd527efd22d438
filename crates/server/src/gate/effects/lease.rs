//! What `Lease`'s messages do: a lease holds keys, and to decide on it is to decide on them.

use tombolo_proto::{
    Method,
    etcdserverpb::{LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest},
};

use super::{Effects, Needs};

impl Effects for LeaseRevokeRequest {
    const METHOD: Method = Method::LeaseRevoke;

    fn effects(&self, needs: &mut Needs) {
        needs.writes_keys_of(self.id);
    }
}

impl Effects for LeaseKeepAliveRequest {
    const METHOD: Method = Method::LeaseKeepAlive;

    fn effects(&self, needs: &mut Needs) {
        needs.writes_keys_of(self.id);
    }
}

impl Effects for LeaseTimeToLiveRequest {
    const METHOD: Method = Method::LeaseTimeToLive;

    fn effects(&self, needs: &mut Needs) {
        if self.keys {
            needs.reads_keys_of(self.id);
        }
    }
}

impl Effects for LeaseLeasesRequest {
    const METHOD: Method = Method::LeaseLeases;

    fn effects(&self, needs: &mut Needs) {
        needs.reads_keys_of_all_leases();
    }
}
