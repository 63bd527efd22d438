//! The tree along which records travel when there are too many peers to send everything to everybody.
//!
//! One value for all links of a node decides of which peers it wants records. With few peers it wants them of all. Beyond that the
//! nodes agree on a spanning tree: each says to its peers over which way, and at which cost, it hangs on the best root that it has heard
//! of, and takes the best of those ways that are offered to it. It wants records of the one above it and of those below it, so that
//! each record crosses about as many links as there are nodes; of all others it only hears what they have.
//!
//! Nobody relies on the tree. What a peer has and we lack for longer than a grace time, while nobody that we want records of is
//! bringing it, makes us want the records of that peer, too, until they come from elsewhere again.
//!
//! It knows no clock, no socket and no session: it is told of connections, of what peers say of links and, some times a second, of how
//! the links do; it answers what is to be said.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{Dot, ReplicaId};

use self::{grafts::Grafts, neighbour::Neighbour, rank::Rank, roots::Roots};
use crate::{Branch, Link, Moment};

mod grafts;
mod neighbour;
mod place;
mod rank;
mod roots;

/// The bounds and intervals of a tree. The defaults are what a mesh runs with; tests shorten them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePolicy {
    /// Peers up to which everything goes to everybody.
    pub eager_peers_max: usize,
    /// How many may hang on a node that have elsewhere to go: what a node has to send of each record.
    pub below_max: usize,
    /// Nobody shall hang on this node that has elsewhere to go: what it sends is counted.
    pub is_limited: bool,
    /// How often a root gives a sign of life, which travels down the tree.
    pub sign_ms: u64,
    /// How long a peer may say nothing of its link before it counts as having none.
    pub heard_ms: u64,
    /// How long there may be no new sign of a root before it counts as gone.
    pub root_ms: u64,
    /// How long a root that is gone is remembered, so that no echo of it is taken for a sign.
    pub forget_ms: u64,
    /// How long a peer may have what we lack before we want its records.
    pub grace_ms: u64,
    /// The same when somebody else seems to be bringing it.
    pub patience_ms: u64,
    /// How long records are wanted of a peer so, at least.
    pub graft_ms: u64,
    /// Of how many peers at a time.
    pub grafts_max: usize,
}

impl Default for TreePolicy {
    fn default() -> Self {
        Self {
            eager_peers_max: 16,
            below_max: 6,
            is_limited: false,
            sign_ms: 1_000,
            heard_ms: 3_500,
            root_ms: 5_000,
            forget_ms: 12_000,
            grace_ms: 1_500,
            patience_ms: 15_000,
            graft_ms: 10_000,
            grafts_max: 2,
        }
    }
}

/// How often [`Tree::tick`] is to be called, in milliseconds.
pub const TREE_TICK_MS: u64 = 200;

/// How a link does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// The round trip.
    pub rtt_ms: u64,
    /// Something that the peer has had for longest of all that we lack, and for how long.
    pub lacking: Option<(Dot, u64)>,
    /// When something of records came last.
    pub arrived_at: Option<Moment>,
    /// Records that came and were here already.
    pub duplicates: u64,
}

/// Which peers a node wants records of.
#[derive(Debug)]
pub struct Tree {
    own: ReplicaId,
    policy: TreePolicy,
    neighbours: BTreeMap<ReplicaId, Neighbour>,
    roots: Roots,
    rank: Rank,
    /// Our own signs of life, for whom we are the root.
    epoch: u64,
    epoch_at: Moment,
    is_crowded: bool,
    /// Who is above us; nobody when we are a root.
    above: Option<ReplicaId>,
    branch: Branch,
    /// Who hangs on us and may stay.
    below: BTreeSet<ReplicaId>,
    grafts: Grafts,
}

impl Tree {
    /// A node without peers. `epoch` is above that of any earlier run: the wall clock will do.
    pub fn new(own: ReplicaId, epoch: u64, policy: TreePolicy) -> Self {
        Self {
            own,
            neighbours: BTreeMap::new(),
            roots: Roots::default(),
            rank: Rank::new(policy.is_limited),
            epoch,
            epoch_at: Moment::default(),
            is_crowded: false,
            above: None,
            branch: Branch { epoch, ..Branch::default() },
            below: BTreeSet::new(),
            grafts: Grafts::default(),
            policy,
        }
    }

