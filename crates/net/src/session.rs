//! The anti-entropy protocol with one peer over one connection, as a value.
//!
//! A session says hello, judges the peer's hello, and from then on sends what the peer lacks, hands what the peer sends to the
//! store, says what has become durable here, and gives signs of life. It promises:
//!
//! * nothing is offered before the peer's hello has been judged, and nothing that was not in a standing;
//! * no more is sent unacknowledged than the peer grants, and no more is held for it than we grant;
//! * a question of the host is answered, or said to have failed, exactly once, and so is a pull;
//! * a peer that breaks a rule gets a named [`Fault`] and is closed. The store is not touched by any of them.
//!
//! It authenticates nobody, and keeps nothing beyond the connection: the next session starts from the next hello.

use std::{collections::VecDeque, sync::Arc};

use tombolo_crdt::{ReplicaId, VersionVector};

use self::{
    comparison::Comparison,
    hello::Hello,
    input::{AskFailure, Input},
    intake::Intake,
    limits::Limits,
    link::Links,
    message::Message,
    offer::Offer,
    output::Output,
    packing::Unpacker,
    peer::Peer,
    questions::Questions,
    relay::Relay,
    standing::{Moment, Standing},
};
use crate::{Fault, LagMeter};

mod asks;
mod comparison;
pub(crate) mod fault;
mod frames;
pub(crate) mod heartbeat;
pub(crate) mod hello;
pub(crate) mod input;
mod intake;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod message;
mod offer;
pub(crate) mod output;
pub(crate) mod packing;
mod peer;
mod pulse;
mod questions;
mod relay;
pub(crate) mod standing;
pub(crate) mod status;
mod transfer;

/// The version of the protocol.
pub const PROTOCOL: u8 = 2;

/// Who talks to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The mesh that both belong to.
    pub mesh: u128,
    /// This replica.
    pub own: ReplicaId,
    /// The peer, as the connection has proved it.
    pub peer: ReplicaId,
    /// Bounds and intervals.
    pub limits: Limits,
}

/// The protocol with one peer.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    /// Where this replica stands.
    standing: Arc<Standing>,
    /// What the peer has been told that we have: our hello, our haves and the records that we sent.
    told: VersionVector,
    /// The floor in our hello.
    said_floor: VersionVector,
    /// When to tell it what has risen since, at the latest.
    tell_at: Option<Moment>,
    /// A moment and what the wall clock showed then.
    wall: (Moment, u64),
    /// When the peer was last heard of; before its hello, when the session began.
    heard_at: Moment,
    heartbeat_at: Moment,
    /// The deadline that was asked for and has not come.
    deadline: Option<Moment>,
    open: Option<Open>,
    /// What the peer had, once the session is closed.
    left_at: VersionVector,
    comparison: Comparison,
    relay: Relay,
    links: Links,
    /// When we reached what the peer still lacks.
    lead: LagMeter,
    outputs: VecDeque<Output>,
    is_closed: bool,
}

/// What there is from the peer's hello on.
#[derive(Debug)]
struct Open {
    peer: Peer,
    offer: Offer,
    intake: Intake,
    unpacker: Unpacker,
    asks: Questions,
    pulls: Questions,
    /// The floor that the peer has been told.
    told_floor: VersionVector,
}

impl Session {
    /// A session on a new connection. Its first output is the hello.
    ///
    /// `standing` and `wall_ms`, milliseconds since the Unix epoch, are those of `now`.
    pub fn new(settings: Settings, standing: Arc<Standing>, now: Moment, wall_ms: u64) -> Self {
        let hello = Hello::new(&settings, &standing, wall_ms);
        let mut lead = LagMeter::new();
        lead.note(now, &standing.frontier);
        let mut session = Self {
            told: standing.frontier.clone(),
            said_floor: standing.floor.clone(),
            tell_at: None,
            wall: (now, wall_ms),
            heard_at: now,
            heartbeat_at: now.after(settings.limits.heartbeat_ms),
            deadline: None,
            open: None,
            left_at: VersionVector::default(),
            comparison: Comparison::new(Arc::clone(&standing)),
            relay: Relay::default(),
            links: Links::default(),
            lead,
            outputs: VecDeque::new(),
            is_closed: false,
            settings,
            standing,
        };
        session.send(&Message::Hello(hello));
        session.ask_for_deadline();
        session
    }

