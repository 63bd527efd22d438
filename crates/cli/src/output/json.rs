//! `-w json`: one line for each answer, with etcd's own field names.
//!
//! The names are not uniform (`ID`, `id`, `granted-ttl`, `Header`), for they are those of three generations of Go
//! structs; programs read them, so they stay.

use std::io::{self, Write};

use tombolo_proto::{
    etcdserverpb::{
        DeleteRangeResponse, LeaseTimeToLiveResponse, Member, MemberListResponse, PutResponse, RangeResponse,
        ResponseHeader, TxnResponse, WatchResponse, response_op::Response,
    },
    mvccpb::{Event, KeyValue},
};

use super::{Answer, Done, EndpointHealth, EndpointStatus};

mod auth;
mod mesh;
mod object;

pub(crate) use object::base64;
use object::{Object, list, string};

pub(super) fn write(out: &mut impl Write, answer: &Answer<'_>, hex: bool) -> io::Result<()> {
    let text = match answer {
        Answer::Put(response) => put(response),
        Answer::Get(response) => range(response),
        Answer::Del(response) => del(response),
        Answer::Txn(response) => txn(response),
        Answer::Watch(response) => watch(response),
        Answer::WatchLost => watch_lost(),
        Answer::Grant(response) => {
            let lease = lease(&response.header).number("ID", response.id).number("TTL", response.ttl);
            lease.string("Error", &response.error).end()
        }
        Answer::Revoke { response, .. } => with_header(&response.header).end(),
        Answer::KeepAlive(response) => {
            lease(&response.header).number("ID", response.id).number("TTL", response.ttl).end()
        }
        Answer::TimeToLive { response, .. } => time_to_live(response),
        Answer::Leases(response) => {
            let ids = response.leases.iter().map(|lease| Object::new().number("id", lease.id).end());
            lease(&response.header).field("leases", &list(ids)).end()
        }
        Answer::Members(response) if hex => members_in_hex(response),
        Answer::Members(response) => {
            with_header(&response.header).list_unless_empty("members", response.members.iter().map(member)).end()
        }
        Answer::Health(endpoints) => list(endpoints.iter().map(health)),
        Answer::Status(endpoints) => list(endpoints.iter().map(status)),
        Answer::Hashes(endpoints) => auth::hashes(endpoints),
        Answer::MemberChange(change) => auth::member_change(change),
        Answer::Snapshot(facts) => {
            let object = Object::new().number("hash", facts.hash).number("revision", facts.revision);
            object.number("totalKey", facts.keys).number("totalSize", facts.bytes).end()
        }
        Answer::Alarms(response) => auth::alarms(response),
        Answer::Auth(answer) => auth::auth(answer),
        Answer::Done(Done { header, .. }) | Answer::Revoked { header, .. } => with_header(header).end(),
        Answer::Invitation(response) => mesh::invitation(response),
        Answer::MeshMembers(response) => mesh::members(response),
        Answer::MeshEntered(response) => mesh::entered(response),
        Answer::MeshRepaired(response) => mesh::repaired(response),
        Answer::MeshMember(known) => mesh::member(known),
        Answer::MeshStatus(response) => mesh::status(response),
    };
    writeln!(out, "{text}")
}

fn header_fields(object: Object, header: &ResponseHeader) -> Object {
    object
        .number_unless_zero("cluster_id", header.cluster_id)
        .number_unless_zero("member_id", header.member_id)
        .number_unless_zero("revision", header.revision)
        .number_unless_zero("raft_term", header.raft_term)
}

fn header(header: &ResponseHeader) -> String {
    header_fields(Object::new(), header).end()
}

fn with_header(value: &Option<ResponseHeader>) -> Object {
    Object::new().value_if_some("header", value.as_ref().map(header))
}

/// Lease answers carry the header's fields among their own.
fn lease(header: &Option<ResponseHeader>) -> Object {
    header_fields(Object::new(), &header.unwrap_or_default())
}

fn key_value(pair: &KeyValue) -> String {
    Object::new()
        .bytes_unless_empty("key", &pair.key)
        .number_unless_zero("create_revision", pair.create_revision)
        .number_unless_zero("mod_revision", pair.mod_revision)
        .number_unless_zero("version", pair.version)
        .bytes_unless_empty("value", &pair.value)
        .number_unless_zero("lease", pair.lease)
        .end()
}

fn put(response: &PutResponse) -> String {
    with_header(&response.header).value_if_some("prev_kv", response.prev_kv.as_ref().map(key_value)).end()
}

fn range(response: &RangeResponse) -> String {
    with_header(&response.header)
        .list_unless_empty("kvs", response.kvs.iter().map(key_value))
        .truth_unless_false("more", response.more)
        .number_unless_zero("count", response.count)
        .end()
}

