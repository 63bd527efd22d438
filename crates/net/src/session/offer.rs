//! The sending side: which records the peer is sent, and when.
//!
//! Records go out in the order in which they were applied here, whoever wrote them, without those that the peer has. That
//! order is causal, so that the peer never meets a record before its causes. Nothing goes out that is not in the last standing,
//! and no more than a window of bytes is unacknowledged at any time. What one load has brought is a stretch, which goes out whole, with the
//! signed heads of its authors behind it.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use tombolo_crdt::{Dot, ReplicaId, SignedHead, VersionVector};

use super::{
    input::{LoadFailure, Loaded},
    limits::Limits,
    message::Message,
    output::{Event, Output},
    packing::Packer,
    standing::{Moment, Standing},
};

/// What is offered to one peer.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// What the peer has, or will have when what is under way arrives.
    seen: VersionVector,
    /// The first commit that has not been looked at for this peer.
    next: u64,
    is_loading: bool,
    /// Where the last load began.
    loaded_from: u64,
    /// Loaded and not sent: one stretch, which goes out whole, and the heads that prove it.
    pending: VecDeque<(Dot, Bytes)>,
    heads: Vec<SignedHead>,
    /// Sent and not known to be applied, oldest first, with their sizes.
    in_flight: VecDeque<(Dot, u64)>,
    in_flight_bytes: u64,
    /// How much may be in flight.
    window: u64,
    /// When the oldest record in flight became the oldest.
    progress_at: Moment,
    /// When to try again to read the log.
    retry_at: Option<Moment>,
    /// What a load said the peer must have for the log to be complete for it.
    refused_floor: VersionVector,
    /// What the peer lacks and our log has forgotten, with all below it.
    lacking: Option<VersionVector>,
    is_unreadable: bool,
    packer: Packer,
}

impl Offer {
    /// An offer to `peer`, which has applied `frontier` and grants `window` bytes.
    pub(crate) fn new(peer: ReplicaId, frontier: &VersionVector, window: u64) -> Self {
        let mut seen = frontier.clone();
        // A replica is never sent its own records: one that had lost some would have closed the session at our hello.
        seen.raise(peer, Dot::SEQ_MAX);
        Self { seen, next: 1, window, ..Self::default() }
    }

    /// The peer has this record: it sent it, or it said so.
    pub(crate) fn note_has(&mut self, dot: Dot) {
        self.seen.raise(dot.replica, dot.seq);
    }

    /// The peer has applied everything in `frontier`. O(what was acknowledged).
    pub(crate) fn acked(&mut self, now: Moment, frontier: &VersionVector) {
        while let Some(&(dot, bytes)) = self.in_flight.front() {
            if !frontier.covers(dot) {
                return;
            }
            self.in_flight.pop_front();
            self.in_flight_bytes -= bytes;
            self.progress_at = now;
        }
    }

    /// The peer has a reason not to get on.
    pub(crate) fn excuse(&mut self, now: Moment) {
        self.progress_at = now;
    }

    pub(crate) fn loaded(
        &mut self,
        now: Moment,
        answer: Result<Loaded, LoadFailure>,
        limits: &Limits,
    ) -> Option<Event> {
        if !std::mem::take(&mut self.is_loading) {
            return None;
        }
        match answer {
            Ok(Loaded { records, heads, next }) => {
                self.is_unreadable = false;
                if next <= self.next && records.is_empty() {
                    self.retry_at = Some(now.after(limits.retry_ms));
                }
                self.next = self.next.max(next);
                self.pending.extend(records);
                self.heads = heads;
                None
            }
            Err(LoadFailure::BelowFloor { floor }) => {
                self.refused_floor.join(&floor);
                None
            }
            Err(LoadFailure::Unreadable { cause }) => {
                self.retry_at = Some(now.after(limits.retry_ms));
                let is_news = !std::mem::replace(&mut self.is_unreadable, true);
                is_news.then_some(Event::Unreadable { cause })
            }
        }
    }

