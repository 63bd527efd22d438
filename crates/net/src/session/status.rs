//! What a session says of itself.

use tombolo_crdt::VersionVector;

use super::{Open, Session, standing::Moment};
use crate::LagMeter;

/// How it stands with a peer, both ways. Counts are as of what was last heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// Whether the peer has said hello.
    pub is_established: bool,
    /// What the peer has applied, as far as it has said; kept when the session has closed, when all else is forgotten.
    pub frontier: VersionVector,
    /// The highest kind of operation that the peer can interpret.
    pub kinds: u64,
    /// What we have and the peer lacks.
    pub peer_behind: Behind,
    /// What the peer has and we lack.
    pub own_behind: Behind,
    /// Whether the peer wants our records. If not, it is only told what there is.
    pub sends_records: bool,
    /// Whether we want those of the peer.
    pub takes_records: bool,
    /// Records of the peer that others had brought before.
    pub duplicates: u64,
    /// Whether both digests were equal when both had last applied the same records.
    pub digests: Digests,
    /// How long ago that was found out, in milliseconds.
    pub compared_ms: Option<u64>,
    /// How far the peer's clock is ahead of ours, in milliseconds, when last heard.
    pub skew_ms: i64,
    /// Whether the peer takes records.
    pub peer_readiness: Readiness,
    /// Whether we take records from the peer.
    pub own_readiness: Readiness,
    /// Whether the peer lacks records that are no longer in our log.
    pub peer_needs_state: bool,
    /// Whether we lacked records that were no longer in the peer's log when it said hello, and still do.
    pub own_needs_state: bool,
}

/// How far one side is behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Records missing.
    pub records: u64,
    /// Bytes of records that are under way: sent, and not yet known to be applied.
    pub bytes: u64,
    /// How long ago the first of the missing ones was there.
    pub ms: u64,
}

/// The outcome of comparing digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digests {
    /// There was nothing to compare yet: the two sides were never seen to have applied the same records.
    #[default]
    Unknown,
    /// Equal when last compared.
    Equal,
    /// Different when last compared.
    Different,
}

/// Whether a replica takes records from its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    #[default]
    Ready,
    /// Not now: its disk is full, or its store has too much to do.
    Busy,
    /// No more on this connection: it met a record that it cannot apply.
    Stopped,
}

impl Behind {
    /// How far one side, at `follower`, is behind the other, at `leader`.
    pub(crate) fn new(
        now: Moment,
        leader: &VersionVector,
        follower: &VersionVector,
        lead: &LagMeter,
        bytes: u64,
    ) -> Self {
        let missing = leader.iter().map(|dot| dot.seq.saturating_sub(follower.seq(dot.replica)));
        let records = missing.fold(0, u64::saturating_add);
        Self { records, bytes, ms: lead.behind_ms(now, leader, follower) }
    }
}

impl Session {
    /// How it stands with the peer. O(replicas).
    pub fn status(&self, now: Moment) -> PeerStatus {
        let Some(Open { peer, offer, intake, .. }) = &self.open else {
            return PeerStatus { frontier: self.left_at.clone(), ..PeerStatus::default() };
        };
        let own = &self.standing.frontier;
        PeerStatus {
            is_established: true,
            frontier: peer.frontier.clone(),
            kinds: peer.kinds,
            peer_behind: Behind::new(now, own, &peer.frontier, &self.lead, offer.bytes()),
            own_behind: Behind::new(now, &peer.frontier, own, &peer.lead, intake.bytes()),
            sends_records: self.links.gives(),
            takes_records: self.links.takes(),
            duplicates: intake.duplicates(),
            digests: self.comparison.outcome(),
            compared_ms: self.comparison.age_ms(now),
            skew_ms: peer.skew_ms,
            peer_readiness: peer.readiness,
            own_readiness: intake.readiness(),
            peer_needs_state: offer.lacking().is_some(),
            own_needs_state: !own.includes(&peer.floor),
        }
    }
}
