//! What all formats have to say alike of a mesh: ids, states, digests, names.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tombolo_proto::v1::{
    DigestComparison, Member, MemberState, MeshAlarm, MeshAlarmKind, Peer, PeerLink, PeerState, SlotRange,
    StateTransfer, StateTransferPhase,
};

use crate::notation::span::Span;

/// A replica, as it is shown everywhere.
pub(super) fn replica(id: u64) -> String {
    format!("{id:016x}")
}

/// A mesh's identity or a digest.
pub(super) fn hexadecimal(bytes: &Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a person calls a peer: its name, or else its replica.
pub(crate) fn peer_name(peer: &Peer) -> String {
    if peer.name.is_empty() { replica(peer.replica) } else { peer.name.clone() }
}

/// The slots as a closed range; of one slot, that slot.
pub(super) fn slots(range: &Option<SlotRange>) -> String {
    match range {
        None | Some(SlotRange { count: 0, .. }) => "none".to_owned(),
        Some(SlotRange { first, count: 1 }) => first.to_string(),
        Some(SlotRange { first, count }) => format!("{first}-{}", u64::from(*first) + u64::from(*count) - 1),
    }
}

/// What a person calls a member: its name, or else its replica.
pub(crate) fn member_name(member: &Member) -> String {
    if member.name.is_empty() { replica(member.replica) } else { member.name.clone() }
}

/// What else is to be said of where a member stands: where a removed one's records end, or who is waited for, and who counts its
/// leases. `all` are the members, for their names.
pub(super) fn note(member: &Member, all: &[Member]) -> String {
    let called = |id: u64| all.iter().find(|known| known.replica == id).map_or_else(|| replica(id), member_name);
    let end = match (member.ends_at, member.open_to.as_slice()) {
        (Some(seq), _) => Some(format!("ends at {seq}")),
        (None, []) => None,
        (None, open) => Some(format!("waits for {}", open.iter().map(|id| called(*id)).collect::<Vec<_>>().join(" "))),
    };
    let heir = (member.lease_heir != 0).then(|| format!("leases at {}", called(member.lease_heir)));
    let said: Vec<String> = end.into_iter().chain(heir).collect();
    if said.is_empty() { "-".to_owned() } else { said.join("; ") }
}

/// How long a member has been what it is, as far as the clocks agree; nothing was ever said of most.
pub(super) fn since(member: &Member) -> String {
    if member.state_at_ms == 0 {
        return "-".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Span(now.saturating_sub(member.state_at_ms)).to_string()
}

pub(super) fn member_state(member: &Member) -> &'static str {
    match member.state() {
        MemberState::Active => "active",
        MemberState::Parked => "parked",
        MemberState::Removed => "removed",
        MemberState::Succeeded => "succeeded",
        MemberState::Unspecified => "unknown",
    }
}

/// Of a peer: whether it is connected, and whether it is parked.
pub(super) fn peer_standing(peer: &Peer) -> String {
    let state = peer_state(peer);
    if peer.membership() == MemberState::Parked { format!("{state} (parked)") } else { state.to_owned() }
}

pub(super) fn peer_state(peer: &Peer) -> &'static str {
    match peer.state() {
        PeerState::Connected => "connected",
        PeerState::Dialing => "dialing",
        PeerState::Unreachable => "unreachable",
        PeerState::Unspecified => "unknown",
    }
}

pub(super) fn digests(peer: &Peer) -> &'static str {
    match peer.digests() {
        DigestComparison::Equal => "equal",
        DigestComparison::Different => "different",
        DigestComparison::Unknown | DigestComparison::Unspecified => "unknown",
    }
}

pub(super) fn transfer_phase(transfer: &StateTransfer) -> &'static str {
    match transfer.phase() {
        StateTransferPhase::Opening => "opening",
        StateTransferPhase::Taking => "taking",
        StateTransferPhase::Joining => "joining",
        StateTransferPhase::Unspecified => "unknown",
    }
}

/// A count, of how many if that is known.
pub(super) fn done_of(done: u64, total: Option<u64>) -> String {
    total.map_or_else(|| done.to_string(), |total| format!("{done} of {total}"))
}

/// Which way records go; nothing while that is not known.
pub(super) fn link_word(peer: &Peer) -> &'static str {
    match peer.link() {
        PeerLink::Both => "both",
        PeerLink::Out => "out",
        PeerLink::In => "in",
        PeerLink::News => "news",
        PeerLink::Unspecified => "",
    }
}

pub(super) fn link(peer: &Peer) -> &'static str {
    match link_word(peer) {
        "" => "-",
        word => word,
    }
}

pub(super) fn alarm_kind(alarm: &MeshAlarm) -> &'static str {
    match alarm.kind() {
        MeshAlarmKind::Corrupt => "CORRUPT",
        MeshAlarmKind::Forked => "FORKED",
        MeshAlarmKind::AheadOfUs => "AHEAD_OF_US",
        MeshAlarmKind::Upgrade => "UPGRADE",
        MeshAlarmKind::Skew => "SKEW",
        MeshAlarmKind::NeedsState => "NEEDS_STATE",
        MeshAlarmKind::NoSpace => "NO_SPACE",
        MeshAlarmKind::Poisoned => "POISONED",
        MeshAlarmKind::Quota => "QUOTA",
        MeshAlarmKind::SecondSuccessor => "SECOND_SUCCESSOR",
        MeshAlarmKind::Removed => "REMOVED",
        MeshAlarmKind::Late => "LATE",
        MeshAlarmKind::Quarantined => "QUARANTINED",
        MeshAlarmKind::Unspecified => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_where_a_removed_ones_records_end_and_who_counts_its_leases() {
        let named = |replica, name: &str| Member { replica, name: name.into(), ..Default::default() };
        let all = [named(1, "office"), named(2, "")];
        let gone = named(3, "ship");
        for (member, expected) in [
            (gone.clone(), "-"),
            (Member { ends_at: Some(0), ..gone.clone() }, "ends at 0"),
            (Member { open_to: vec![1, 2], ..gone.clone() }, "waits for office 0000000000000002"),
            (Member { ends_at: Some(41), lease_heir: 1, ..gone }, "ends at 41; leases at office"),
        ] {
            assert_eq!(note(&member, &all), expected);
        }
    }

    #[test]
    fn slots_are_a_closed_range() {
        for (first, count, expected) in
            [(0, 0, "none"), (5, 1, "5"), (0, 32_768, "0-32767"), (u32::MAX, u32::MAX, "4294967295-8589934589")]
        {
            assert_eq!(slots(&Some(SlotRange { first, count })), expected);
        }
        assert_eq!(slots(&None), "none");
    }
}
