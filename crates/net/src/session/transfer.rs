//! Transfers of state: the one that lacks what is in no log any more pulls pages, the other answers.
//!
//! To the session pulls and pages are opaque. A receiver has a few pulls out at a time, so that a long link is kept full; that is all the flow
//! control there is, and all that a provider may be made to hold. Which page is next, whether they fit together and how long one may take is
//! the hosts' affair. Whoever pulls, or sends pages, gets on: its haves may be late for it, and are not missed.
//!
//! Who has fallen below a floor that rose after the hello is told so.

use bytes::Bytes;
use tombolo_crdt::{DecodeError, VersionVector};

use super::{
    Open, Session,
    input::AskFailure,
    limits::{PAGE_BODY_BYTES_MAX, PULL_BODY_BYTES_MAX},
    message::Message,
    output::{Event, Output},
    questions::Misasked,
    standing::Moment,
};
use crate::Fault;

impl Session {
    /// Pulls a page for the host, or says why not.
    pub(super) fn pull(&mut self, token: u64, body: Bytes) {
        match self.begin_pull(token, &body) {
            Ok(id) => self.send(&Message::Pull { id, body }),
            Err(failure) => self.outputs.push_back(Output::Pulled { token, page: Err(failure) }),
        }
    }

    fn begin_pull(&mut self, token: u64, body: &Bytes) -> Result<u64, AskFailure> {
        let (bytes, max) = (body.len(), PULL_BODY_BYTES_MAX);
        if bytes > max {
            return Err(AskFailure::TooLarge { bytes, max });
        }
        let Some(Open { pulls, .. }) = &mut self.open else { return Err(AskFailure::NotEstablished) };
        let max = self.settings.limits.pulls_max;
        pulls.begin(token, max).ok_or(AskFailure::TooMany { max })
    }

    /// Sends the host's page. What nobody waits for is not sent; one that is too long becomes an empty one.
    pub(super) fn page(&mut self, id: u64, body: Bytes) {
        let Some(Open { pulls, .. }) = &mut self.open else { return };
        if pulls.answer(id) {
            let body = if body.len() > PAGE_BODY_BYTES_MAX { Bytes::new() } else { body };
            self.send(&Message::Page { id, body });
        }
    }

    pub(super) fn take_pull(&mut self, now: Moment, id: u64, body: Bytes) -> Result<(), Fault> {
        let Some(Open { pulls, offer, .. }) = &mut self.open else { return Ok(()) };
        let max = self.settings.limits.pulls_max;
        pulls.take(id, max).map_err(|why| match why {
            Misasked::Stale { last } => Fault::StalePull { id, last },
            Misasked::TooMany => Fault::TooManyPulls { max },
        })?;
        offer.excuse(now);
        self.outputs.push_back(Output::PullAsked { id, body });
        Ok(())
    }

    pub(super) fn take_page(&mut self, now: Moment, id: u64, body: Bytes) -> Result<(), Fault> {
        let Some(Open { pulls, offer, .. }) = &mut self.open else { return Ok(()) };
        let token = pulls.end(id).ok_or(Fault::UnaskedPage { id })?;
        offer.excuse(now);
        self.outputs.push_back(Output::Pulled { token, page: Ok(body) });
        Ok(())
    }

    /// Tells a peer that lacks what our log has forgotten since the hello.
    pub(super) fn tell_floor(&mut self) {
        let Some(Open { offer, told_floor, .. }) = &self.open else { return };
        let Some(floor) = offer.lacking().filter(|floor| !told_floor.includes(floor)).cloned() else { return };
        // A log is not complete only from where its owner has not yet said that it is.
        self.tell();
        if !self.told.includes(&floor) {
            return;
        }
        let Some(Open { told_floor, .. }) = &mut self.open else { return };
        told_floor.join(&floor);
        let floor = told_floor.clone();
        self.send(&Message::Floor(floor));
    }

    /// The peer's log has forgotten more.
    pub(super) fn take_floor(&mut self, floor: VersionVector) -> Result<(), Fault> {
        let Some(Open { peer, .. }) = &mut self.open else { return Ok(()) };
        if peer.floor.includes(&floor) || !floor.includes(&peer.floor) || !peer.frontier.includes(&floor) {
            return Err(DecodeError::NotCanonical { what: "floor" }.into());
        }
        peer.floor = floor;
        self.note_floor();
        Ok(())
    }

    /// Says so when we lack what is no longer in the peer's log.
    pub(super) fn note_floor(&mut self) {
        let Some(Open { peer, .. }) = &self.open else { return };
        if !self.standing.frontier.includes(&peer.floor) {
            let floor = peer.floor.clone();
            self.outputs.push_back(Output::Event(Event::LacksState { floor }));
        }
    }
}
