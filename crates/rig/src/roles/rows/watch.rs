//! Rows of `Watch`. A watch reads whatever its range will ever hold.

use bytes::Bytes;
use prost::Message as _;
use tombolo_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, watch_request::RequestUnion,
};

use super::{Needs, Shape};
use crate::roles::world::{AFTER_SECRETS, SECRET, SECRETS};

pub(super) fn shapes() -> Vec<Shape> {
    let create = |key: &'static str, range_end: &'static [u8]| WatchCreateRequest {
        key: key.into(),
        range_end: Bytes::from_static(range_end),
        ..Default::default()
    };
    let encoded = |request| Bytes::from(WatchRequest { request_union: Some(request) }.encode_to_vec());
    let created = |name, request, needs| {
        let messages = vec![encoded(RequestUnion::CreateRequest(request))];
        Shape { name, messages, needs }
    };
    let cancel = encoded(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 }));
    let progress = encoded(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    let all = create(SECRETS, AFTER_SECRETS.as_bytes());
    vec![
        created("of a key", create(SECRET, b""), Needs::Read),
        created("of all", all.clone(), Needs::Read),
        created("of the past", WatchCreateRequest { start_revision: 2, prev_kv: true, ..all.clone() }, Needs::Read),
        created("without any event", WatchCreateRequest { filters: vec![0, 1], ..all }, Needs::Read),
        created("to the end", create(SECRET, b"\0"), Needs::Root),
        created("of everything", create("", b"\0"), Needs::Root),
        // Both tell of no key. Nothing is said to the first, so the second follows it.
        Shape { name: "that is given up", messages: vec![cancel, progress.clone()], needs: Needs::Nothing },
        Shape { name: "for progress", messages: vec![progress], needs: Needs::Nothing },
    ]
}
