//! What a watch does: it reads all that its range will ever hold.

use bytes::Bytes;
use tombolo_proto::{
    Method,
    etcdserverpb::{WatchCreateRequest, WatchRequest, watch_request::RequestUnion},
};

use super::{Effects, Reach};

impl Effects for WatchRequest {
    const METHOD: Method = Method::Watch;

    fn effects(&self, reach: &mut Reach) {
        match &self.request_union {
            Some(RequestUnion::CreateRequest(create)) => create.effects(reach),
            // Neither tells of any key.
            Some(RequestUnion::CancelRequest(_) | RequestUnion::ProgressRequest(_)) | None => {}
        }
    }
}

impl Effects for WatchCreateRequest {
    const METHOD: Method = Method::Watch;

    fn effects(&self, reach: &mut Reach) {
        // As in etcd, no key means the smallest one.
        if self.key.is_empty() {
            reach.reads(&Bytes::from_static(b"\0"), &self.range_end);
        } else {
            reach.reads(&self.key, &self.range_end);
        }
    }
}
