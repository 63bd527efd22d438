//! What `Lock`'s and `Election`'s messages do: each stands for the requests on keys that a client without these services would send.
//!
//! Who waits or leads under a name has the key `name/lease`, and finds out who else does by reading `name/`.

use bytes::{BufMut, Bytes, BytesMut};
use tombolo_proto::{
    Method,
    v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest},
    v3lockpb::{LockRequest, UnlockRequest},
};
use tombolo_site::Turn;

use super::{Effects, Reach};

impl Effects for LockRequest {
    const METHOD: Method = Method::Lock;

    fn effects(&self, reach: &mut Reach) {
        stands_under(reach, &self.name, self.lease);
    }
}

impl Effects for UnlockRequest {
    const METHOD: Method = Method::LockUnlock;

    fn effects(&self, reach: &mut Reach) {
        reach.writes(&self.key, &Bytes::new());
    }
}

impl Effects for CampaignRequest {
    const METHOD: Method = Method::ElectionCampaign;

    fn effects(&self, reach: &mut Reach) {
        stands_under(reach, &self.name, self.lease);
    }
}

/// The request of `Observe`, too.
impl Effects for LeaderRequest {
    const METHOD: Method = Method::ElectionLeader;

    fn effects(&self, reach: &mut Reach) {
        reads_name(reach, &self.name);
    }
}

impl Effects for ProclaimRequest {
    const METHOD: Method = Method::ElectionProclaim;

    fn effects(&self, reach: &mut Reach) {
        // Without a leader's key there is nothing that could be done.
        let Some(LeaderKey { key, lease, .. }) = &self.leader else { return };
        reach.reads(key, &Bytes::new());
        reach.writes(key, &Bytes::new());
        reach.writes_keys_of(*lease);
    }
}

impl Effects for ResignRequest {
    const METHOD: Method = Method::ElectionResign;

    fn effects(&self, reach: &mut Reach) {
        let Some(LeaderKey { key, lease, .. }) = &self.leader else { return };
        reach.reads(key, &Bytes::new());
        reach.writes(key, &Bytes::new());
        // The lease is kept alive before anything else is done under it.
        reach.writes_keys_of(*lease);
    }
}

/// A key of its own under the name is written, and all of the name's are read.
fn stands_under(reach: &mut Reach, name: &Bytes, lease: i64) {
    reads_name(reach, name);
    if lease == 0 {
        // The server will find a lease, and nobody knows yet which key that makes.
        reach.writes(&under(name, b"/"), &under(name, b"0"));
    } else {
        reach.writes(&Turn::key_of(name, lease), &Bytes::new());
        reach.writes_keys_of(lease);
    }
}

fn reads_name(reach: &mut Reach, name: &Bytes) {
    // "0" is what follows "/".
    reach.reads(&under(name, b"/"), &under(name, b"0"));
}

fn under(name: &Bytes, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(name.len() + rest.len());
    key.put_slice(name);
    key.put_slice(rest);
    key.freeze()
}