fn del(response: &DeleteRangeResponse) -> String {
    with_header(&response.header)
        .number_unless_zero("deleted", response.deleted)
        .list_unless_empty("prev_kvs", response.prev_kvs.iter().map(key_value))
        .end()
}

fn txn(response: &TxnResponse) -> String {
    let responses = response.responses.iter().map(|operation| {
        let (name, answer) = match &operation.response {
            Some(Response::ResponseRange(response)) => ("response_range", range(response)),
            Some(Response::ResponsePut(response)) => ("response_put", put(response)),
            Some(Response::ResponseDeleteRange(response)) => ("response_delete_range", del(response)),
            Some(Response::ResponseTxn(response)) => ("response_txn", txn(response)),
            None => return Object::new().field("Response", "null").end(),
        };
        Object::new().field("Response", &Object::new().field(name, &answer).end()).end()
    });
    with_header(&response.header)
        .truth_unless_false("succeeded", response.succeeded)
        .list_unless_empty("responses", responses)
        .end()
}

fn watch(response: &WatchResponse) -> String {
    Object::new()
        .field("Header", &header(&response.header.unwrap_or_default()))
        .field("Events", &list(response.events.iter().map(event)))
        .number("CompactRevision", response.compact_revision)
        .truth("Canceled", response.canceled)
        .truth("Created", response.created)
        .end()
}

fn watch_lost() -> String {
    let object = Object::new().field("Header", "{}").field("Events", "null").number("CompactRevision", 0);
    object.truth("Canceled", true).truth("Created", false).end()
}

fn event(event: &Event) -> String {
    Object::new()
        .number_unless_zero("type", event.r#type)
        .value_if_some("kv", event.kv.as_ref().map(key_value))
        .value_if_some("prev_kv", event.prev_kv.as_ref().map(key_value))
        .end()
}

fn time_to_live(response: &LeaseTimeToLiveResponse) -> String {
    let keys =
        if response.keys.is_empty() { "null".to_owned() } else { list(response.keys.iter().map(|key| base64(key))) };
    lease(&response.header)
        .number("id", response.id)
        .number("ttl", response.ttl)
        .number("granted-ttl", response.granted_ttl)
        .field("keys", &keys)
        .end()
}

fn strings(values: &[String]) -> impl Iterator<Item = String> {
    values.iter().map(|value| string(value))
}

fn member(member: &Member) -> String {
    Object::new()
        .number_unless_zero("ID", member.id)
        .string_unless_empty("name", &member.name)
        .list_unless_empty("peerURLs", strings(&member.peer_ur_ls))
        .list_unless_empty("clientURLs", strings(&member.client_ur_ls))
        .truth_unless_false("isLearner", member.is_learner)
        .end()
}

/// `--hex` has its own shape here: ids are strings, the revision is gone, and one name ends in a capital S.
fn members_in_hex(response: &MemberListResponse) -> String {
    let head = response.header.unwrap_or_default();
    let head = Object::new()
        .string("cluster_id", &format!("{:x}", head.cluster_id))
        .string("member_id", &format!("{:x}", head.member_id))
        .field("raft_term", &format!("{:x}", head.raft_term))
        .end();
    let members = response.members.iter().map(|member| {
        Object::new()
            .string("ID", &format!("{:x}", member.id))
            .string("name", &member.name)
            .field("peerURLs", &list_or_null(&member.peer_ur_ls))
            .field("clientURLS", &list_or_null(&member.client_ur_ls))
            .end()
    });
    Object::new().field("header", &head).list_unless_empty("members", members).end()
}

fn list_or_null(values: &[String]) -> String {
    if values.is_empty() { "null".to_owned() } else { list(strings(values)) }
}

fn health(health: &EndpointHealth) -> String {
    Object::new()
        .string("endpoint", &health.endpoint.to_string())
        .truth("health", health.error.is_none())
        .string("took", &health.took.to_string())
        .string_unless_empty("error", health.error.as_deref().unwrap_or_default())
        .end()
}

fn status(status: &EndpointStatus) -> String {
    let response = &status.response;
    let fields = with_header(&response.header)
        .string_unless_empty("version", &response.version)
        .number_unless_zero("dbSize", response.db_size)
        .number_unless_zero("leader", response.leader)
        .number_unless_zero("raftIndex", response.raft_index)
        .number_unless_zero("raftTerm", response.raft_term)
        .number_unless_zero("raftAppliedIndex", response.raft_applied_index)
        .list_unless_empty("errors", strings(&response.errors))
        .number_unless_zero("dbSizeInUse", response.db_size_in_use)
        .truth_unless_false("isLearner", response.is_learner);
    Object::new().string("Endpoint", &status.endpoint.to_string()).field("Status", &fields.end()).end()
}

#[cfg(test)]
mod tests;
