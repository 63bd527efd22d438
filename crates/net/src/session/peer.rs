//! What the peer has said of itself.

use tombolo_crdt::{Dot, ReplicaId, VersionVector};

use super::{
    hello::Hello,
    limits::Limits,
    output::Event,
    standing::{Moment, Standing},
    status::Readiness,
};
use crate::{Fault, LagMeter, StabilityRow};

/// The other side, as far as it has said.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What it has applied: its hello, its haves and the records that it sent.
    pub(crate) frontier: VersionVector,
    /// What one must have applied for its log to be complete.
    pub(crate) floor: VersionVector,
    pub(crate) kinds: u64,
    pub(crate) readiness: Readiness,
    pub(crate) skew_ms: i64,
    is_skewed: bool,
    /// The frontier has risen since it was last reported as a row.
    has_risen: bool,
    /// When it reached what we still lack.
    pub(crate) lead: LagMeter,
}

impl Peer {
    pub(crate) fn new(now: Moment, hello: &Hello) -> Self {
        let mut peer = Self {
            frontier: hello.frontier(),
            floor: hello.floor.clone(),
            kinds: hello.kinds,
            readiness: Readiness::Ready,
            skew_ms: 0,
            is_skewed: false,
            has_risen: true,
            lead: LagMeter::new(),
        };
        peer.lead.note(now, &peer.frontier);
        peer
    }

    /// The peer sent this record: it has it.
    pub(crate) fn note_sent(&mut self, dot: Dot) {
        self.has_risen |= self.frontier.raise(dot.replica, dot.seq);
    }

    /// The peer says what else it has.
    pub(crate) fn raise(
        &mut self,
        raised: &VersionVector,
        own: ReplicaId,
        standing: &Standing,
        limits: &Limits,
    ) -> Result<(), Fault> {
        for dot in raised.iter() {
            let said = self.frontier.seq(dot.replica);
            if dot.seq <= said {
                return Err(Fault::WentBackwards { dot, said });
            }
            let known = standing.frontier.seq(own);
            if dot.replica == own && dot.seq > known {
                return Err(Fault::AheadOfUs { dot, known });
            }
            self.frontier.raise(dot.replica, dot.seq);
        }
        self.has_risen = true;
        self.check_size(limits)
    }

    /// Whether the peer has named no more replicas than it may. Each message may name as many; together they may not.
    pub(crate) fn check_size(&self, limits: &Limits) -> Result<(), Fault> {
        let (count, max) = (self.frontier.len(), limits.vector_entries_max);
        if count > max { Err(Fault::TooManyReplicas { count, max }) } else { Ok(()) }
    }

    /// Compares clocks. A skew is reported when it begins.
    pub(crate) fn note_clock(&mut self, theirs_ms: u64, ours_ms: u64, limits: &Limits) -> Option<Event> {
        let distance = i64::try_from(theirs_ms.abs_diff(ours_ms)).unwrap_or(i64::MAX);
        self.skew_ms = if theirs_ms < ours_ms { -distance } else { distance };
        let was_skewed = std::mem::replace(&mut self.is_skewed, distance.unsigned_abs() > limits.skew_ms);
        (self.is_skewed && !was_skewed).then_some(Event::Skew(self.skew_ms))
    }

    /// The peer's own row, if it is news. Only to be asked when the peer has just said all that it has: what it sends in
    /// between is no moment of its history.
    pub(crate) fn row(&mut self, peer: ReplicaId) -> Option<StabilityRow> {
        let is_news = std::mem::take(&mut self.has_risen);
        is_news.then(|| StabilityRow { member: peer, frontier: self.frontier.clone() })
    }
}
