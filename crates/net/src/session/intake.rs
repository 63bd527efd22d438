//! The receiving side: records wait here until the store has taken them.
//!
//! A ledger mirrors what the peer counts as unacknowledged, by the same rule on both sides: a record leaves it from the front
//! when what was told covers it. So the peer can be held to its window, whatever else brings the same records.

use std::collections::VecDeque;

use bytes::Bytes;
use tombolo_crdt::{Dot, RecordHeader, VersionVector};

use super::{
    input::{IngestRefusal, IngestReport},
    limits::Limits,
    output::{Event, Output},
    standing::{Moment, Standing},
    status::Readiness,
};
use crate::{BadRecord, Fault};

/// What has come from one peer.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Everything that the peer has not been told is applied, with sizes, oldest first.
    ledger: VecDeque<(Dot, u64)>,
    ledger_bytes: u64,
    /// Not handed to the store yet.
    queue: VecDeque<(Dot, Bytes)>,
    /// Handed to the store, which has not answered.
    batch: Vec<(Dot, Bytes)>,
    readiness: Readiness,
    /// When to try again what the store could not take.
    retry_at: Option<Moment>,
    /// Records that others had brought before.
    duplicates: u64,
}

impl Intake {
    /// Takes in records as they arrive. Returns their names. O(their heads).
    pub(crate) fn receive(&mut self, records: Vec<Bytes>, limits: &Limits) -> Result<Vec<Dot>, Fault> {
        let mut dots = Vec::with_capacity(records.len());
        for bytes in records {
            let header = RecordHeader::decode(bytes.clone());
            let dot = header.map_err(|error| Fault::BadRecord(BadRecord::Nameless(error)))?.dot;
            let unacked = self.ledger_bytes + bytes.len() as u64;
            if unacked > limits.window_bytes && !self.ledger.is_empty() {
                return Err(Fault::Flooded { bytes: unacked, max: limits.window_bytes });
            }
            self.ledger.push_back((dot, bytes.len() as u64));
            self.ledger_bytes = unacked;
            if self.readiness != Readiness::Stopped {
                self.queue.push_back((dot, bytes));
            }
            dots.push(dot);
        }
        Ok(dots)
    }

    /// Hands the next records to the store, unless it is at work or needs a pause.
    pub(crate) fn pump(&mut self, now: Moment, standing: &Standing, limits: &Limits) -> Option<Output> {
        // What others brought meanwhile is held for the store no longer than it counts against the window.
        while self.queue.front().is_some_and(|(dot, _)| standing.frontier.covers(*dot)) {
            self.queue.pop_front();
            self.duplicates += 1;
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
        if !self.batch.is_empty() || self.retry_at.is_some() {
            return None;
        }
        if self.queue.is_empty() && self.readiness == Readiness::Busy {
            self.readiness = Readiness::Ready;
        }
        let mut bytes = 0;
        while self.batch.len() < limits.batch_records {
            let fits = |(_, record): &mut (Dot, Bytes)| bytes == 0 || bytes + record.len() <= limits.batch_bytes;
            let Some(next) = self.queue.pop_front_if(fits) else { break };
            bytes += next.1.len();
            self.batch.push(next);
        }
        let records: Vec<Bytes> = self.batch.iter().map(|(_, bytes)| bytes.clone()).collect();
        (!records.is_empty()).then_some(Output::Ingest(records))
    }

    /// Takes note of what became of the records handed to the store.
    pub(crate) fn ingested(
        &mut self,
        now: Moment,
        report: IngestReport,
        limits: &Limits,
    ) -> Result<Option<Event>, Fault> {
        let mut rest = std::mem::take(&mut self.batch).into_iter().skip(report.taken).peekable();
        let (Some(refusal), Some(&(dot, _))) = (report.refused, rest.peek()) else {
            self.readiness = Readiness::Ready;
            return Ok(None);
        };
        let pause_ms = if refusal == IngestRefusal::Busy { limits.busy_ms } else { limits.retry_ms };
        match refusal {
            IngestRefusal::NoSpace | IngestRefusal::Busy => {
                let mut waiting: VecDeque<_> = rest.collect();
                waiting.append(&mut self.queue);
                (self.queue, self.retry_at) = (waiting, Some(now.after(pause_ms)));
                self.readiness = Readiness::Busy;
                Ok(None)
            }
            IngestRefusal::UnknownOperation { kind } => Ok(Some(self.stop(Event::Upgrade { dot, kind }))),
            IngestRefusal::RevisionsExhausted => Ok(Some(self.stop(Event::RevisionsExhausted))),
            refusal => Err(fault(dot, refusal)),
        }
    }

    /// The peer has been told that everything in `frontier` is applied here.
    pub(crate) fn told(&mut self, frontier: &VersionVector) {
        while let Some(&(dot, bytes)) = self.ledger.front() {
            if !frontier.covers(dot) {
                break;
            }
            self.ledger.pop_front();
            self.ledger_bytes -= bytes;
        }
    }

    /// Whether the oldest record that the peer waits for is applied.
    pub(crate) fn is_ack_due(&self, standing: &Standing) -> bool {
        self.ledger.front().is_some_and(|(dot, _)| standing.frontier.covers(*dot))
    }

    pub(crate) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// Bytes of records received and not acknowledged.
    pub(crate) fn bytes(&self) -> u64 {
        self.ledger_bytes
    }

    /// Records that came and were not handed to the store, because they were applied by then.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Takes nothing more. The session goes on serving the peer.
    fn stop(&mut self, event: Event) -> Event {
        self.readiness = Readiness::Stopped;
        self.queue = VecDeque::new();
        event
    }
}

/// What a peer has done that offered this record.
fn fault(dot: Dot, refusal: IngestRefusal) -> Fault {
    match refusal {
        IngestRefusal::Gap { expected } => Fault::Skipped { dot, missing: Dot::new(dot.replica, expected) },
        IngestRefusal::MissingContext { missing } => Fault::Skipped { dot, missing },
        IngestRefusal::OwnDot => Fault::OwnDot { dot },
        IngestRefusal::BrokenChain => Fault::Forked { dot },
        IngestRefusal::Frozen { last } => Fault::Frozen { dot, last },
        IngestRefusal::FromRemoved => Fault::NotAMember,
        IngestRefusal::Malformed(cause) => Fault::BadRecord(BadRecord::Malformed { dot, cause }),
        IngestRefusal::ContradictsContext(cause) => Fault::BadRecord(BadRecord::ContradictsContext { dot, cause }),
        IngestRefusal::UnknownOperation { .. }
        | IngestRefusal::NoSpace
        | IngestRefusal::Busy
        | IngestRefusal::RevisionsExhausted
        | IngestRefusal::Poisoned => Fault::LocalTrouble,
    }
}
