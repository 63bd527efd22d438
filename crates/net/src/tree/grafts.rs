//! What the tree does not bring is fetched beside it.

use std::collections::BTreeMap;

use tombolo_crdt::{Dot, ReplicaId};

use super::{Neighbour, Tree, place::mixed};
use crate::Moment;

/// The peers of which records are wanted because they have had what we lack for too long.
#[derive(Debug, Default)]
pub(crate) struct Grafts {
    /// Since when, and how many records had come twice by then.
    peers: BTreeMap<ReplicaId, (Moment, u64)>,
    last: Option<Moment>,
}

impl Grafts {
    pub(crate) fn contains(&self, peer: ReplicaId) -> bool {
        self.peers.contains_key(&peer)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.peers.keys().copied()
    }

    /// Takes one more, in the place of the oldest if there are too many.
    fn add(&mut self, now: Moment, peer: ReplicaId, duplicates: u64, max: usize) {
        if self.peers.len() >= max.max(1)
            && let Some(oldest) = self.peers.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| *peer)
        {
            self.peers.remove(&oldest);
        }
        self.peers.insert(peer, (now, duplicates));
        self.last = Some(now);
    }
}

impl Tree {
    /// Wants records of a peer that has had something for too long, and no longer of those that bring nothing new.
    pub(super) fn graft(&mut self, now: Moment, has: impl Fn(ReplicaId, Dot) -> bool) {
        self.prune(now);
        let grace_ms = self.grace_ms();
        if self.grafts.last.is_some_and(|at| now.since(at) < grace_ms) {
            return;
        }
        let overdue = |(peer, neighbour): (&ReplicaId, &Neighbour)| {
            let (dot, ms) = neighbour.report.lacking?;
            (ms >= grace_ms && !self.wants(now, *peer))
                .then(|| (neighbour.cost(), mixed(self.own, *peer), *peer, dot, ms))
        };
        let waiting: Vec<_> = self.neighbours.iter().filter_map(overdue).collect();
        let is_coming = |dot, ms| ms < self.policy.patience_ms && self.is_coming(now, dot, &has);
        let next = waiting.into_iter().filter(|(_, _, _, dot, ms)| !is_coming(*dot, *ms)).min();
        if let Some((_, _, peer, _, _)) = next {
            let duplicates = self.duplicates();
            self.grafts.add(now, peer, duplicates, self.policy.grafts_max);
        }
    }

    /// Whether somebody of whom we want records has this one and is sending something.
    fn is_coming(&self, now: Moment, dot: Dot, has: impl Fn(ReplicaId, Dot) -> bool) -> bool {
        self.neighbours.iter().any(|(peer, neighbour)| {
            let is_sending = neighbour.report.arrived_at.is_some_and(|at| now.since(at) < self.policy.grace_ms);
            is_sending && self.wants(now, *peer) && has(*peer, dot)
        })
    }

    /// When something has come twice since, the tree brings it, too; and a peer that has brought nothing for so long is not needed now. One
    /// that the tree wants anyway is a graft no more.
    fn prune(&mut self, now: Moment) {
        let duplicates = self.duplicates();
        let Self { grafts, neighbours, above, policy, .. } = self;
        grafts.peers.retain(|peer, (at, before)| {
            let brought_at = |neighbour: &Neighbour| neighbour.report.arrived_at.unwrap_or_default();
            let is_idle = |neighbour: &Neighbour| now.since(brought_at(neighbour)) >= policy.graft_ms;
            let is_useless = duplicates > *before || neighbours.get(peer).is_none_or(is_idle);
            let is_spent = now.since(*at) >= policy.graft_ms && is_useless;
            let is_of_tree = |neighbour: &Neighbour| *above == Some(*peer) || neighbour.is_below(now, policy);
            !is_spent && neighbours.get(peer).is_some_and(|neighbour| !is_of_tree(neighbour))
        });
    }

    fn duplicates(&self) -> u64 {
        self.neighbours.values().map(|neighbour| neighbour.report.duplicates).fold(0, u64::saturating_add)
    }

    /// Not the same everywhere: the first one that is served serves those behind it.
    fn grace_ms(&self) -> u64 {
        let grace_ms = self.policy.grace_ms;
        grace_ms + mixed(self.own, self.own) % (grace_ms / 2 + 1)
    }
}
