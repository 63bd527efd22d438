//! The two directions against prost's types, and against what etcd's gateway prints.

use prost::Message as _;

use super::*;
use crate::{etcdserverpb as pb, mvccpb};

fn shapes(method: Method) -> Call {
    call(method).expect("one of etcd's")
}

fn request<T: prost::Message + Default>(method: Method, json: &str) -> T {
    let bytes = read(shapes(method).request, json.as_bytes()).unwrap();
    T::decode(bytes.as_slice()).unwrap()
}

fn refusal(method: Method, json: &str) -> String {
    read(shapes(method).request, json.as_bytes()).unwrap_err().to_string()
}

fn answer(method: Method, message: &impl prost::Message) -> String {
    let mut json = String::new();
    write(shapes(method).answer, &message.encode_to_vec(), &mut json).unwrap();
    json
}

#[test]
fn every_method_of_etcd_has_shapes_and_no_other_has() {
    for method in Method::ALL {
        assert_eq!(call(method).is_some(), !method.service().starts_with("tombolo."), "{method:?}");
    }
}

#[test]
fn a_request_may_spell_names_and_numbers_in_either_way() {
    let expected = pb::RangeRequest {
        key: "foo".into(),
        range_end: "fop".into(),
        limit: 3,
        sort_order: pb::range_request::SortOrder::Descend.into(),
        serializable: true,
        ..Default::default()
    };
    for json in [
        r#"{"key":"Zm9v","range_end":"Zm9w","limit":"3","sort_order":"DESCEND","serializable":true}"#,
        r#" {"key":"Zm9v","rangeEnd":"Zm9w","limit":3,"sortOrder":2,"serializable":true,"unknown":{"a":[1,{}]}} and more"#,
        r#"{"key":"YmFk","key":"Zm9v","range_end":"Zm\n9w","limit":3,"sort_order":2,"serializable":true,"revision":null}"#,
    ] {
        assert_eq!(request::<pb::RangeRequest>(Method::KvRange, json), expected, "{json}");
    }
}

#[test]
fn nothing_and_null_are_the_empty_message() {
    for json in ["", "  \n", "null", "{}", r#"{"key":null,"limit":null}"#] {
        assert_eq!(request::<pb::RangeRequest>(Method::KvRange, json), pb::RangeRequest::default(), "{json:?}");
    }
}

