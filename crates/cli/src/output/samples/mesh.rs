//! A mesh of three, one of which is away.

use bytes::Bytes;
use tombolo_proto::v1::{
    DigestComparison, FrontierEntry, Member, MemberState, MeshAlarm, MeshAlarmKind, MeshEnterResponse,
    MeshInviteResponse, MeshMembersResponse, MeshRepairResponse, MeshStatusResponse, Peer, PeerLink, PeerState,
    SlotRange, StateTransfer, StateTransferPhase,
};

pub(in super::super) fn invitation() -> MeshInviteResponse {
    let slots = Some(SlotRange { first: 24_576, count: 8_192 });
    MeshInviteResponse { ticket: "tmb1abc".into(), expires_ms: 1_700_000_000_000, issuer: 0xa1, slots }
}

pub(in super::super) fn members() -> MeshMembersResponse {
    let founder = Member {
        replica: 0xa1,
        name: "factory".into(),
        state: MemberState::Active.into(),
        peer_addresses: vec!["10.0.0.1:2380".into()],
        client_urls: vec!["http://10.0.0.1:2379".into()],
        slots: Some(SlotRange { first: 0, count: 32_768 }),
        issuer: 0xa1,
        ..Default::default()
    };
    let state = MemberState::Active.into();
    let silent = Member { replica: 0xb2, issuer: 0xa1, state, lease_heir: 0xa1, ..Default::default() };
    MeshMembersResponse {
        mesh: Bytes::from_static(&[0x0f; 16]),
        replica: 0xa1,
        members: vec![founder, silent],
        log_held_bytes: 7,
        log_budget_bytes: 4_096,
    }
}

pub(in super::super) fn entered() -> MeshEnterResponse {
    MeshEnterResponse {
        author: 0xc3,
        last: 41,
        records: 12,
        put: 5,
        removed: 2,
        outdone: 1,
        leased: 3,
        system: 4,
        was_entered: false,
    }
}

pub(in super::super) fn repaired() -> MeshRepairResponse {
    MeshRepairResponse {
        from: 0xb2,
        removed: 1,
        added: 2,
        replaced: 3,
        digest_corrected: true,
        dry_run: false,
        revision: 42,
    }
}

pub(in super::super) fn removed() -> Member {
    Member {
        replica: 0xc3,
        name: "ship".into(),
        state: MemberState::Removed.into(),
        issuer: 0xa1,
        state_at_ms: 1_700_000_000_000,
        state_by: 0xa1,
        ends_at: Some(41),
        ..Default::default()
    }
}

fn office() -> Peer {
    Peer {
        replica: 0xb2,
        name: "office".into(),
        state: PeerState::Connected.into(),
        since_ms: 9_000,
        address: "10.0.0.2:2380".into(),
        rtt_us: Some(18_000),
        lag_ms: Some(0),
        records_behind: Some(0),
        records_ahead: Some(3),
        bytes_behind: Some(0),
        bytes_ahead: Some(600),
        lag_ahead_ms: Some(2_000),
        bytes_in_flight: Some(0),
        link: PeerLink::Both.into(),
        duplicates: Some(7),
        digests: DigestComparison::Equal.into(),
        skew_ms: Some(-2),
        sent_bytes: 10,
        received_bytes: 20,
        last_error: String::new(),
        membership: MemberState::Active.into(),
        held_bytes: Some(0),
        compared_ms: Some(600),
    }
}

pub(in super::super) fn status() -> MeshStatusResponse {
    let ship = Peer {
        replica: 0xc3,
        name: "ship".into(),
        state: PeerState::Unreachable.into(),
        since_ms: 7_440_000,
        address: "10.0.0.3:2380".into(),
        lag_ms: Some(7_430_000),
        records_behind: Some(1_204),
        bytes_behind: Some(240_800),
        digests: DigestComparison::Unknown.into(),
        last_error: "timed out".into(),
        membership: MemberState::Parked.into(),
        ..Default::default()
    };
    let alarm = MeshAlarm {
        kind: MeshAlarmKind::Skew.into(),
        peer: 0xb2,
        text: "its clock is 70s ahead".into(),
        since_ms: 5_000,
    };
    let transfer = StateTransfer {
        provider: 0xb2,
        phase: StateTransferPhase::Taking.into(),
        since_ms: 3_000,
        elements: 1_200,
        elements_total: Some(90_000),
        bytes: 340_000,
        bytes_total: Some(25_000_000),
    };
    MeshStatusResponse {
        mesh: Bytes::from_static(&[0x0f; 16]),
        replica: 0xa1,
        name: "factory".into(),
        version: "0.1.0".into(),
        uptime_ms: 273_600_000,
        revision: 42,
        commit: 44,
        records: 43,
        frontier: vec![FrontierEntry { replica: 0xa1, seq: 40 }, FrontierEntry { replica: 0xb2, seq: 3 }],
        digest: Bytes::from_static(&[0x7f; 16]),
        peers: vec![office(), ship],
        alarms: vec![alarm],
        transfer: Some(transfer),
    }
}
