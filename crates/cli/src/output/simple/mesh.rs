//! The status of a mesh on one screen: this site, its peers as aligned columns, its alarms.

use std::io::{self, Write};

use tombolo_proto::v1::{Member, MeshEnterResponse, MeshRepairResponse, MeshStatusResponse};

use super::super::{mesh, rows};
use crate::notation::span::Span;

const HEADING: [&str; 10] =
    ["REPLICA", "STATE", "RTT", "LAG", "BEHIND", "AHEAD", "IN FLIGHT", "LINK", "DIGEST", "HOLDS"];

pub(super) fn status(out: &mut impl Write, response: &MeshStatusResponse) -> io::Result<()> {
    let MeshStatusResponse { name, version, uptime_ms, revision, commit, records, .. } = response;
    writeln!(out, "site {name}  replica {}  v{version}  up {}", mesh::replica(response.replica), Span(*uptime_ms))?;
    writeln!(out, "  mesh     {}", mesh::hexadecimal(&response.mesh))?;
    writeln!(out, "  data     {records} records, revision {revision}, commit {commit}")?;
    writeln!(out, "  digest   {}", mesh::hexadecimal(&response.digest))?;
    if let Some(transfer) = &response.transfer {
        let from = response.peers.iter().find(|peer| peer.replica == transfer.provider);
        let from = from.map_or_else(|| mesh::replica(transfer.provider), mesh::peer_name);
        let elements = mesh::done_of(transfer.elements, transfer.elements_total);
        let bytes = mesh::done_of(transfer.bytes, transfer.bytes_total);
        let (phase, since) = (mesh::transfer_phase(transfer), Span(transfer.since_ms));
        writeln!(out, "  transfer {phase} from {from}: {elements} elements, {bytes} bytes, for {since}")?;
    }
    peers(out, response)?;
    for alarm in &response.alarms {
        let whom = response.peers.iter().find(|peer| peer.replica == alarm.peer && alarm.peer != 0);
        let whom = whom.map(|peer| format!(" {}", mesh::peer_name(peer))).unwrap_or_default();
        writeln!(out, "  ALARM    {}{whom}: {}", mesh::alarm_kind(alarm), alarm.text)?;
    }
    Ok(())
}

/// What a member is by now.
pub(super) fn member(out: &mut impl Write, member: &Member) -> io::Result<()> {
    let (name, id) = (mesh::member_name(member), mesh::replica(member.replica));
    write!(out, "{name} ({id}) is {}", mesh::member_state(member))?;
    match member.lease_heir {
        0 => writeln!(out),
        heir => writeln!(out, "; its leases are counted by {}", mesh::replica(heir)),
    }
}

/// What became of a tail.
pub(super) fn entered(out: &mut impl Write, response: &MeshEnterResponse) -> io::Result<()> {
    let MeshEnterResponse { author, last, records, put, removed, outdone, leased, system, was_entered } = response;
    let author = mesh::replica(*author);
    if *was_entered {
        return writeln!(out, "all of it was entered before: {author}, up to {last}");
    }
    writeln!(
        out,
        "entered {records} records of {author}, up to {last}: {put} keys written, {removed} removed, {outdone} outdone"
    )?;
    if *leased > 0 {
        writeln!(out, "{leased} keys were left out because they hung on leases: --leased writes them")?;
    }
    if *system > 0 {
        writeln!(out, "{system} writes of users, roles and members are not entered")?;
    }
    Ok(())
}

/// What a repair has changed, or would change.
pub(super) fn repaired(out: &mut impl Write, response: &MeshRepairResponse) -> io::Result<()> {
    let MeshRepairResponse { from, removed, added, replaced, digest_corrected, dry_run, revision } = response;
    let from = mesh::replica(*from);
    let (differ, done) = if *dry_run { ("would be", "nothing was changed") } else { ("were", "repaired") };
    if removed + added + replaced == 0 && !digest_corrected {
        return writeln!(out, "nothing differs from {from}: nothing was changed");
    }
    let digest = if *digest_corrected { ", the digest corrected" } else { "" };
    writeln!(
        out,
        "{done}: of what differs from {from} {replaced} elements {differ} replaced, {added} added, {removed} removed{digest}; revision {revision}"
    )
}

fn peers(out: &mut impl Write, response: &MeshStatusResponse) -> io::Result<()> {
    if response.peers.is_empty() {
        return writeln!(out, "  peers    none: `tombolo mesh invite` makes a ticket for one");
    }
    let mut table = vec![["PEERS"].iter().chain(&HEADING).map(|word| (*word).to_owned()).collect::<Vec<_>>()];
    table.extend(response.peers.iter().map(rows::measures));
    let columns = HEADING.len() + 1;
    let widths: Vec<usize> =
        (0..columns).map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for (place, row) in table.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "  {}", line.trim_end())?;
        let Some(peer) = place.checked_sub(1).and_then(|place| response.peers.get(place)) else { continue };
        if !peer.last_error.is_empty() && peer.rtt_us.is_none() {
            writeln!(out, "    for {}: {}", Span(peer.since_ms), peer.last_error)?;
        }
    }
    Ok(())
}
