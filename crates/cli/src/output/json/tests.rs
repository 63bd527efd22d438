//! Golden lines of the JSON format.

use super::super::{Answer, Format, samples};

const HEADER: &str = r#"{"cluster_id":7,"member_id":8,"revision":9,"raft_term":2}"#;
const FLAT: &str = r#""cluster_id":7,"member_id":8,"revision":9,"raft_term":2"#;
const PAIR: &str = r#"{"key":"YQ==","create_revision":3,"mod_revision":5,"version":2,"value":"MQ=="}"#;

#[track_caller]
fn check(answer: &Answer<'_>, expected: &str) {
    assert_eq!(samples::shown(Format::Json, false, answer), format!("{expected}\n"));
}

#[test]
fn pairs_are_base64_and_leave_zeros_out() {
    let odd = r#"{"key":"Ygr/Ig==","create_revision":3,"mod_revision":5,"version":2,"value":"PCY+","lease":7751717505213453845}"#;
    let get = format!(r#"{{"header":{HEADER},"kvs":[{PAIR},{odd}],"more":true,"count":3}}"#);
    check(&Answer::Get(&samples::range()), &get);
    check(&Answer::Put(&samples::put()), &format!(r#"{{"header":{HEADER},"prev_kv":{PAIR}}}"#));
    check(&Answer::Del(&samples::del()), &format!(r#"{{"header":{HEADER},"deleted":1,"prev_kvs":[{PAIR}]}}"#));
}

#[test]
fn a_transaction_nests_its_answers() {
    let inner = r#"{"revision":9}"#;
    let responses = format!(
        r#"{{"Response":{{"response_put":{{"header":{inner}}}}}}},{{"Response":{{"response_range":{{"header":{inner},"kvs":[{PAIR}],"count":1}}}}}},{{"Response":{{"response_delete_range":{{"header":{inner}}}}}}}"#
    );
    check(
        &Answer::Txn(&samples::txn()),
        &format!(r#"{{"header":{HEADER},"succeeded":true,"responses":[{responses}]}}"#),
    );
}

#[test]
fn watch_answers_show_their_zeros() {
    let put = format!(r#"{{"kv":{},"prev_kv":{PAIR}}}"#, PAIR.replace("MQ==", "Mg=="));
    let delete = r#"{"type":1,"kv":{"key":"YQ==","mod_revision":6}}"#;
    let tail = r#""CompactRevision":0,"Canceled":false,"Created":false"#;
    check(&Answer::Watch(&samples::watch()), &format!(r#"{{"Header":{HEADER},"Events":[{put},{delete}],{tail}}}"#));
    let lost = r#"{"Header":{},"Events":null,"CompactRevision":0,"Canceled":true,"Created":false}"#;
    check(&Answer::WatchLost, lost);
}

#[test]
fn lease_answers_are_flat() {
    let id = samples::LEASE;
    check(&Answer::Grant(&samples::grant()), &format!(r#"{{{FLAT},"ID":{id},"TTL":100,"Error":""}}"#));
    check(&Answer::KeepAlive(&samples::keep_alive()), &format!(r#"{{{FLAT},"ID":{id},"TTL":100}}"#));
    check(&Answer::Revoke { id, response: &samples::revoke() }, &format!(r#"{{"header":{HEADER}}}"#));
    let live = format!(r#"{{{FLAT},"id":{id},"ttl":99,"granted-ttl":100,"keys":["YQ==","YiBj"]}}"#);
    check(&Answer::TimeToLive { response: &samples::time_to_live(), keys: true }, &live);
    let expired = format!(r#"{{{FLAT},"id":{id},"ttl":-1,"granted-ttl":0,"keys":null}}"#);
    check(&Answer::TimeToLive { response: &samples::expired(), keys: true }, &expired);
    check(&Answer::Leases(&samples::leases()), &format!(r#"{{{FLAT},"leases":[{{"id":1}},{{"id":{id}}}]}}"#));
}

#[test]
fn members_have_two_shapes() {
    let first = r#"{"ID":3153101805118352275,"name":"n\u003c1\u003e","peerURLs":["http://a:2380"],"clientURLs":["http://a:2379","http://b:2379"]}"#;
    let second = r#"{"ID":15,"peerURLs":["http://c:2380"],"isLearner":true}"#;
    let members = samples::members();
    check(&Answer::Members(&members), &format!(r#"{{"header":{HEADER},"members":[{first},{second}]}}"#));
    let head = r#"{"cluster_id":"7","member_id":"8","raft_term":2}"#;
    let first = r#"{"ID":"2bc21162cab8eb93","name":"n\u003c1\u003e","peerURLs":["http://a:2380"],"clientURLS":["http://a:2379","http://b:2379"]}"#;
    let second = r#"{"ID":"f","name":"","peerURLs":["http://c:2380"],"clientURLS":null}"#;
    let hex = samples::shown(Format::Json, true, &Answer::Members(&members));
    assert_eq!(hex, format!("{{\"header\":{head},\"members\":[{first},{second}]}}\n"));
}

#[test]
fn endpoints_are_an_array() {
    let healthy = r#"{"endpoint":"a:2379","health":true,"took":"2.084579ms"}"#;
    let unhealthy = r#"{"endpoint":"b:1","health":false,"took":"5s","error":"context deadline exceeded"}"#;
    check(&Answer::Health(&samples::health()), &format!("[{healthy},{unhealthy}]"));
    check(&Answer::Health(&[]), "[]");
    let status = r#""version":"3.5.1","dbSize":20480,"leader":2748,"raftIndex":17,"raftTerm":2,"raftAppliedIndex":16,"errors":["memberID:1 alarm:NOSPACE ","x"],"dbSizeInUse":16384"#;
    let header = HEADER.replace('8', "2748");
    check(
        &Answer::Status(&samples::status()),
        &format!(r#"[{{"Endpoint":"a:2379","Status":{{"header":{header},{status}}}}}]"#),
    );
}
