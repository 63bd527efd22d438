//! Where in the tree a node hangs, and who hangs on it.

use tombolo_crdt::ReplicaId;

use super::{Tree, neighbour::Neighbour};
use crate::{Branch, Moment};

/// A peer that one could hang on.
struct Offer<'a> {
    peer: ReplicaId,
    /// The root's rank and name: the order of roots.
    root: (u8, ReplicaId),
    is_full: bool,
    /// From the root to us by this peer.
    cost: u64,
    branch: &'a Branch,
}

impl Offer<'_> {
    fn is_clearly_better_than(&self, present: &Self) -> bool {
        match (self.is_full, present.is_full) {
            (false, true) => true,
            (true, false) => false,
            _ => self.cost.saturating_mul(3).saturating_add(CLEARLY) < present.cost.saturating_mul(2),
        }
    }
}

impl Branch {
    /// The root of the branch, as `sender` says it.
    pub(crate) fn root(&self, sender: ReplicaId) -> ReplicaId {
        self.above.first().copied().unwrap_or(sender)
    }
}

impl Tree {
    /// Chooses who is above us: on the best root, whoever has room, at the least cost. Whom we have is left only for somebody
    /// clearly better.
    pub(super) fn find_place(&mut self, now: Moment) {
        let (above, branch) = match self.choose(now) {
            Some(Offer { peer, root, cost, branch, .. }) => {
                let way = branch.above.iter().copied().chain([peer]).collect();
                (Some(peer), Branch { rank: root.0, epoch: branch.epoch, cost, above: way })
            }
            None => (None, Branch { rank: self.rank.get(), epoch: self.epoch, cost: 0, above: Vec::new() }),
        };
        (self.above, self.branch) = (above, branch);
    }

    fn choose(&self, now: Moment) -> Option<Offer<'_>> {
        let offers: Vec<_> =
            self.neighbours.iter().filter_map(|(peer, neighbour)| self.offer(now, *peer, neighbour)).collect();
        let best_root = offers.iter().map(|offer| offer.root).min()?;
        if (self.rank.get(), self.own) < best_root {
            return None;
        }
        let on_it = offers.into_iter().filter(|offer| offer.root.1 == best_root.1);
        let (mut present, others): (Vec<_>, Vec<_>) = on_it.partition(|offer| self.above == Some(offer.peer));
        let best = others.into_iter().min_by_key(|offer| self.order(offer));
        match (present.pop(), best) {
            (Some(present), Some(best)) => Some(if best.is_clearly_better_than(&present) { best } else { present }),
            (present, best) => present.or(best),
        }
    }

    /// What a peer offers, if one can hang on it: it lives, its root does, and its way does not lead through us.
    fn offer<'a>(&self, now: Moment, peer: ReplicaId, neighbour: &'a Neighbour) -> Option<Offer<'a>> {
        let link = neighbour.says(now, &self.policy)?;
        let branch = &link.branch;
        let root = branch.root(peer);
        let is_way = branch.above.len() < Branch::NODES_MAX && !branch.above.contains(&self.own);
        (is_way && self.roots.lives(now, root, &self.policy)).then(|| Offer {
            peer,
            root: (branch.rank, root),
            is_full: !link.has_room,
            cost: branch.cost.saturating_add(neighbour.cost()),
            branch,
        })
    }

    fn order(&self, offer: &Offer<'_>) -> (bool, u64, u64, ReplicaId) {
        (offer.is_full, offer.cost, mixed(self.own, offer.peer), offer.peer)
    }

    /// Chooses who may stay below us: who is there, and as many more as there is room for, the nearest first.
    pub(super) fn choose_below(&mut self, now: Moment) {
        let policy = &self.policy;
        let mut claims: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(peer, neighbour)| self.above != Some(**peer) && neighbour.is_below(now, policy))
            .map(|(peer, neighbour)| (!self.below.contains(peer), neighbour.cost(), *peer))
            .collect();
        claims.sort_unstable();
        self.below = claims.into_iter().take(self.room()).map(|(_, _, peer)| peer).collect();
    }

    /// Whether a peer may hang on us. Who has no place has none to give.
    pub(super) fn has_room(&self, peer: ReplicaId) -> bool {
        let is_placed = self.above.is_none_or(|above| {
            let heard = self.neighbours.get(&above).and_then(|neighbour| neighbour.heard.as_ref());
            heard.is_some_and(|(_, link)| link.has_room)
        });
        self.above != Some(peer) && (self.below.contains(&peer) || is_placed && self.below.len() < self.room())
    }

    fn room(&self) -> usize {
        if self.policy.is_limited { 0 } else { self.policy.below_max }
    }
}

/// Makes a difference of a few milliseconds no reason to move.
const CLEARLY: u64 = 32;

/// A number that differs from pair to pair: of equal offers each takes another one.
pub(super) fn mixed(own: ReplicaId, peer: ReplicaId) -> u64 {
    let mut bits = own.get().rotate_left(32) ^ peer.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
