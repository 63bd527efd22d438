//! Answers that the golden tests of all formats show.

use bytes::Bytes;
use tombolo_proto::{
    etcdserverpb::{
        DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
        LeaseStatus, LeaseTimeToLiveResponse, Member, MemberListResponse, PutResponse, RangeResponse, ResponseHeader,
        ResponseOp, StatusResponse, TxnResponse, WatchResponse, response_op::Response,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};

use super::{Answer, EndpointHealth, EndpointStatus, Format, Printer};
use crate::notation::duration::GoDuration;

pub(super) mod auth;
pub(super) mod mesh;

pub(super) const LEASE: i64 = 0x6b93_a200_296c_d615;

/// What a printer writes for an answer, as text.
pub(super) fn shown(format: Format, hex: bool, answer: &Answer<'_>) -> String {
    let mut out = Vec::new();
    Printer::new(format, hex).write(&mut out, answer).expect("a Vec takes everything");
    String::from_utf8_lossy(&out).into_owned()
}

pub(super) fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: 7, member_id: 8, revision: 9, raft_term: 2 })
}

pub(super) fn key_value(key: &'static [u8], value: &'static [u8]) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(key),
        value: Bytes::from_static(value),
        create_revision: 3,
        mod_revision: 5,
        version: 2,
        lease: 0,
    }
}

pub(super) fn put() -> PutResponse {
    PutResponse { header: header(), prev_kv: Some(key_value(b"a", b"1")) }
}

/// Two pairs, one of them with bytes that are neither text nor printable.
pub(super) fn range() -> RangeResponse {
    let odd = KeyValue { lease: LEASE, ..key_value(b"b\n\xff\"", b"<&>") };
    RangeResponse { header: header(), kvs: vec![key_value(b"a", b"1"), odd], more: true, count: 3 }
}

pub(super) fn del() -> DeleteRangeResponse {
    DeleteRangeResponse { header: header(), deleted: 1, prev_kvs: vec![key_value(b"a", b"1")] }
}

pub(super) fn txn() -> TxnResponse {
    let inner = Some(ResponseHeader { revision: 9, ..Default::default() });
    let responses = [
        Response::ResponsePut(PutResponse { header: inner, prev_kv: None }),
        Response::ResponseRange(RangeResponse {
            header: inner,
            kvs: vec![key_value(b"a", b"1")],
            more: false,
            count: 1,
        }),
        Response::ResponseDeleteRange(DeleteRangeResponse { header: inner, ..Default::default() }),
    ];
    let responses = responses.map(|response| ResponseOp { response: Some(response) }).to_vec();
    TxnResponse { header: header(), succeeded: true, responses }
}

/// A put over an older value, and a delete.
pub(super) fn watch() -> WatchResponse {
    let put = Event { kv: Some(key_value(b"a", b"2")), prev_kv: Some(key_value(b"a", b"1")), r#type: 0 };
    let tombstone = KeyValue { key: "a".into(), mod_revision: 6, ..Default::default() };
    let delete = Event { kv: Some(tombstone), prev_kv: None, r#type: EventType::Delete.into() };
    WatchResponse { header: header(), events: vec![put, delete], ..Default::default() }
}

pub(super) fn grant() -> LeaseGrantResponse {
    LeaseGrantResponse { header: header(), id: LEASE, ttl: 100, error: String::new() }
}

pub(super) fn revoke() -> LeaseRevokeResponse {
    LeaseRevokeResponse { header: header() }
}

pub(super) fn keep_alive() -> LeaseKeepAliveResponse {
    LeaseKeepAliveResponse { header: header(), id: LEASE, ttl: 100 }
}

pub(super) fn time_to_live() -> LeaseTimeToLiveResponse {
    let keys = vec!["a".into(), "b c".into()];
    LeaseTimeToLiveResponse { header: header(), id: LEASE, ttl: 99, granted_ttl: 100, keys }
}

pub(super) fn expired() -> LeaseTimeToLiveResponse {
    LeaseTimeToLiveResponse { header: header(), id: LEASE, ttl: -1, granted_ttl: 0, keys: Vec::new() }
}

pub(super) fn leases() -> LeaseLeasesResponse {
    LeaseLeasesResponse { header: header(), leases: vec![LeaseStatus { id: 1 }, LeaseStatus { id: LEASE }] }
}

/// A started member with two client URLs, and one that was added and never started.
pub(super) fn members() -> MemberListResponse {
    let started = Member {
        id: 0x2bc2_1162_cab8_eb93,
        name: "n<1>".into(),
        peer_ur_ls: vec!["http://a:2380".into()],
        client_ur_ls: vec!["http://a:2379".into(), "http://b:2379".into()],
        is_learner: false,
    };
    let unstarted = Member { id: 15, peer_ur_ls: vec!["http://c:2380".into()], is_learner: true, ..Default::default() };
    MemberListResponse { header: header(), members: vec![started, unstarted] }
}

pub(super) fn health() -> [EndpointHealth; 2] {
    let endpoint = |text: &str| text.parse().expect("an endpoint");
    let took = |text: &str| text.parse::<GoDuration>().expect("a duration");
    [
        EndpointHealth { endpoint: endpoint("a:2379"), took: took("2.084579ms"), error: None },
        EndpointHealth { endpoint: endpoint("b:1"), took: took("5s"), error: Some("context deadline exceeded".into()) },
    ]
}

pub(super) fn status() -> [EndpointStatus; 1] {
    let response = StatusResponse {
        header: header().map(|header| ResponseHeader { member_id: 0xabc, ..header }),
        version: "3.5.1".into(),
        db_size: 20_480,
        leader: 0xabc,
        raft_index: 17,
        raft_term: 2,
        raft_applied_index: 16,
        errors: vec!["memberID:1 alarm:NOSPACE ".into(), "x".into()],
        db_size_in_use: 16_384,
        ..Default::default()
    };
    [EndpointStatus { endpoint: "a:2379".parse().expect("an endpoint"), response }]
}
