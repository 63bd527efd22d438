//! Members and peers of a mesh as rows.

use std::time::Duration;

use tombolo_proto::v1::{Member, MeshMembersResponse, MeshStatusResponse, Peer};

use super::{super::mesh, Rows};
use crate::notation::{duration::GoDuration, size, span::Span};

const MEMBERS: &[&str] =
    &["REPLICA", "STATE", "NAME", "PEER ADDRS", "CLIENT ADDRS", "SLOTS", "ISSUER", "SINCE", "NOTE"];

pub(super) fn members(response: &MeshMembersResponse) -> Rows {
    let rows = response.members.iter().map(|member| row(member, &response.members));
    Rows { heading: MEMBERS, rows: rows.collect() }
}

/// One member alone.
pub(super) fn one(member: &Member) -> Rows {
    Rows { heading: MEMBERS, rows: vec![row(member, &[])] }
}

fn row(member: &Member, all: &[Member]) -> Vec<String> {
    vec![
        mesh::replica(member.replica),
        mesh::member_state(member).to_owned(),
        member.name.clone(),
        member.peer_addresses.join(","),
        member.client_urls.join(","),
        mesh::slots(&member.slots),
        mesh::replica(member.issuer),
        mesh::since(member),
        mesh::note(member, all),
    ]
}

/// The peers, with what is taken from whom and the names of the alarms that concern each. What concerns the endpoint itself stands in a row of its own.
pub(super) fn status(response: &MeshStatusResponse) -> Rows {
    let heading = &[
        "NAME",
        "REPLICA",
        "STATE",
        "RTT",
        "LAG",
        "BEHIND",
        "AHEAD",
        "IN FLIGHT",
        "LINK",
        "DIGEST",
        "HOLDS",
        "ALARMS",
        "LAST ERROR",
        "TRANSFER",
    ];
    let alarms = |replica: u64| {
        let concerned = response.alarms.iter().filter(|alarm| alarm.peer == replica);
        concerned.map(mesh::alarm_kind).collect::<Vec<_>>().join(" ")
    };
    let mut own = vec![response.name.clone(), mesh::replica(response.replica), "answering".to_owned()];
    own.resize(heading.len(), String::new());
    own[9] = mesh::hexadecimal(&response.digest);
    own[11] = alarms(0);
    let taken = |replica: u64| {
        let transfer = response.transfer.as_ref().filter(|transfer| transfer.provider == replica);
        transfer.map_or_else(String::new, |transfer| {
            let elements = mesh::done_of(transfer.elements, transfer.elements_total);
            format!("{} {elements}", mesh::transfer_phase(transfer))
        })
    };
    let peers = response.peers.iter().map(|peer| {
        let mut row = measures(peer);
        row.extend([alarms(peer.replica), peer.last_error.clone(), taken(peer.replica)]);
        row
    });
    Rows { heading, rows: std::iter::once(own).chain(peers).collect() }
}

/// Name, replica, state, round trip, lag, records behind and ahead, bytes in flight, which way records go, digests, bytes of the log that it holds back.
pub(in super::super) fn measures(peer: &Peer) -> Vec<String> {
    vec![
        peer.name.clone(),
        mesh::replica(peer.replica),
        mesh::peer_standing(peer),
        known(peer.rtt_us.map(|micros| GoDuration(Duration::from_micros(micros)))),
        known(peer.lag_ms.map(Span)),
        missing(peer.records_behind, peer.bytes_behind, None),
        missing(peer.records_ahead, peer.bytes_ahead, peer.lag_ahead_ms),
        known(peer.bytes_in_flight),
        mesh::link(peer).to_owned(),
        mesh::digests(peer).to_owned(),
        known(peer.held_bytes.map(size::bytes)),
    ]
}

/// So many records, about so many bytes, for so long.
fn missing(records: Option<u64>, bytes: Option<u64>, ms: Option<u64>) -> String {
    let mut text = known(records);
    if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
        text.push_str(" ~");
        text.push_str(&size::bytes(bytes));
    }
    if let Some(ms) = ms.filter(|ms| *ms > 0) {
        text.push(' ');
        text.push_str(&Span(ms).to_string());
    }
    text
}

/// What is not known is not zero.
fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