    /// Sends what may be sent, and asks for more when there is room. What is sent is added to `told`.
    pub(crate) fn pump(
        &mut self,
        now: Moment,
        standing: &Standing,
        told: &mut VersionVector,
        limits: &Limits,
        outputs: &mut VecDeque<Output>,
    ) {
        if self.may_begin(standing) {
            let mut authors = BTreeSet::new();
            while let Some(frame) = self.next_frame(now, told, limits, &mut authors) {
                outputs.push_back(Output::Send(self.packer.pack(frame).encode()));
            }
            let heads = std::mem::take(&mut self.heads).into_iter().filter(|head| authors.contains(&head.dot.replica));
            let heads: Vec<SignedHead> = heads.collect();
            outputs.extend((!authors.is_empty()).then(|| Output::Send(Message::Heads(heads).encode())));
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
        if self.wants_more(standing, limits) {
            outputs.extend(self.load(standing, limits));
        }
    }

    /// Sends nothing: the peer wants no records. What was loaded is read again when it does, and so is what could not be read.
    pub(crate) fn rest(&mut self) {
        self.retry_at = None;
        if !self.pending.is_empty() {
            self.pending.clear();
            self.next = self.loaded_from;
        }
    }

    /// Looks no more at what a peer has got from elsewhere, while it wants no records. O(replicas).
    pub(crate) fn skip(&mut self, standing: &Standing) {
        if !self.is_loading && self.seen.includes(&standing.frontier) {
            self.next = self.next.max(standing.commit + 1);
        }
    }

    /// When the peer is stalled, unless it acknowledges something before.
    pub(crate) fn stalled_at(&self, limits: &Limits) -> Option<Moment> {
        let &(_, bytes) = self.in_flight.front()?;
        let transfer_ms = bytes.saturating_mul(1_000) / limits.rate_min.max(1);
        Some(self.progress_at.after(limits.stall_ms.saturating_add(transfer_ms)))
    }

    pub(crate) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// The floor that the peer is below.
    pub(crate) fn lacking(&self) -> Option<&VersionVector> {
        self.lacking.as_ref()
    }

    /// Bytes of records that the peer does not acknowledge yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Whether all that is pending may go, as far as the peer lacks it: what it is sent of a stretch is of no use to it without the rest.
    fn may_begin(&mut self, standing: &Standing) -> bool {
        let seen = &self.seen;
        self.pending.retain(|(dot, _)| !seen.covers(*dot));
        let bytes = self.pending.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        // A store may answer a load with more than this session has been told is durable.
        !self.pending.is_empty()
            && self.has_room(bytes)
            && self.pending.iter().all(|(dot, _)| standing.frontier.covers(*dot))
    }

    /// The next records of the stretch, as many as fit one frame.
    fn next_frame(
        &mut self,
        now: Moment,
        told: &mut VersionVector,
        limits: &Limits,
        authors: &mut BTreeSet<ReplicaId>,
    ) -> Option<Vec<Bytes>> {
        let (mut frame, mut frame_bytes) = (Vec::new(), 0);
        while let Some((dot, bytes)) =
            self.pending.pop_front_if(|(_, bytes)| frame_bytes == 0 || frame_bytes + bytes.len() <= limits.batch_bytes)
        {
            if self.in_flight.is_empty() {
                self.progress_at = now;
            }
            let len = bytes.len();
            self.in_flight.push_back((dot, len as u64));
            self.in_flight_bytes += len as u64;
            self.seen.raise(dot.replica, dot.seq);
            told.raise(dot.replica, dot.seq);
            authors.insert(dot.replica);
            frame_bytes += len;
            frame.push(bytes);
        }
        (!frame.is_empty()).then_some(frame)
    }

    /// Whether this many bytes may go. What is larger than the window goes alone.
    fn has_room(&self, bytes: u64) -> bool {
        self.in_flight.is_empty() || self.in_flight_bytes.saturating_add(bytes) <= self.window
    }

    /// Whether to load. Not for the few bytes that every acknowledgement sets free.
    fn wants_more(&self, standing: &Standing, limits: &Limits) -> bool {
        let is_free = !self.is_loading && self.retry_at.is_none() && self.pending.is_empty();
        is_free && self.next <= standing.commit && self.has_room((limits.batch_bytes as u64).min(self.window / 4))
    }

    fn load(&mut self, standing: &Standing, limits: &Limits) -> Option<Output> {
        if self.seen.includes(&standing.frontier) {
            self.next = standing.commit + 1;
            self.lacking = None;
            return None;
        }
        for floor in [&standing.floor, &self.refused_floor] {
            if !self.seen.includes(floor) {
                let was_above = self.lacking.replace(floor.clone()).is_none();
                return was_above.then(|| Output::Event(Event::NeedsState { floor: floor.clone() }));
            }
        }
        self.lacking = None;
        self.is_loading = true;
        self.loaded_from = self.next;
        let room = self.window.saturating_sub(self.in_flight_bytes);
        let bytes = usize::try_from(room).unwrap_or(usize::MAX).min(limits.batch_bytes).max(1);
        Some(Output::Load { seen: self.seen.clone(), from: self.next, commits: limits.load_commits, bytes })
    }
}