    /// A connection with a peer begins. Returns what is to be said of it at once, if anything.
    pub fn joined(&mut self, now: Moment, peer: ReplicaId) -> Option<Link> {
        self.neighbours.insert(peer, Neighbour::default());
        self.count();
        self.is_crowded.then(|| self.say(now, peer)).flatten()
    }

    /// The last connection with a peer has ended.
    pub fn left(&mut self, peer: ReplicaId) {
        self.neighbours.remove(&peer);
        self.count();
    }

    /// A peer has said something of its link. What it says is weighed at the next tick.
    pub fn heard(&mut self, now: Moment, peer: ReplicaId, link: Link) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        self.roots.note(now, link.branch.root(peer), link.branch.epoch, &self.policy);
        neighbour.heard = Some((now, link));
    }

    /// Thinks it all over. `reports` are of all peers; `has` tells whether a peer has a record. Returns what is to be said to whom.
    pub fn tick(
        &mut self,
        now: Moment,
        reports: &BTreeMap<ReplicaId, LinkReport>,
        has: impl Fn(ReplicaId, Dot) -> bool,
    ) -> Vec<(ReplicaId, Link)> {
        for (peer, neighbour) in &mut self.neighbours {
            reports.get(peer).into_iter().for_each(|report| neighbour.measured(*report));
        }
        if !self.is_awake() {
            self.grafts = Grafts::default();
            return self.say_all(now);
        }
        self.rank.measure(now, self.neighbours.values().map(Neighbour::rtt_ms));
        if now.since(self.epoch_at) >= self.policy.sign_ms {
            (self.epoch, self.epoch_at) = (self.epoch + 1, now);
        }
        self.find_place(now);
        self.choose_below(now);
        self.graft(now, has);
        self.say_all(now)
    }

    /// Whether records are wanted of a peer.
    pub fn wants(&self, now: Moment, peer: ReplicaId) -> bool {
        let Some(neighbour) = self.neighbours.get(&peer) else { return true };
        !self.is_shared(neighbour)
            || self.above == Some(peer)
            || neighbour.is_below(now, &self.policy)
            || self.grafts.contains(peer)
    }

    /// Whether the tree is in use: somebody here has more peers than everybody can send everything to.
    pub fn is_awake(&self) -> bool {
        self.is_crowded || self.neighbours.values().any(Neighbour::is_crowded)
    }

    /// The peers of which records are wanted because of what they have, and not because of the tree.
    pub fn grafted(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.grafts.peers()
    }

    /// Not at every peer that comes or goes at the limit.
    fn count(&mut self) {
        let (count, max) = (self.neighbours.len(), self.policy.eager_peers_max);
        self.is_crowded = count > max || self.is_crowded && count > max - max / 4;
    }

    /// Whether the link is one of those that the tree is about: one of the two has too many peers.
    fn is_shared(&self, neighbour: &Neighbour) -> bool {
        self.is_crowded || neighbour.is_crowded()
    }

    fn say_all(&mut self, now: Moment) -> Vec<(ReplicaId, Link)> {
        let peers: Vec<ReplicaId> = self.neighbours.keys().copied().collect();
        peers.into_iter().filter_map(|peer| Some((peer, self.say(now, peer)?))).collect()
    }

    /// What is to be said to a peer now, if it is news or must be said again.
    fn say(&mut self, now: Moment, peer: ReplicaId) -> Option<Link> {
        let neighbour = self.neighbours.get(&peer)?;
        let link = if self.is_shared(neighbour) {
            Link {
                wants_records: self.wants(now, peer),
                is_below_you: self.above == Some(peer),
                has_room: self.has_room(peer),
                is_crowded: self.is_crowded,
                branch: self.branch.clone(),
            }
        } else {
            // Once, to take back what was said before.
            neighbour.said.as_ref()?;
            Link { wants_records: true, ..Link::default() }
        };
        let again_ms = self.policy.sign_ms + self.policy.sign_ms / 2;
        let is_known = neighbour
            .said
            .as_ref()
            .is_some_and(|(at, said)| *said == link && (!self.is_shared(neighbour) || now.since(*at) < again_ms));
        if is_known {
            return None;
        }
        self.neighbours.get_mut(&peer)?.said = Some((now, link.clone()));
        Some(link)
    }
}
