//! Whether a transfer is needed now, and from whom it is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::PeerView;

/// What is remembered of a need for state, from when it is first seen until it is met.
#[derive(Debug, Default)]
pub(super) struct Need {
    since: Option<Duration>,
    /// The last look at which logs had brought something, and what there was.
    moved: (Duration, u64),
    /// Who has failed, how often in a row, and until when it is not asked.
    failed: BTreeMap<ReplicaId, (u32, Duration)>,
    /// Peers for which the alarm is on.
    pub(super) alarmed: BTreeSet<ReplicaId>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing is lacking.
    Nothing,
    /// Somebody's log can bring it, or somebody can be asked again in a moment.
    Wait,
    /// Nobody can be asked for what is lacking of the log of `of`.
    Nobody {
        /// Whose log has forgotten it.
        of: ReplicaId,
    },
    /// Take it from this peer.
    From(ReplicaId),
}

impl Need {
    /// Since when there has been a need.
    pub(super) fn since(&self, now: Duration) -> Duration {
        self.since.unwrap_or(now)
    }

    pub(super) fn served(&mut self) {
        (self.since, self.failed) = (None, BTreeMap::new());
    }

    /// A transfer was interrupted. Who is at fault is left alone for longer than one whose link was cut.
    pub(super) fn failed(&mut self, peer: ReplicaId, now: Duration, is_fault: bool) {
        let (times, until) = self.failed.entry(peer).or_default();
        *times += 1;
        let first = if is_fault { PAUSE_FAULT } else { PAUSE_CUT };
        *until = now + first.saturating_mul(1 << (*times - 1).min(6)).min(PAUSE_MAX);
    }

    fn may_be_asked(&self, peer: ReplicaId, now: Duration) -> bool {
        self.failed.get(&peer).is_none_or(|(_, until)| now >= *until)
    }

    /// How long logs have brought nothing.
    fn stands_still(&mut self, now: Duration, own: &VersionVector) -> Duration {
        let records = own.iter().fold(0, |sum: u64, dot| sum.saturating_add(dot.seq));
        if self.moved.1 != records {
            self.moved = (now, records);
        }
        now.saturating_sub(self.moved.0)
    }
}

/// What to do about `lacking`: floors of peers' logs that `own` does not include. One of the `parked` is asked only when no other can be: it has been away.
pub(super) fn choose(
    need: &mut Need,
    now: Duration,
    own: &VersionVector,
    lacking: &BTreeMap<ReplicaId, VersionVector>,
    peers: &[PeerView],
    parked: &BTreeSet<ReplicaId>,
) -> Choice {
    let still_for = need.stands_still(now, own);
    let Some((&of, _)) = lacking.first_key_value() else {
        need.served();
        return Choice::Nothing;
    };
    if need.since.is_none() {
        (need.since, need.moved.0) = (Some(now), now);
    }
    let there = || peers.iter().filter(|peer| peer.status.is_established);
    let mut logs = there().filter(|peer| !peer.status.own_needs_state);
    let is_coming = logs.any(|peer| lacking.values().all(|floor| peer.status.frontier.includes(floor)));
    if is_coming && still_for < LOG_PATIENCE {
        return Choice::Wait;
    }
    let candidates: Vec<&PeerView> = there().filter(|peer| peer.status.own_needs_state).collect();
    let ready = candidates.iter().filter(|peer| need.may_be_asked(peer.replica, now));
    match ready.max_by_key(|peer| {
        (!parked.contains(&peer.replica), peer.status.own_behind.records, std::cmp::Reverse(peer.rtt))
    }) {
        Some(peer) => Choice::From(peer.replica),
        // One that was cut off is given a moment before anybody is told.
        None if candidates.iter().any(|peer| need.failed.get(&peer.replica).is_some_and(|(times, _)| *times < 4)) => {
            Choice::Wait
        }
        None => Choice::Nobody { of },
    }
}

