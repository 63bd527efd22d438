//! What all formats have to say alike of a mesh: ids, states, digests, names.

use bytes::Bytes;
use tombolo_proto::v1::{
    DigestComparison, Member, MemberState, MeshAlarm, MeshAlarmKind, Peer, PeerState, SlotRange, StateTransfer,
    StateTransferPhase,
};

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

pub(super) fn member_state(member: &Member) -> &'static str {
    match member.state() {
        MemberState::Active => "active",
        MemberState::Parked => "parked",
        MemberState::Removed => "removed",
        MemberState::Succeeded => "succeeded",
        MemberState::Unspecified => "unknown",
    }
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
        MeshAlarmKind::Unspecified => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
