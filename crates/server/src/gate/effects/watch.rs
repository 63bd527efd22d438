//! What a watch does: it reads all that its range will ever hold.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    etcdserverpb::{WatchCreateRequest, WatchRequest, watch_request::RequestUnion},
};

use super::{Effects, Needs};

impl Effects for WatchRequest {
    const METHOD: Method = Method::Watch;

    fn effects(&self, needs: &mut Needs) {
        match &self.request_union {
            Some(RequestUnion::CreateRequest(create)) => create.effects(needs),
            // Neither tells of any key.
            Some(RequestUnion::CancelRequest(_) | RequestUnion::ProgressRequest(_)) | None => {}
        }
    }
}

impl Effects for WatchCreateRequest {
    const METHOD: Method = Method::Watch;

    fn effects(&self, needs: &mut Needs) {
        // As in etcd, no key means the smallest one.
        if self.key.is_empty() {
            needs.reads(&Bytes::from_static(b"\0"), &self.range_end);
        } else {
            needs.reads(&self.key, &self.range_end);
        }
    }
}