/// How long a peer is not asked after it was cut off, at first.
const PAUSE_CUT: Duration = Duration::from_millis(250);
/// How long it is not asked when its state cannot be taken.
const PAUSE_FAULT: Duration = Duration::from_secs(5);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the logs of others may bring nothing before they are not waited for.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tombolo_crdt::Dot;
    use tombolo_net::{PeerState, PeerStatus};

    use super::*;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn vector(dots: &[(u64, u64)]) -> VersionVector {
        dots.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect()
    }

    fn peer(replica: u64, frontier: &[(u64, u64)], needs: bool, behind: u64) -> PeerView {
        let mut status = PeerStatus {
            is_established: true,
            frontier: vector(frontier),
            own_needs_state: needs,
            ..PeerStatus::default()
        };
        status.own_behind.records = behind;
        PeerView {
            replica: id(replica),
            state: PeerState::Connected { since: Instant::now() },
            status,
            address: None,
            rtt: None,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    const NOW: Duration = Duration::from_secs(100);

    fn lacking() -> BTreeMap<ReplicaId, VersionVector> {
        [(id(1), vector(&[(1, 50)]))].into()
    }

    #[test]
    fn nothing_is_taken_while_nothing_is_lacking() {
        let mut need = Need::default();
        let peers = [peer(1, &[(1, 90)], false, 90)];
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &BTreeMap::new(), &peers, &none()), Choice::Nothing);
    }

    #[test]
    fn it_is_taken_from_whoever_has_most() {
        let mut need = Need::default();
        let peers = [peer(1, &[(1, 60)], true, 60), peer(2, &[(1, 90)], true, 90), peer(3, &[(1, 10)], false, 10)];
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &peers, &none()), Choice::From(id(2)));
        need.failed(id(2), NOW, false);
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &peers, &none()), Choice::From(id(1)));
        need.failed(id(1), NOW, true);
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &peers, &none()), Choice::Wait);
        let later = NOW + PAUSE_CUT;
        assert_eq!(choose(&mut need, later, &vector(&[]), &lacking(), &peers, &none()), Choice::From(id(2)));
        assert_eq!(need.since(later), NOW, "it is one need");
    }

    fn none() -> BTreeSet<ReplicaId> {
        BTreeSet::new()
    }

    #[test]
    fn a_parked_peer_is_asked_when_no_other_can_be() {
        let mut need = Need::default();
        let peers = [peer(1, &[(1, 60)], true, 60), peer(2, &[(1, 90)], true, 90)];
        let parked = [id(2)].into();
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &peers, &parked), Choice::From(id(1)));
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &peers[1..], &parked), Choice::From(id(2)));
    }

    #[test]
    fn a_log_that_brings_it_is_waited_for_as_long_as_it_brings_something() {
        let mut need = Need::default();
        let peers = [peer(1, &[(1, 90)], true, 90), peer(2, &[(1, 50)], false, 50)];
        let mut look = |seconds, seq| {
            let now = NOW + Duration::from_secs(seconds);
            choose(&mut need, now, &vector(&[(1, seq)]), &lacking(), &peers, &none())
        };
        assert_eq!(look(0, 1), Choice::Wait);
        assert_eq!(look(9, 1), Choice::Wait);
        assert_eq!(look(9, 2), Choice::Wait);
        assert_eq!(look(18, 2), Choice::Wait);
        assert_eq!(look(19, 2), Choice::From(id(1)));
    }

    #[test]
    fn when_nobody_can_be_asked_it_is_said_whose_log_has_forgotten_it() {
        let mut need = Need::default();
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &[], &none()), Choice::Nobody { of: id(1) });
        let mut gone = peer(1, &[(1, 60)], true, 60);
        gone.status.is_established = false;
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &[gone], &none()), Choice::Nobody { of: id(1) });
        let peers = [peer(1, &[(1, 60)], true, 60)];
        (0..4).for_each(|_| need.failed(id(1), NOW, true));
        assert_eq!(choose(&mut need, NOW, &vector(&[]), &lacking(), &peers, &none()), Choice::Nobody { of: id(1) });
    }
}