    /// Takes note of what happened. Drain [`poll`](Self::poll) before the next call.
    ///
    /// After the session has closed nothing more happens.
    pub fn handle(&mut self, now: Moment, input: Input) {
        if self.is_closed {
            return;
        }
        let outcome = self.take(now, input).and_then(|()| self.check_patience(now));
        if let Err(fault) = outcome {
            return self.close(fault);
        }
        self.pump(now);
        self.ask_for_deadline();
    }

    /// Ends the session for a reason that the driver has found. The peer is told.
    pub fn close(&mut self, fault: Fault) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.left_at = self.open.take().map(|open| self.part(open)).unwrap_or_default();
        // Who has said goodbye listens no more.
        if !matches!(fault, Fault::PeerClosed { .. }) {
            self.send(&Message::bye(&fault));
        }
        self.outputs.push_back(Output::Close(fault));
    }

    /// What to do next; `None` when there is nothing until something happens.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

impl Session {
    fn take(&mut self, now: Moment, input: Input) -> Result<(), Fault> {
        match input {
            Input::Frame(payload) => return self.take_frame(now, payload),
            Input::Arriving => {
                if let Some(open) = &mut self.open {
                    // Its haves come behind what is arriving.
                    open.offer.excuse(now);
                    self.heard_at = now;
                }
                self.links.arrived_at = Some(now);
            }
            Input::Advanced { standing, wall_ms } => self.advance(now, standing, wall_ms),
            Input::Rows(mut rows) => {
                // The peer knows its own row, and ours.
                rows.retain(|row| row.member != self.settings.peer && row.member != self.settings.own);
                self.relay.add(rows);
            }
            Input::Loaded(answer) => {
                if let Some(open) = &mut self.open {
                    let event = open.offer.loaded(now, answer, &self.settings.limits);
                    self.outputs.extend(event.map(Output::Event));
                }
            }
            Input::Ingested(report) => {
                if let Some(open) = &mut self.open {
                    let event = open.intake.ingested(now, report, &self.settings.limits)?;
                    self.outputs.extend(event.map(Output::Event));
                }
            }
            Input::Ask { token, body } => self.ask(token, body),
            Input::Answer { id, body } => self.answer(id, body),
            Input::Link(link) => self.say_link(link),
            Input::Pull { token, body } => self.pull(token, body),
            Input::Page { id, body } => self.page(id, body),
            // Whoever calls too early is asked again.
            Input::Deadline => self.deadline = None,
            Input::Stop => return Err(Fault::Stopped),
        }
        Ok(())
    }

    /// Gives up what is unanswered. Returns what the peer had.
    fn part(&mut self, open: Open) -> VersionVector {
        let unanswered = |token| Output::Answered { token, answer: Err(AskFailure::Closed) };
        self.outputs.extend(open.asks.into_unanswered().map(unanswered));
        let unpulled = |token| Output::Pulled { token, page: Err(AskFailure::Closed) };
        self.outputs.extend(open.pulls.into_unanswered().map(unpulled));
        open.peer.frontier
    }

    fn advance(&mut self, now: Moment, standing: Arc<Standing>, wall_ms: u64) {
        // Drivers may overtake themselves; what is durable stays so.
        if standing.commit < self.standing.commit {
            return;
        }
        self.wall = (now, wall_ms);
        self.lead.note(now, &standing.frontier);
        self.comparison.note(Arc::clone(&standing), self.settings.limits.standings_remembered);
        self.standing = standing;
        self.tell_at = self.tell_at.or(Some(self.tell_at(now)));
    }
}
