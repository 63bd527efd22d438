//! Questions between two peers: opaque bytes there, opaque bytes back.
//!
//! An ask goes out at once; it does not wait for the window of records. What may be unanswered is bounded, which holds both memory and
//! work. How long an answer may take is the host's affair: one that nobody waits for any more still counts until it has come.

use bytes::Bytes;

use super::{
    Open, Session, input::AskFailure, limits::ASK_BODY_BYTES_MAX, message::Message, output::Output, questions::Misasked,
};
use crate::Fault;

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
        let max = self.settings.limits.asks_max;
        asks.begin(token, max).ok_or(AskFailure::TooMany { max })
    }

    /// Sends the host's answer. What is no answer to an open question is not sent; one that is too long becomes an empty one.
    pub(super) fn answer(&mut self, id: u64, body: Bytes) {
        let Some(Open { asks, .. }) = &mut self.open else { return };
        if asks.answer(id) {
            let body = if body.len() > ASK_BODY_BYTES_MAX { Bytes::new() } else { body };
            self.send(&Message::Answer { id, body });
        }
    }

    pub(super) fn take_ask(&mut self, id: u64, body: Bytes) -> Result<(), Fault> {
        let Some(Open { asks, .. }) = &mut self.open else { return Ok(()) };
        let max = self.settings.limits.asks_max;
        asks.take(id, max).map_err(|why| match why {
            Misasked::Stale { last } => Fault::StaleAsk { id, last },
            Misasked::TooMany => Fault::TooManyAsks { max },
        })?;
        self.outputs.push_back(Output::Asked { id, body });
        Ok(())
    }

    pub(super) fn take_answer(&mut self, id: u64, body: Bytes) -> Result<(), Fault> {
        let Some(Open { asks, .. }) = &mut self.open else { return Ok(()) };
        let token = asks.end(id).ok_or(Fault::UnaskedAnswer { id })?;
        self.outputs.push_back(Output::Answered { token, answer: Ok(body) });
        Ok(())
    }
}
