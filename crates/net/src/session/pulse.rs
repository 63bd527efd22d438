//! What a session does by the clock: telling what rose, heartbeats, patience, and the deadline it asks for.

use super::{
    Open, Session, heartbeat::Heartbeat, message::Message, output::Output, standing::Moment, status::Readiness,
};
use crate::Fault;

impl Session {
    /// Does whatever can be done now.
    pub(super) fn pump(&mut self, now: Moment) {
        let Some(open) = &self.open else { return };
        let is_ack_due = open.intake.is_ack_due(&self.standing);
        if is_ack_due || self.tell_at.is_some_and(|at| now >= at) {
            self.tell();
        }
        if now >= self.heartbeat_at {
            self.beat(now);
        }
        let limits = &self.settings.limits;
        let Some(open) = &mut self.open else { return };
        self.outputs.extend(open.intake.pump(now, &self.standing, limits));
        if self.links.gives() {
            open.offer.pump(now, &self.standing, &mut self.told, limits, &mut self.outputs);
            self.tell_floor();
        } else {
            open.offer.rest();
        }
    }

    /// Whether the peer has kept us waiting for too long.
    pub(super) fn check_patience(&mut self, now: Moment) -> Result<(), Fault> {
        match self.given_up_at() {
            Some((at, fault)) if now >= at => Err(fault),
            _ => Ok(()),
        }
    }

    /// Asks to be called when the next thing is due, if that has changed.
    pub(super) fn ask_for_deadline(&mut self) {
        let next = self.next_deadline();
        if next != self.deadline {
            self.deadline = next;
            self.outputs.extend(next.map(Output::Deadline));
        }
    }

    pub(super) fn send(&mut self, message: &Message) {
        self.outputs.push_back(Output::Send(message.encode()));
    }

    /// What the wall clock shows.
    pub(super) fn wall_ms(&self, now: Moment) -> u64 {
        let (then, wall_ms) = self.wall;
        wall_ms.saturating_add(now.since(then))
    }

    /// Tells the peer everything that has risen. O(replicas).
    pub(super) fn tell(&mut self) {
        self.tell_at = None;
        let raised = self.standing.frontier.iter().filter(|dot| !self.told.covers(*dot)).collect();
        self.told.join(&raised);
        if let Some(open) = &mut self.open {
            open.intake.told(&self.told);
        }
        if !raised.is_empty() {
            self.send(&Message::Have(raised));
        }
    }

    /// Tells what rose and gives a sign of life, so that the digest belongs to exactly what the peer knows of us.
    fn beat(&mut self, now: Moment) {
        self.tell();
        self.heartbeat_at = now.after(self.settings.limits.heartbeat_ms);
        let readiness = self.open.as_ref().map_or(Readiness::Ready, |open| open.intake.readiness());
        if let Some(open) = &mut self.open
            && !self.links.gives()
        {
            open.offer.skip(&self.standing);
        }
        let rows = self.relay.take(self.settings.limits.rows_bytes);
        let (wall_ms, digest) = (self.wall_ms(now), self.standing.digest);
        self.send(&Message::Heartbeat(Heartbeat { wall_ms, readiness, digest, rows }));
    }

    /// When the session will end, and why, if the peer does nothing.
    fn given_up_at(&self) -> Option<(Moment, Fault)> {
        let limits = &self.settings.limits;
        let Some(Open { offer, intake, .. }) = &self.open else {
            return Some((self.heard_at.after(limits.hello_ms), Fault::NoHello));
        };
        let silent = (self.heard_at.after(limits.silence_ms), Fault::Silent);
        let stalled = offer.stalled_at(limits).map(|at| (at, Fault::Stalled));
        // What is signed late is not looked at, and fills the window.
        let unsigned =
            intake.unsigned_since().map(|(since, dot)| (since.after(limits.stall_ms), Fault::Unsigned { dot }));
        stalled.into_iter().chain(unsigned).chain([silent]).min_by_key(|(at, _)| *at)
    }

    fn next_deadline(&self) -> Option<Moment> {
        let given_up_at = self.given_up_at().map(|(at, _)| at);
        let Some(Open { offer, intake, .. }) = &self.open else { return given_up_at };
        [given_up_at, self.tell_at, Some(self.heartbeat_at), offer.retry_at(), intake.retry_at()]
            .into_iter()
            .flatten()
            .min()
    }
}
