//! Links that announce instead of sending: the message by which each side says whether it wants records, and what it tells of
//! the tree along which records travel.
//!
//! ```text
//! flags (1: 1 wants records, 2 is below you, 4 has room for you, 8 is crowded) ‖ rank (1) ‖ epoch (varint) ‖ cost (varint)
//! ‖ count (varint, at most 31) ‖ { replica (8) }    from the root down to the one above the sender; none when it is the root
//! ```
//!
//! A session only carries it. Who wants what of whom is decided for all links of a node together, by a [`Tree`](crate::Tree); a
//! session whose host says nothing of links sends and takes records as if there were none.

use tombolo_crdt::{
    DecodeError, Dot, ReplicaId,
    codec::{Reader, put_varint},
};

use super::{Open, Session, output::Output, standing::Moment};
use crate::{LinkReport, Message};

/// What one side of a link says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Send me records as you get them. If not: tell me what you have, and nothing else.
    pub wants_records: bool,
    /// You are the one above me: I hang on the tree by this link.
    pub is_below_you: bool,
    /// You may hang on the tree by me; if you do, you may stay.
    pub has_room: bool,
    /// I have more peers than everybody can send everything to, and speak of links by myself. Who is not answers those who are.
    pub is_crowded: bool,
    /// Where I am in the tree.
    pub branch: Branch,
}

/// A way from the tree's root down to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// How well the root is placed; less is better.
    pub rank: u8,
    /// The root's count of its signs of life.
    pub epoch: u64,
    /// The sum of the costs of the links on the way.
    pub cost: u64,
    /// Who is on the way, from the root on; without the node itself. Empty for the root.
    pub above: Vec<ReplicaId>,
}

impl Branch {
    /// The longest way: no tree grows deeper.
    pub const NODES_MAX: usize = 31;
}

const WANTS_RECORDS: u8 = 1;
const IS_BELOW_YOU: u8 = 2;
const HAS_ROOM: u8 = 4;
const IS_CROWDED: u8 = 8;

impl Link {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.wants_records, WANTS_RECORDS),
            (self.is_below_you, IS_BELOW_YOU),
            (self.has_room, HAS_ROOM),
            (self.is_crowded, IS_CROWDED),
        ];
        out.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        out.push(self.branch.rank);
        put_varint(out, self.branch.epoch);
        put_varint(out, self.branch.cost);
        put_varint(out, self.branch.above.len() as u64);
        for replica in &self.branch.above {
            out.extend_from_slice(&replica.get().to_be_bytes());
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let what = "link";
        let flags = reader.u8(what)?;
        if flags >= IS_CROWDED << 1 {
            return Err(DecodeError::NotCanonical { what });
        }
        let (rank, epoch, cost) = (reader.u8(what)?, reader.varint(what)?, reader.varint(what)?);
        let count = reader.varint(what)?;
        if count > Branch::NODES_MAX as u64 {
            return Err(DecodeError::NotCanonical { what });
        }
        let above = (0..count).map(|_| reader.replica_id(what)).collect::<Result<_, _>>()?;
        let is_set = |flag| flags & flag != 0;
        Ok(Self {
            wants_records: is_set(WANTS_RECORDS),
            is_below_you: is_set(IS_BELOW_YOU),
            has_room: is_set(HAS_ROOM),
            is_crowded: is_set(IS_CROWDED),
            branch: Branch { rank, epoch, cost, above },
        })
    }
}

/// What both sides have said last.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Whether we have said that we want records; nothing before we have said anything.
    own: Option<bool>,
    theirs: Option<bool>,
    /// When records, or a part of some, came last.
    pub(crate) arrived_at: Option<Moment>,
}

impl Links {
    /// Whether the peer is to be sent records. Who speaks of links waits until the other has.
    pub(crate) fn gives(&self) -> bool {
        self.theirs.unwrap_or(self.own.is_none())
    }

    /// Whether we want records of the peer.
    pub(crate) fn takes(&self) -> bool {
        self.own.unwrap_or(true)
    }
}

impl Session {
    /// Says something of the link to the peer.
    pub(super) fn say_link(&mut self, link: Link) {
        // So that nothing is sent to us that we have from elsewhere.
        if link.wants_records && !self.links.takes() && self.open.is_some() {
            self.tell();
        }
        self.links.own = Some(link.wants_records);
        self.send(&Message::Link(link));
    }

    pub(super) fn take_link(&mut self, link: Link) {
        self.links.theirs = Some(link.wants_records);
        self.outputs.push_back(Output::Linked(link));
    }

    /// How the link does, for whoever decides about it. O(replicas).
    pub fn link_report(&self, now: Moment, rtt_ms: u64) -> LinkReport {
        let Some(Open { peer, intake, .. }) = &self.open else { return LinkReport { rtt_ms, ..LinkReport::default() } };
        let (theirs, ours) = (&peer.frontier, &self.standing.frontier);
        let lacking = if ours.includes(theirs) { None } else { peer.lead.lacking(now, theirs, ours) };
        LinkReport { rtt_ms, lacking, arrived_at: self.links.arrived_at, duplicates: intake.duplicates() }
    }

    /// Whether the peer has said that it has a record, or has sent it.
    pub fn peer_has(&self, dot: Dot) -> bool {
        self.open.as_ref().is_some_and(|Open { peer, .. }| peer.frontier.covers(dot))
    }

    /// When something that has risen is to be told.
    pub(super) fn tell_at(&self, now: Moment) -> Moment {
        let limits = &self.settings.limits;
        now.after(if self.links.takes() { limits.have_delay_ms } else { limits.lazy_have_delay_ms })
    }
}
