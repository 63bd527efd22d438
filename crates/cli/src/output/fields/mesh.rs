//! A mesh as fields. What is not known has no line.

use std::io::{self, Write};

use tombolo_proto::v1::{
    Member, MemberState, MeshEnterResponse, MeshInviteResponse, MeshMembersResponse, MeshRepairResponse,
    MeshStatusResponse, Peer, StateTransfer,
};

use super::super::mesh;

pub(super) fn invitation(out: &mut impl Write, response: &MeshInviteResponse) -> io::Result<()> {
    text(out, "Ticket", &response.ticket)?;
    writeln!(out, "\"ExpiresMs\" : {}", response.expires_ms)?;
    text(out, "Issuer", &mesh::replica(response.issuer))?;
    text(out, "Slots", &mesh::slots(&response.slots))
}

pub(super) fn members(out: &mut impl Write, response: &MeshMembersResponse) -> io::Result<()> {
    text(out, "Mesh", &mesh::hexadecimal(&response.mesh))?;
    text(out, "Replica", &mesh::replica(response.replica))?;
    writeln!(out, "\"LogHeldBytes\" : {}", response.log_held_bytes)?;
    writeln!(out, "\"LogBudgetBytes\" : {}", response.log_budget_bytes)?;
    response.members.iter().try_for_each(|known| {
        member(out, known)?;
        writeln!(out)
    })
}

pub(super) fn member(out: &mut impl Write, member: &Member) -> io::Result<()> {
    text(out, "Replica", &mesh::replica(member.replica))?;
    text(out, "Name", &member.name)?;
    text(out, "State", mesh::member_state(member))?;
    member.peer_addresses.iter().try_for_each(|address| text(out, "PeerAddress", address))?;
    member.client_urls.iter().try_for_each(|url| text(out, "ClientURL", url))?;
    text(out, "Slots", &mesh::slots(&member.slots))?;
    text(out, "Issuer", &mesh::replica(member.issuer))?;
    for (name, other) in [("Predecessor", member.predecessor), ("Successor", member.successor)] {
        if other != 0 {
            text(out, name, &mesh::replica(other))?;
        }
    }
    if member.state_by != 0 {
        writeln!(out, "\"StateAtMs\" : {}", member.state_at_ms)?;
        text(out, "StateBy", &mesh::replica(member.state_by))?;
    }
    number(out, "EndsAt", member.ends_at)?;
    member.open_to.iter().try_for_each(|id| text(out, "OpenTo", &mesh::replica(*id)))?;
    number(out, "HeldCommits", member.held_commits)?;
    number(out, "HeldBytes", member.held_bytes)?;
    if member.lease_heir != 0 {
        text(out, "LeaseHeir", &mesh::replica(member.lease_heir))?;
    }
    number(out, "HeardMs", member.heard_ms)
}

pub(super) fn entered(out: &mut impl Write, response: &MeshEnterResponse) -> io::Result<()> {
    text(out, "Author", &mesh::replica(response.author))?;
    writeln!(out, "\"Last\" : {}", response.last)?;
    writeln!(out, "\"Records\" : {}", response.records)?;
    writeln!(out, "\"Put\" : {}", response.put)?;
    writeln!(out, "\"Removed\" : {}", response.removed)?;
    writeln!(out, "\"Outdone\" : {}", response.outdone)?;
    writeln!(out, "\"Leased\" : {}", response.leased)?;
    writeln!(out, "\"System\" : {}", response.system)?;
    writeln!(out, "\"WasEntered\" : {}", response.was_entered)
}

pub(super) fn repaired(out: &mut impl Write, response: &MeshRepairResponse) -> io::Result<()> {
    text(out, "From", &mesh::replica(response.from))?;
    writeln!(out, "\"Removed\" : {}", response.removed)?;
    writeln!(out, "\"Added\" : {}", response.added)?;
    writeln!(out, "\"Replaced\" : {}", response.replaced)?;
    writeln!(out, "\"DigestCorrected\" : {}", response.digest_corrected)?;
    writeln!(out, "\"DryRun\" : {}", response.dry_run)?;
    writeln!(out, "\"Revision\" : {}", response.revision)
}

