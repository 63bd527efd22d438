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

#[test]
fn a_mesh_has_the_names_of_its_protocol_and_hexadecimal_ids() {
    check(
        &Answer::Invitation(&samples::mesh::invitation()),
        r#"{"ticket":"tmb1abc","expires_ms":1700000000000,"issuer":"00000000000000a1","slots":{"first":24576,"count":8192}}"#,
    );
    let founder = r#"{"replica":"00000000000000a1","name":"factory","state":"active","peer_addresses":["10.0.0.1:2380"],"client_urls":["http://10.0.0.1:2379"],"slots":{"first":0,"count":32768},"issuer":"00000000000000a1"}"#;
    let silent = r#"{"replica":"00000000000000b2","name":"","state":"active","peer_addresses":[],"client_urls":[],"issuer":"00000000000000a1","lease_heir":"00000000000000a1"}"#;
    let mesh = "0f".repeat(16);
    let members = format!(
        r#"{{"mesh":"{mesh}","replica":"00000000000000a1","members":[{founder},{silent}],"log_held_bytes":7,"log_budget_bytes":4096}}"#
    );
    check(&Answer::MeshMembers(&samples::mesh::members()), &members);
    let removed = r#"{"replica":"00000000000000c3","name":"ship","state":"removed","peer_addresses":[],"client_urls":[],"issuer":"00000000000000a1","state_at_ms":1700000000000,"state_by":"00000000000000a1","ends_at":41}"#;
    check(&Answer::MeshMember(&samples::mesh::removed()), removed);
    let entered = r#"{"author":"00000000000000c3","last":41,"records":12,"put":5,"removed":2,"outdone":1,"leased":3,"system":4,"was_entered":false}"#;
    check(&Answer::MeshEntered(&samples::mesh::entered()), entered);
    let repaired = r#"{"from":"00000000000000b2","removed":1,"added":2,"replaced":3,"digest_corrected":true,"dry_run":false,"revision":42}"#;
    check(&Answer::MeshRepaired(&samples::mesh::repaired()), repaired);
}

#[test]
fn of_a_peer_only_what_is_known_is_shown() {
    let office = r#"{"replica":"00000000000000b2","name":"office","state":"connected","since_ms":9000,"address":"10.0.0.2:2380","rtt_us":18000,"lag_ms":0,"records_behind":0,"records_ahead":3,"bytes_behind":0,"bytes_ahead":600,"lag_ahead_ms":2000,"bytes_in_flight":0,"link":"both","duplicates":7,"digests":"equal","compared_ms":600,"skew_ms":-2,"held_bytes":0,"sent_bytes":10,"received_bytes":20}"#;
    let ship = r#"{"replica":"00000000000000c3","name":"ship","state":"unreachable","since_ms":7440000,"address":"10.0.0.3:2380","lag_ms":7430000,"records_behind":1204,"bytes_behind":240800,"digests":"unknown","membership":"parked","sent_bytes":0,"received_bytes":0,"last_error":"timed out"}"#;
    let alarm = r#"{"kind":"SKEW","peer":"00000000000000b2","text":"its clock is 70s ahead","since_ms":5000}"#;
    let transfer = r#"{"provider":"00000000000000b2","phase":"taking","since_ms":3000,"elements":1200,"elements_total":90000,"bytes":340000,"bytes_total":25000000}"#;
    let frontier = r#"[{"replica":"00000000000000a1","seq":40},{"replica":"00000000000000b2","seq":3}]"#;
    let (mesh, digest) = ("0f".repeat(16), "7f".repeat(16));
    let status = format!(
        r#"{{"mesh":"{mesh}","replica":"00000000000000a1","name":"factory","version":"0.1.0","uptime_ms":273600000,"revision":42,"commit":44,"records":43,"frontier":{frontier},"digest":"{digest}","peers":[{office},{ship}],"alarms":[{alarm}],"transfer":{transfer}}}"#
    );
    check(&Answer::MeshStatus(&samples::mesh::status()), &status);
}
