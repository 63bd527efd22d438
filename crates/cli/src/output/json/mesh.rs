//! A mesh as JSON. The names are those of the protocol; ids, which programs must not round, are hexadecimal strings, and what is
//! not known is left out.

use tombolo_proto::v1::{
    Member, MemberState, MeshAlarm, MeshEnterResponse, MeshInviteResponse, MeshMembersResponse, MeshRepairResponse,
    MeshStatusResponse, Peer, SlotRange, StateTransfer,
};

use super::{
    super::mesh,
    object::{Object, list, string},
    strings,
};

pub(super) fn invitation(response: &MeshInviteResponse) -> String {
    Object::new()
        .string("ticket", &response.ticket)
        .number("expires_ms", response.expires_ms)
        .string("issuer", &mesh::replica(response.issuer))
        .value_if_some("slots", response.slots.as_ref().map(slots))
        .end()
}

pub(super) fn members(response: &MeshMembersResponse) -> String {
    Object::new()
        .string("mesh", &mesh::hexadecimal(&response.mesh))
        .string("replica", &mesh::replica(response.replica))
        .field("members", &list(response.members.iter().map(member)))
        .number("log_held_bytes", response.log_held_bytes)
        .number("log_budget_bytes", response.log_budget_bytes)
        .end()
}

pub(super) fn member(member: &Member) -> String {
    let object = Object::new()
        .string("replica", &mesh::replica(member.replica))
        .string("name", &member.name)
        .string("state", mesh::member_state(member))
        .field("peer_addresses", &list(strings(&member.peer_addresses)))
        .field("client_urls", &list(strings(&member.client_urls)))
        .value_if_some("slots", member.slots.as_ref().map(slots))
        .string("issuer", &mesh::replica(member.issuer))
        .value_if_some("predecessor", other(member.predecessor))
        .value_if_some("successor", other(member.successor));
    let object = match member.state_by {
        0 => object,
        by => object.number("state_at_ms", member.state_at_ms).string("state_by", &mesh::replica(by)),
    };
    let object = known(object, "ends_at", member.ends_at);
    let object = match member.open_to.as_slice() {
        [] => object,
        open => object.field("open_to", &list(open.iter().map(|id| string(&mesh::replica(*id))))),
    };
    let object = known(object, "held_commits", member.held_commits);
    let object = known(object, "held_bytes", member.held_bytes);
    let object = object.value_if_some("lease_heir", other(member.lease_heir));
    known(object, "heard_ms", member.heard_ms).end()
}

pub(super) fn entered(response: &MeshEnterResponse) -> String {
    Object::new()
        .string("author", &mesh::replica(response.author))
        .number("last", response.last)
        .number("records", response.records)
        .number("put", response.put)
        .number("removed", response.removed)
        .number("outdone", response.outdone)
        .number("leased", response.leased)
        .number("system", response.system)
        .field("was_entered", &response.was_entered.to_string())
        .end()
}

pub(super) fn repaired(response: &MeshRepairResponse) -> String {
    Object::new()
        .string("from", &mesh::replica(response.from))
        .number("removed", response.removed)
        .number("added", response.added)
        .number("replaced", response.replaced)
        .field("digest_corrected", &response.digest_corrected.to_string())
        .field("dry_run", &response.dry_run.to_string())
        .number("revision", response.revision)
        .end()
}

/// Another replica, if there is one.
fn other(replica: u64) -> Option<String> {
    (replica != 0).then(|| string(&mesh::replica(replica)))
}

fn slots(range: &SlotRange) -> String {
    Object::new().number("first", range.first).number("count", range.count).end()
}

pub(super) fn status(response: &MeshStatusResponse) -> String {
    let frontier = response
        .frontier
        .iter()
        .map(|entry| Object::new().string("replica", &mesh::replica(entry.replica)).number("seq", entry.seq).end());
    Object::new()
        .string("mesh", &mesh::hexadecimal(&response.mesh))
        .string("replica", &mesh::replica(response.replica))
        .string("name", &response.name)
        .string("version", &response.version)
        .number("uptime_ms", response.uptime_ms)
        .number("revision", response.revision)
        .number("commit", response.commit)
        .number("records", response.records)
        .field("frontier", &list(frontier))
        .string("digest", &mesh::hexadecimal(&response.digest))
        .field("peers", &list(response.peers.iter().map(peer)))
        .field("alarms", &list(response.alarms.iter().map(alarm)))
        .value_if_some("transfer", response.transfer.as_ref().map(transfer))
        .end()
}

fn peer(peer: &Peer) -> String {
    let object = Object::new()
        .string("replica", &mesh::replica(peer.replica))
        .string("name", &peer.name)
        .string("state", mesh::peer_state(peer))
        .number("since_ms", peer.since_ms)
        .string("address", &peer.address);
    let object = known(object, "rtt_us", peer.rtt_us);
    let object = known(object, "lag_ms", peer.lag_ms);
    let object = known(object, "records_behind", peer.records_behind);
    let object = known(object, "records_ahead", peer.records_ahead);
    let object = known(object, "bytes_behind", peer.bytes_behind);
    let object = known(object, "bytes_ahead", peer.bytes_ahead);
    let object = known(object, "lag_ahead_ms", peer.lag_ahead_ms);
    let object = known(object, "bytes_in_flight", peer.bytes_in_flight);
    let object = known(object.string_unless_empty("link", mesh::link_word(peer)), "duplicates", peer.duplicates)
        .string("digests", mesh::digests(peer));
    let object = known(object, "compared_ms", peer.compared_ms);
    let object = match peer.membership() {
        MemberState::Parked => object.string("membership", "parked"),
        _ => object,
    };
    known(known(object, "skew_ms", peer.skew_ms), "held_bytes", peer.held_bytes)
        .number("sent_bytes", peer.sent_bytes)
        .number("received_bytes", peer.received_bytes)
        .string_unless_empty("last_error", &peer.last_error)
        .end()
}

fn transfer(transfer: &StateTransfer) -> String {
    let object = Object::new()
        .string("provider", &mesh::replica(transfer.provider))
        .string("phase", mesh::transfer_phase(transfer))
        .number("since_ms", transfer.since_ms)
        .number("elements", transfer.elements);
    let object = known(object, "elements_total", transfer.elements_total).number("bytes", transfer.bytes);
    known(object, "bytes_total", transfer.bytes_total).end()
}

fn alarm(alarm: &MeshAlarm) -> String {
    let object = Object::new().string("kind", mesh::alarm_kind(alarm));
    let object = if alarm.peer == 0 { object } else { object.string("peer", &mesh::replica(alarm.peer)) };
    object.string("text", &alarm.text).number("since_ms", alarm.since_ms).end()
}

fn known(object: Object, name: &str, value: Option<impl Into<i128>>) -> Object {
    match value {
        None => object,
        Some(value) => object.number(name, value),
    }
}
