//! Questions between two peers: opaque bytes there, opaque bytes back.
//!
//! An ask goes out at once; it does not wait for the window of records. Each side numbers its own, ascending, and may have a bounded
//! number unanswered, which holds both memory and work. Answers come in any order. How long an answer may take is the host's affair: one
//! that nobody waits for any more still counts until it has come.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    Open, Session,
    input::AskFailure,
    limits::{ASK_BODY_BYTES_MAX, Limits},
    message::Message,
    output::Output,
};
use crate::Fault;

/// What is unanswered, both ways.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// The number of our last.
    last_own: u64,
    /// Ours, and what the host knows each by.
    own: BTreeMap<u64, u64>,
    /// The number of the peer's last.
    last_theirs: u64,
    theirs: BTreeSet<u64>,
}

impl Asks {
    /// Numbers an ask of ours.
    fn begin(&mut self, token: u64, limits: &Limits) -> Result<u64, AskFailure> {
        if self.own.len() >= limits.asks_max {
            return Err(AskFailure::TooMany { max: limits.asks_max });
        }
        self.last_own += 1;
        self.own.insert(self.last_own, token);
        Ok(self.last_own)
    }

    /// The peer asks.
    fn take(&mut self, id: u64, limits: &Limits) -> Result<(), Fault> {
        if id <= self.last_theirs {
            return Err(Fault::StaleAsk { id, last: self.last_theirs });
        }
        let max = limits.asks_max;
        if self.theirs.len() >= max {
            return Err(Fault::TooManyAsks { max });
        }
        self.last_theirs = id;
        self.theirs.insert(id);
        Ok(())
    }

    /// What the host knows the asks by that will never be answered.
    pub(crate) fn into_unanswered(self) -> impl Iterator<Item = u64> {
        self.own.into_values()
    }
}

impl Session {
    /// Sends a question of the host, or says why not.
    pub(super) fn ask(&mut self, token: u64, body: Bytes) {
        match self.begin_ask(token, &body) {
            Ok(id) => self.send(&Message::Ask { id, body }),
            Err(failure) => self.outputs.push_back(Output::Answered { token, answer: Err(failure) }),
        }
    }

    fn begin_ask(&mut self, token: u64, body: &Bytes) -> Result<u64, AskFailure> {
        let (bytes, max) = (body.len(), ASK_BODY_BYTES_MAX);
        if bytes > max {
            return Err(AskFailure::TooLarge { bytes, max });
        }
        let Some(Open { asks, .. }) = &mut self.open else { return Err(AskFailure::NotEstablished) };
        asks.begin(token, &self.settings.limits)
    }

    /// Sends the host's answer. What is no answer to an open question is not sent; one that is too long becomes an empty one.
    pub(super) fn answer(&mut self, id: u64, body: Bytes) {
        let Some(Open { asks, .. }) = &mut self.open else { return };
        if asks.theirs.remove(&id) {
            let body = if body.len() > ASK_BODY_BYTES_MAX { Bytes::new() } else { body };
            self.send(&Message::Answer { id, body });
        }
    }

    pub(super) fn take_ask(&mut self, id: u64, body: Bytes) -> Result<(), Fault> {
        let Some(Open { asks, .. }) = &mut self.open else { return Ok(()) };
        asks.take(id, &self.settings.limits)?;
        self.outputs.push_back(Output::Asked { id, body });
        Ok(())
    }

    pub(super) fn take_answer(&mut self, id: u64, body: Bytes) -> Result<(), Fault> {
        let Some(Open { asks, .. }) = &mut self.open else { return Ok(()) };
        let token = asks.own.remove(&id).ok_or(Fault::UnaskedAnswer { id })?;
        self.outputs.push_back(Output::Answered { token, answer: Ok(body) });
        Ok(())
    }
}