#[test]
fn bytes_are_read_in_both_alphabets_and_without_padding() {
    for (json, key) in [
        (r#"{"key":"+/8="}"#, &[0xfb, 0xff][..]),
        (r#"{"key":"-_8="}"#, &[0xfb, 0xff]),
        (r#"{"key":"-_8"}"#, &[0xfb, 0xff]),
        (r#"{"key":""}"#, &[]),
    ] {
        assert_eq!(request::<pb::RangeRequest>(Method::KvRange, json).key, key, "{json}");
    }
}

#[test]
fn a_choice_is_made_by_a_default_too() {
    let json = r#"{"compare":[{"target":"VERSION","key":"YQ==","version":"0"}],
        "success":[{"request_put":{"key":"YQ==","value":"MQ=="}},{"requestTxn":{"failure":[{"request_delete_range":{}}]}}]}"#;
    let txn: pb::TxnRequest = request(Method::KvTxn, json);
    assert_eq!(txn.compare[0].target_union, Some(pb::compare::TargetUnion::Version(0)));
    let Some(pb::request_op::Request::RequestTxn(inner)) = &txn.success[1].request else { panic!("{txn:?}") };
    let deletion = pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest::default());
    assert_eq!(inner.failure[0].request, Some(deletion));
}

#[test]
fn numbers_keep_every_bit() {
    let grant: pb::LeaseGrantRequest = request(Method::LeaseGrant, r#"{"TTL":-1,"ID":"-9223372036854775808"}"#);
    assert_eq!((grant.ttl, grant.id), (-1, i64::MIN));
    let removal: pb::MemberRemoveRequest = request(Method::ClusterMemberRemove, r#"{"ID":18446744073709551615}"#);
    assert_eq!(removal.id, u64::MAX);
    let watch: pb::WatchRequest = request(Method::Watch, r#"{"create_request":{"filters":["NODELETE",0,null,7]}}"#);
    let Some(pb::watch_request::RequestUnion::CreateRequest(create)) = watch.request_union else { panic!() };
    assert_eq!(create.filters, [1, 0, 0, 7]);
}

#[test]
fn a_value_of_another_kind_is_refused_in_the_words_of_etcds_library() {
    for (json, what) in [
        (r#"{"key":1}"#, "json: cannot unmarshal number into Go value of type []uint8"),
        (r#"{"key":{}}"#, "json: cannot unmarshal object into Go value of type []uint8"),
        (r#"{"limit":true}"#, "json: cannot unmarshal bool into Go value of type int64"),
        (
            r#"{"limit":9223372036854775808}"#,
            "json: cannot unmarshal number 9223372036854775808 into Go value of type int64",
        ),
        (r#"{"limit":1.5}"#, "json: cannot unmarshal number 1.5 into Go value of type int64"),
        (r#"{"serializable":"true"}"#, "json: cannot unmarshal string into Go value of type bool"),
        (r#"{"sort_order":"UP"}"#, r#"unknown value "\"UP\"" for enum etcdserverpb.RangeRequest.SortOrder"#),
        (r#"{"key":"Zm9v!"}"#, "illegal base64 data at input byte 4"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]json.RawMessage"),
        ("7", "json: cannot unmarshal number into Go value of type map[string]json.RawMessage"),
    ] {
        assert_eq!(refusal(Method::KvRange, json), what, "{json}");
    }
    let what = "json: cannot unmarshal object into Go value of type []json.RawMessage";
    assert_eq!(refusal(Method::KvTxn, r#"{"success":{}}"#), what);
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for json in ["xx", "{", r#"{"key""#, r#"{"key":}"#, r#"{"key":"Zm9v""#, "{]", "\u{feff}{}"] {
        assert!(
            refusal(Method::KvRange, json).contains("at line 1 column"),
            "{json}: {}",
            refusal(Method::KvRange, json)
        );
    }
    assert!(read(shapes(Method::KvRange).request, b"{\"key\":\"\xff\"}").is_err(), "not UTF-8");
}

#[test]
fn depth_is_bounded_in_both_directions() {
    let nested = |depth: usize| r#"{"success":[{"request_txn":"#.repeat(depth) + "{}" + &"}]}".repeat(depth);
    assert!(read(shapes(Method::KvTxn).request, nested(30).as_bytes()).is_ok());
    assert!(refusal(Method::KvTxn, &nested(50)).contains("recursion limit"));
    let ignored = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(shapes(Method::KvTxn).request, ignored.as_bytes()).is_ok());
    let mut answer = pb::TxnResponse::default();
    for _ in 0..60 {
        let op = pb::response_op::Response::ResponseTxn(answer);
        answer = pb::TxnResponse { responses: vec![pb::ResponseOp { response: Some(op) }], ..Default::default() };
    }
    let written = write(shapes(Method::KvTxn).answer, &answer.encode_to_vec(), &mut String::new());
    assert_eq!(written, Err(WriteError::Nesting));
}

#[test]
fn an_answer_is_what_etcds_gateway_prints() {
    let header = Some(pb::ResponseHeader { cluster_id: u64::MAX, member_id: 1, revision: 3, raft_term: 2 });
    let pair = mvccpb::KeyValue {
        key: "foo".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: b"\xfb\xff".as_slice().into(),
        lease: -1,
    };
    let range = pb::RangeResponse { header, kvs: vec![pair, mvccpb::KeyValue::default()], more: true, count: 2 };
    let expected = concat!(
        r#"{"header":{"cluster_id":"18446744073709551615","member_id":"1","revision":"3","raft_term":"2"},"#,
        r#""kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"3","version":"2","value":"+/8=","lease":"-1"},{}],"#,
        r#""more":true,"count":"2"}"#
    );
    assert_eq!(answer(Method::KvRange, &range), expected);
}

#[test]
fn names_stay_as_the_contract_spells_them_and_enumerations_have_names() {
    let member = pb::Member { id: 7, peer_ur_ls: vec!["http://a".into(), String::new()], ..Default::default() };
    let list = pb::MemberListResponse { header: Some(pb::ResponseHeader::default()), members: vec![member] };
    let expected = r#"{"header":{},"members":[{"ID":"7","peerURLs":["http://a",""]}]}"#;
    assert_eq!(answer(Method::ClusterMemberList, &list), expected);
    let alarm = |alarm| pb::AlarmResponse { header: None, alarms: vec![pb::AlarmMember { member_id: 1, alarm }] };
    assert_eq!(answer(Method::MaintenanceAlarm, &alarm(1)), r#"{"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#);
    assert_eq!(answer(Method::MaintenanceAlarm, &alarm(-9)), r#"{"alarms":[{"memberID":"1","alarm":-9}]}"#);
    let hash = pb::HashResponse { header: None, hash: u32::MAX };
    assert_eq!(answer(Method::MaintenanceHash, &hash), r#"{"hash":4294967295}"#);
}

#[test]
fn strings_are_escaped_as_etcds_library_does() {
    let mut out = String::new();
    text("a\"\\\n\r\t\u{8}<>&\u{2028}\u{7f}é", &mut out);
    assert_eq!(out, "\"a\\\"\\\\\\n\\r\\t\\u0008\\u003c\\u003e\\u0026\\u2028\u{7f}é\"");
}

#[test]
fn fields_are_written_in_the_order_of_the_contract_and_unknown_ones_are_passed_over() {
    let mut bytes = pb::RangeResponse { count: 5, ..Default::default() }.encode_to_vec();
    bytes.extend([0xfa, 0x07, 1, 0]); // field 127
    bytes.extend(pb::RangeResponse { more: true, ..Default::default() }.encode_to_vec());
    let mut out = String::new();
    write(shapes(Method::KvRange).answer, &bytes, &mut out).unwrap();
    assert_eq!(out, r#"{"more":true,"count":"5"}"#);
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    for bytes in [&[0x0a][..], &[0x0a, 5, 1], &[0x20], &[0x22, 0], &[0x08, 1], &[0xff; 12]] {
        assert!(write(shapes(Method::KvRange).answer, bytes, &mut String::new()).is_err(), "{bytes:?}");
    }
}
