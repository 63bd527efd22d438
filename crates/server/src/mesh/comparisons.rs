//! When this replica's data were last compared with each peer's, and what came of it.
//!
//! Sessions compare whenever both sides stand at one frontier. Where that is seldom so, what both have is compared at the
//! [meet](super::transfers::meeting) of their frontiers. What counts is the latest of either; it is remembered when a connection ends.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tombolo_crdt::ReplicaId;
use tombolo_net::{Digests, PeerView};

/// The latest comparison with each peer.
#[derive(Debug, Default)]
pub(crate) struct Comparisons {
    latest: Mutex<BTreeMap<ReplicaId, Compared>>,
}

/// What came of comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    /// When, since the server started.
    pub(crate) at: Duration,
    /// Whether both held the same.
    pub(crate) is_equal: bool,
}

impl Comparisons {
    /// Takes note of a comparison.
    pub(super) fn note(&self, peer: ReplicaId, compared: Compared) {
        let mut latest = self.latest.lock();
        let known = latest.entry(peer).or_insert(compared);
        if known.at <= compared.at {
            *known = compared;
        }
    }

    /// The latest comparison with a peer, of either kind. `view` is what its session says now.
    pub(crate) fn latest(&self, now: Duration, view: &PeerView) -> Option<Compared> {
        let is_equal = match view.status.digests {
            Digests::Unknown => None,
            Digests::Equal => Some(true),
            Digests::Different => Some(false),
        };
        if let (Some(is_equal), Some(ms)) = (is_equal, view.status.compared_ms) {
            let at = now.saturating_sub(Duration::from_millis(ms));
            self.note(view.replica, Compared { at, is_equal });
        }
        self.latest.lock().get(&view.replica).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tombolo_net::{PeerState, PeerStatus};

    use super::*;

    fn view(digests: Digests, compared_ms: Option<u64>) -> PeerView {
        PeerView {
            replica: ReplicaId::new(7).unwrap(),
            state: PeerState::Connected { since: Instant::now() },
            status: PeerStatus { digests, compared_ms, ..PeerStatus::default() },
            address: None,
            rtt: None,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    #[test]
    fn the_latest_comparison_counts_whatever_kind_it_is_of() {
        let (comparisons, now) = (Comparisons::default(), Duration::from_secs(100));
        let unknown = view(Digests::Unknown, None);
        assert_eq!(comparisons.latest(now, &unknown), None);
        let equal = view(Digests::Equal, Some(20_000));
        let at = |seconds, is_equal| Some(Compared { at: Duration::from_secs(seconds), is_equal });
        assert_eq!(comparisons.latest(now, &equal), at(80, true));
        comparisons.note(equal.replica, Compared { at: Duration::from_secs(90), is_equal: false });
        assert_eq!(comparisons.latest(now, &equal), at(90, false), "the session's was before that");
        assert_eq!(comparisons.latest(now, &unknown), at(90, false), "it is remembered over a cut");
        assert_eq!(comparisons.latest(now, &view(Digests::Equal, Some(5_000))), at(95, true));
    }
}