pub(super) fn status(out: &mut impl Write, response: &MeshStatusResponse) -> io::Result<()> {
    text(out, "Mesh", &mesh::hexadecimal(&response.mesh))?;
    text(out, "Replica", &mesh::replica(response.replica))?;
    text(out, "Name", &response.name)?;
    text(out, "Version", &response.version)?;
    writeln!(out, "\"UptimeMs\" : {}", response.uptime_ms)?;
    writeln!(out, "\"Revision\" : {}", response.revision)?;
    writeln!(out, "\"Commit\" : {}", response.commit)?;
    writeln!(out, "\"Records\" : {}", response.records)?;
    text(out, "Digest", &mesh::hexadecimal(&response.digest))?;
    for entry in &response.frontier {
        text(out, "Frontier", &format!("{}:{}", mesh::replica(entry.replica), entry.seq))?;
    }
    writeln!(out)?;
    response.transfer.iter().try_for_each(|item| transfer(out, item))?;
    response.peers.iter().try_for_each(|item| peer(out, item))?;
    for alarm in &response.alarms {
        text(out, "Alarm", mesh::alarm_kind(alarm))?;
        if alarm.peer != 0 {
            text(out, "Peer", &mesh::replica(alarm.peer))?;
        }
        text(out, "Text", &alarm.text)?;
        writeln!(out, "\"SinceMs\" : {}\n", alarm.since_ms)?;
    }
    Ok(())
}

fn transfer(out: &mut impl Write, transfer: &StateTransfer) -> io::Result<()> {
    text(out, "Transfer", mesh::transfer_phase(transfer))?;
    text(out, "Provider", &mesh::replica(transfer.provider))?;
    writeln!(out, "\"SinceMs\" : {}", transfer.since_ms)?;
    writeln!(out, "\"Elements\" : {}", transfer.elements)?;
    number(out, "ElementsTotal", transfer.elements_total)?;
    writeln!(out, "\"Bytes\" : {}", transfer.bytes)?;
    number(out, "BytesTotal", transfer.bytes_total)?;
    writeln!(out)
}

fn peer(out: &mut impl Write, peer: &Peer) -> io::Result<()> {
    text(out, "Peer", &mesh::replica(peer.replica))?;
    text(out, "Name", &peer.name)?;
    text(out, "State", mesh::peer_state(peer))?;
    if peer.membership() == MemberState::Parked {
        text(out, "Membership", "parked")?;
    }
    writeln!(out, "\"SinceMs\" : {}", peer.since_ms)?;
    text(out, "Address", &peer.address)?;
    number(out, "RttUs", peer.rtt_us)?;
    number(out, "LagMs", peer.lag_ms)?;
    number(out, "RecordsBehind", peer.records_behind)?;
    number(out, "RecordsAhead", peer.records_ahead)?;
    number(out, "BytesBehind", peer.bytes_behind)?;
    number(out, "BytesAhead", peer.bytes_ahead)?;
    number(out, "LagAheadMs", peer.lag_ahead_ms)?;
    number(out, "BytesInFlight", peer.bytes_in_flight)?;
    if !mesh::link_word(peer).is_empty() {
        text(out, "Link", mesh::link_word(peer))?;
    }
    number(out, "Duplicates", peer.duplicates)?;
    text(out, "Digests", mesh::digests(peer))?;
    number(out, "ComparedMs", peer.compared_ms)?;
    number(out, "SkewMs", peer.skew_ms)?;
    number(out, "HeldBytes", peer.held_bytes)?;
    writeln!(out, "\"SentBytes\" : {}", peer.sent_bytes)?;
    writeln!(out, "\"ReceivedBytes\" : {}", peer.received_bytes)?;
    text(out, "LastError", &peer.last_error)?;
    writeln!(out)
}

fn text(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "\"{name}\" : {}", super::Quoted(value.as_bytes()))
}

fn number(out: &mut impl Write, name: &str, value: Option<impl std::fmt::Display>) -> io::Result<()> {
    value.map_or(Ok(()), |value| writeln!(out, "\"{name}\" : {value}"))
}
