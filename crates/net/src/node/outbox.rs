//! Frames that wait for the transport.
//!
//! They go out in order, but that questions and answers overtake what the transport has not been offered yet: somebody waits for
//! them, and a window of records may be ahead of them. Pages of transfers take turns with the rest, so that neither keeps the other waiting for
//! more than a page or a handful of frames. What the transport has taken is in order for good: behind megabytes of
//! records on a slow link a question takes as long as they do.

use std::{collections::VecDeque, future::pending};

use bytes::Bytes;
use quinn::{SendStream, WriteError};

use crate::{Message, framing};

/// Frames, first to last.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Chunks of whole frames that are being written, the first one perhaps in part.
    begun: VecDeque<Bytes>,
    /// Frames that overtake the rest.
    hasty: VecDeque<Bytes>,
    rest: VecDeque<Bytes>,
    /// Frames that take turns with the rest.
    bulk: VecDeque<Bytes>,
    bytes: usize,
    written: u64,
}

impl Outbox {
    /// Takes a frame's payload.
    pub(crate) fn push(&mut self, payload: Bytes) {
        self.bytes += framing::HEADER_LEN + payload.len();
        // The first frame of all is never overtaken: it finds nothing here.
        if self.is_empty() {
            self.begun.extend([framing::header(&payload), payload]);
        } else if Message::overtakes(&payload) {
            self.hasty.push_back(payload);
        } else if Message::is_bulk(&payload) {
            self.bulk.push_back(payload);
        } else {
            self.rest.push_back(payload);
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that the transport has taken so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.hasty.is_empty() && self.rest.is_empty() && self.bulk.is_empty()
    }

    /// Writes what the transport takes now, at least something. Waits for ever when there is nothing to write. Nothing is lost
    /// when the future is dropped.
    pub(crate) async fn write(&mut self, send: &mut SendStream) -> Result<(), WriteError> {
        self.refill();
        if self.begun.is_empty() {
            return pending().await;
        }
        let written = send.write_chunks(self.begun.make_contiguous()).await?;
        self.begun.drain(..written.chunks);
        self.bytes -= written.bytes;
        self.written += written.bytes as u64;
        Ok(())
    }

    /// Chooses what is written next: several frames at a time, and not so many that a hasty one would wait long.
    fn refill(&mut self) {
        if !self.begun.is_empty() {
            return;
        }
        let mut bytes = 0;
        while bytes < BEGUN_BYTES
            && let Some(payload) = self.hasty.pop_front().or_else(|| self.rest.pop_front())
        {
            bytes += payload.len();
            self.begun.extend([framing::header(&payload), payload]);
        }
        if let Some(page) = self.bulk.pop_front() {
            self.begun.extend([framing::header(&page), page]);
        }
    }
}

/// Bytes that are begun together, give or take a frame.
const BEGUN_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(id: u64) -> Bytes {
        Message::Ask { id, body: Bytes::new() }.encode()
    }

    fn records(bytes: usize) -> Bytes {
        Message::Records(vec![Bytes::from(vec![1; bytes])]).encode()
    }

    /// The frames that are begun, as the transport would be given them; they count as written.
    fn begun(outbox: &mut Outbox) -> Vec<Bytes> {
        outbox.refill();
        let chunks: Vec<Bytes> = outbox.begun.drain(..).collect();
        chunks.chunks(2).map(|frame| frame[1].clone()).collect()
    }

    #[test]
    fn questions_overtake_what_was_not_begun() {
        let mut outbox = Outbox::default();
        let (small, large) = (records(100), records(BEGUN_BYTES));
        [&small, &large, &small, &small].into_iter().for_each(|frame| outbox.push(frame.clone()));
        outbox.push(ask(1));
        outbox.push(ask(2));
        assert_eq!(begun(&mut outbox), std::slice::from_ref(&small), "the first of all is begun at once");
        assert_eq!(begun(&mut outbox), [ask(1), ask(2), large]);
        outbox.push(ask(3));
        assert_eq!(begun(&mut outbox), [ask(3), small.clone(), small]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn pages_and_the_rest_take_turns() {
        let mut outbox = Outbox::default();
        let (small, large) = (records(100), records(BEGUN_BYTES));
        let page = |id| Message::Page { id, body: Bytes::from(vec![1; 100]) }.encode();
        [small.clone(), page(1), page(2), large.clone(), large.clone()]
            .into_iter()
            .for_each(|frame| outbox.push(frame));
        assert_eq!(begun(&mut outbox), [small]);
        assert_eq!(begun(&mut outbox), [large.clone(), page(1)]);
        outbox.push(page(3));
        outbox.push(ask(1));
        assert_eq!(begun(&mut outbox), [ask(1), large, page(2)]);
        assert_eq!(begun(&mut outbox), [page(3)], "with nobody else there they go one after the other");
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_is_begun_is_finished_first() {
        let mut outbox = Outbox::default();
        outbox.push(records(100));
        outbox.push(ask(1));
        outbox.refill();
        assert_eq!(outbox.begun.len(), 2, "nothing is put between the chunks of a frame");
        outbox.begun.pop_front();
        outbox.refill();
        assert_eq!(outbox.begun, [records(100)]);
    }
}
