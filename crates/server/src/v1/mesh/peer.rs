//! One peer as its operators see it: what its session says while it is connected, and what can be said without it when it is not.

use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::{Member as Known, PeerState as Seen, PeerStatus, PeerView};
use tombolo_proto::v1::{DigestComparison, Peer, PeerLink, PeerState};

use super::millis;
use crate::mesh::{Mesh, comparisons::Compared};

/// What is told of a peer. `own` is where this replica stands.
pub(super) fn told(
    mesh: &Mesh,
    own: &VersionVector,
    replica: ReplicaId,
    known: Option<&Known>,
    view: Option<&PeerView>,
) -> Peer {
    let said = known.and_then(|known| known.announcement.clone()).unwrap_or_default();
    let mut peer = Peer {
        replica: replica.get(),
        name: said.name,
        state: PeerState::Dialing.into(),
        address: said.addresses.into_iter().next().unwrap_or_default(),
        digests: DigestComparison::Unknown.into(),
        ..Default::default()
    };
    let Some(view) = view else { return peer };
    let now = mesh.away.now();
    let compared = mesh.comparisons.latest(now, view);
    peer.compared_ms = compared.map(|compared| millis(now.saturating_sub(compared.at)));
    peer.address = view.address.map_or(peer.address, |address| address.to_string());
    peer.rtt_us = view.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
    (peer.sent_bytes, peer.received_bytes) = (view.sent_bytes, view.received_bytes);
    match &view.state {
        Seen::Connected { since } => {
            peer.set_state(PeerState::Connected);
            peer.since_ms = millis(since.elapsed());
        }
        Seen::Dialing => {}
        Seen::Unreachable { since, last_error } => {
            peer.set_state(PeerState::Unreachable);
            peer.since_ms = millis(since.elapsed());
            peer.last_error = last_error.to_string();
        }
    }
    if view.status.is_established {
        connected(&mut peer, &view.status);
        peer.set_digests(match compared {
            None => DigestComparison::Unknown,
            Some(Compared { is_equal: true, .. }) => DigestComparison::Equal,
            Some(Compared { is_equal: false, .. }) => DigestComparison::Different,
        });
    } else if !view.status.frontier.is_empty() {
        peer.records_behind = Some(missing(own, &view.status.frontier));
        peer.lag_ms = mesh.away.lag_ms(replica, own, &view.status.frontier);
    }
    let bytes = |records: Option<u64>| match (records, mesh.mean_record_bytes()) {
        (Some(0), _) => Some(0),
        (Some(records), Some(mean)) => Some(records.saturating_mul(mean)),
        _ => None,
    };
    (peer.bytes_behind, peer.bytes_ahead) = (bytes(peer.records_behind), bytes(peer.records_ahead));
    peer
}

fn connected(peer: &mut Peer, status: &PeerStatus) {
    peer.lag_ms = Some(status.peer_behind.ms);
    peer.records_behind = Some(status.peer_behind.records);
    peer.records_ahead = Some(status.own_behind.records);
    peer.bytes_in_flight = Some(status.peer_behind.bytes);
    peer.skew_ms = Some(status.skew_ms);
    peer.lag_ahead_ms = Some(status.own_behind.ms);
    peer.duplicates = Some(status.duplicates);
    peer.set_link(match (status.sends_records, status.takes_records) {
        (true, true) => PeerLink::Both,
        (true, false) => PeerLink::Out,
        (false, true) => PeerLink::In,
        (false, false) => PeerLink::News,
    });
}

/// Records that `own` has and `theirs` lacks.
fn missing(own: &VersionVector, theirs: &VersionVector) -> u64 {
    own.iter().fold(0, |sum: u64, dot| sum.saturating_add(dot.seq.saturating_sub(theirs.seq(dot.replica))))
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::Dot;

    use super::*;

    #[test]
    fn what_is_missing_is_counted_for_each_author() {
        let [a, b] = [1, 2].map(|id| ReplicaId::new(id).unwrap());
        let own: VersionVector = [Dot::new(a, 5), Dot::new(b, 3)].into_iter().collect();
        let theirs: VersionVector = [Dot::new(a, 2), Dot::new(b, 9)].into_iter().collect();
        assert_eq!(missing(&own, &theirs), 3);
        assert_eq!(missing(&own, &own), 0);
        assert_eq!(missing(&own, &VersionVector::default()), 8);
    }
}
