//! Trees in a mesh of sessions: what a driver does for them, in virtual time.

use std::collections::BTreeMap;

use tombolo_crdt::ReplicaId;
use tombolo_net::{Input, Link, Message, Moment, TREE_TICK_MS, Tree, TreePolicy};

use super::mesh::{Happening, Mesh};

impl Mesh {
    /// Lets trees decide about all links, from before the first is there.
    pub(crate) fn plant(&mut self, policy: &TreePolicy) {
        for node in 0..self.nodes.len() {
            self.nodes[node].tree = Some(Tree::new(self.nodes[node].store.own, 1, policy.clone()));
            // Nobody's clock beats with another's.
            self.schedule(node as u64 * 7 % TREE_TICK_MS, Happening::Tick { node });
        }
    }

    /// Connects everybody with everybody.
    pub(crate) fn connect_all(&mut self, delay_ms: impl Fn(usize, usize) -> u64) {
        for left in 0..self.nodes.len() {
            for right in left + 1..self.nodes.len() {
                self.connect(left, right, delay_ms(left, right));
            }
        }
    }

    /// Lets a node fall silent: nobody is told.
    pub(crate) fn darken(&mut self, node: usize) {
        for (link, _) in self.ends_of(node) {
            self.links[link].is_dark = true;
        }
    }

    /// Whether an end wants records of its peer.
    pub(crate) fn wants(&self, link: usize, end: usize) -> bool {
        let [node, peer] = self.link_of(link, end);
        self.nodes[node].tree.as_ref().is_none_or(|tree| tree.wants(Moment(self.now), self.nodes[peer].store.own))
    }

    /// Links on which at least one end wants records.
    pub(crate) fn eager_links(&self) -> usize {
        (0..self.links.len()).filter(|&link| self.is_open(link) && (self.wants(link, 0) || self.wants(link, 1))).count()
    }

    /// Bytes of frames of records sent so far, on all links.
    pub(crate) fn record_bytes(&self) -> u64 {
        let frames = self.links.iter().flat_map(|link| &link.ends).flat_map(|end| &end.sent);
        let records = frames.filter(|(_, message)| matches!(message, Message::Records(_)));
        records.map(|(_, message)| message.encode().len() as u64).sum()
    }

    pub(crate) fn is_open(&self, link: usize) -> bool {
        self.links[link].ends.iter().all(|end| end.closed.is_none())
    }

    /// The node at an end of a link, and its peer.
    fn link_of(&self, link: usize, end: usize) -> [usize; 2] {
        [self.links[link].ends[end].node, self.links[link].ends[1 - end].node]
    }

    pub(crate) fn joined(&mut self, link: usize, end: usize) {
        let [node, peer] = self.link_of(link, end);
        let (now, peer) = (Moment(self.now), self.nodes[peer].store.own);
        let said = self.nodes[node].tree.as_mut().and_then(|tree| tree.joined(now, peer));
        if let Some(said) = said {
            self.input(link, end, Input::Link(said));
        }
    }

    pub(crate) fn left(&mut self, link: usize) {
        for end in 0..2 {
            let [node, peer] = self.link_of(link, end);
            let peer = self.nodes[peer].store.own;
            if let Some(tree) = &mut self.nodes[node].tree
                && self.links[link].ends[end].closed.is_some()
            {
                tree.left(peer);
            }
        }
    }

    pub(crate) fn heard(&mut self, link: usize, end: usize, said: Link) {
        let [node, peer] = self.link_of(link, end);
        let (now, peer) = (Moment(self.now), self.nodes[peer].store.own);
        if let Some(tree) = &mut self.nodes[node].tree {
            tree.heard(now, peer, said);
        }
    }

    pub(crate) fn tick(&mut self, node: usize) {
        let now = Moment(self.now);
        let mut ends: BTreeMap<ReplicaId, (usize, usize)> = BTreeMap::new();
        for (link, end) in self.ends_of(node) {
            if self.links[link].ends[end].closed.is_none() {
                let [_, peer] = self.link_of(link, end);
                ends.insert(self.nodes[peer].store.own, (link, end));
            }
        }
        let report = |(peer, (link, end)): (&ReplicaId, &(usize, usize))| {
            let link = &self.links[*link];
            (*peer, link.ends[*end].session.link_report(now, link.delay_ms * 2))
        };
        let reports = ends.iter().map(report).collect();
        let Some(mut tree) = self.nodes[node].tree.take() else { return };
        let has = |peer: ReplicaId, dot| {
            ends.get(&peer).is_some_and(|&(link, end)| self.links[link].ends[end].session.peer_has(dot))
        };
        let said = tree.tick(now, &reports, has);
        self.nodes[node].tree = Some(tree);
        for (peer, link) in said {
            if let Some(&(at, end)) = ends.get(&peer) {
                self.input(at, end, Input::Link(link));
            }
        }
        self.schedule(TREE_TICK_MS, Happening::Tick { node });
    }
}
