//! The receiving side: records wait here until the store has taken them.
//!
//! Records come in stretches: as many as their sender likes, and then the signed heads of their authors. A stretch goes to the store as a
//! whole, several together, and not before it is signed.
//!
//! A ledger mirrors what the peer counts as unacknowledged, by the same rule on both sides: a record leaves it from the front
//! when what was told covers it. So the peer can be held to its window, whatever else brings the same records.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tombolo_crdt::{Dot, RecordHeader, ReplicaId, SignedHead, VersionVector};

use super::{
    input::{IngestRefusal, IngestReport},
    limits::Limits,
    output::{Event, Output},
    standing::{Moment, Standing},
    status::Readiness,
};
use crate::{BadRecord, Batch, Fault, signer::chain_of};

/// What has come from one peer.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Everything that the peer has not been told is applied, with sizes, oldest first.
    ledger: VecDeque<(Dot, u64)>,
    ledger_bytes: u64,
    /// What came since the last signed heads, and when the last of it did.
    unsigned: Vec<(Dot, Bytes)>,
    unsigned_since: Moment,
    /// Signed, and not handed to the store yet.
    queue: VecDeque<Stretch>,
    /// Handed to the store, which has not answered.
    batch: Vec<Stretch>,
    /// How many stretches the next batch may have, after a larger one could not be applied as a whole.
    batch_max: Option<usize>,
    readiness: Readiness,
    /// When to try again what the store could not take.
    retry_at: Option<Moment>,
    /// Records that others had brought before.
    duplicates: u64,
}

/// Records that are signed together: the peer vouches for none of them without the others.
#[derive(Debug, Default)]
struct Stretch {
    records: Vec<(Dot, Bytes)>,
    /// The head at each author's last record, ascending by author.
    heads: Vec<SignedHead>,
}

impl Stretch {
    fn bytes(&self) -> usize {
        self.records.iter().map(|(_, record)| record.len()).sum()
    }

    /// Leaves out what is applied here. Where that is another record under the same name all is left: the store is to judge it.
    fn forget_known(&mut self, standing: &Standing) {
        let is_disputed = |head: &SignedHead| {
            let SignedHead { dot, chain, .. } = *head;
            standing.frontier.seq(dot.replica) == dot.seq && standing.chain(dot.replica) != chain
        };
        if !self.heads.iter().any(is_disputed) {
            self.records.retain(|(dot, _)| !standing.frontier.covers(*dot));
            self.heads.retain(|head| !standing.frontier.covers(head.dot));
        }
    }
}

impl Intake {
    /// Takes in records as they arrive. Returns their names. O(their heads).
    pub(crate) fn receive(&mut self, now: Moment, records: Vec<Bytes>, limits: &Limits) -> Result<Vec<Dot>, Fault> {
        let mut dots = Vec::with_capacity(records.len());
        self.unsigned_since = now;
        for bytes in records {
            let header = RecordHeader::decode(bytes.clone());
            let dot = header.map_err(|error| Fault::BadRecord(BadRecord::Nameless(error)))?.dot;
            let unacked = self.ledger_bytes + bytes.len() as u64;
            if unacked > limits.window_bytes && !self.ledger.is_empty() {
                return Err(Fault::Flooded { bytes: unacked, max: limits.window_bytes });
            }
            self.ledger.push_back((dot, bytes.len() as u64));
            self.ledger_bytes = unacked;
            self.unsigned.push((dot, bytes));
            dots.push(dot);
        }
        Ok(dots)
    }

    /// The peer says who signed what it sent last: of each author the last record. O(those records).
    pub(crate) fn signed(&mut self, heads: Vec<SignedHead>) -> Result<(), Fault> {
        let records = std::mem::take(&mut self.unsigned);
        let last: BTreeMap<ReplicaId, (Dot, &Bytes)> =
            records.iter().map(|(dot, bytes)| (dot.replica, (*dot, bytes))).collect();
        if let Some(stray) =
            heads.iter().find(|head| last.get(&head.dot.replica).is_none_or(|(dot, _)| *dot != head.dot))
        {
            return Err(Fault::StrayHead { dot: stray.dot });
        }
        for (dot, bytes) in last.into_values() {
            // Both ascend by author.
            match heads.iter().find(|head| head.dot == dot) {
                None => return Err(Fault::Unsigned { dot }),
                Some(head) if Some(head.chain) != chain_of(bytes) => return Err(Fault::ForgedHead { dot }),
                Some(_) => {}
            }
        }
        if self.readiness != Readiness::Stopped {
            self.queue.push_back(Stretch { records, heads });
        }
        Ok(())
    }

    /// Hands the next records to the store, unless it is at work or needs a pause.
    pub(crate) fn pump(&mut self, now: Moment, standing: &Standing, limits: &Limits) -> Option<Output> {
        // What others brought meanwhile is held for the store no longer than it counts against the window.
        while let Some(stretch) = self.queue.front_mut() {
            stretch.forget_known(standing);
            if !stretch.records.is_empty() {
                break;
            }
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
        let (mut records, mut bytes) = (0, 0);
        while self.batch_max.is_none_or(|max| self.batch.len() < max) {
            let fits = |next: &mut Stretch| {
                records == 0
                    || (records + next.records.len() <= limits.batch_records
                        && bytes + next.bytes() <= limits.batch_bytes)
            };
            let Some(mut next) = self.queue.pop_front_if(fits) else { break };
            next.forget_known(standing);
            if next.records.is_empty() {
                continue;
            }
            (records, bytes) = (records + next.records.len(), bytes + next.bytes());
            self.batch.push(next);
        }
        (!self.batch.is_empty()).then(|| Output::Ingest(batch(&self.batch)))
    }

    /// Takes note of what became of the records handed to the store.
    pub(crate) fn ingested(
        &mut self,
        now: Moment,
        report: IngestReport,
        limits: &Limits,
    ) -> Result<Option<Event>, Fault> {
        let batch = std::mem::take(&mut self.batch);
        let refused = batch.iter().flat_map(|stretch| &stretch.records).nth(report.passed).map(|(dot, _)| *dot);
        let (Some(refusal), Some(dot)) = (report.refused, refused) else {
            (self.readiness, self.batch_max) = (Readiness::Ready, None);
            return Ok(None);
        };
        match refusal {
            IngestRefusal::NoSpace | IngestRefusal::Busy => {
                let pause_ms = if refusal == IngestRefusal::Busy { limits.busy_ms } else { limits.retry_ms };
                self.put_back(batch);
                self.retry_at = Some(now.after(pause_ms));
                self.readiness = Readiness::Busy;
                Ok(None)
            }
            IngestRefusal::UnknownOperation { .. } | IngestRefusal::RevisionsExhausted
                if let whole @ 1.. = whole_before(&batch, report.passed) =>
            {
                // Everything before is applied all the same, as far as it is signed.
                self.put_back(batch);
                self.batch_max = Some(whole);
                Ok(None)
            }
            IngestRefusal::UnknownOperation { kind } => Ok(Some(self.stop(Event::Upgrade { dot, kind }))),
            IngestRefusal::RevisionsExhausted => Ok(Some(self.stop(Event::RevisionsExhausted))),
            refusal => Err(fault(dot, refusal)),
        }
    }

    fn put_back(&mut self, batch: Vec<Stretch>) {
        batch.into_iter().rev().for_each(|stretch| self.queue.push_front(stretch));
    }

    /// Since when records wait to be signed, and the last of them.
    pub(crate) fn unsigned_since(&self) -> Option<(Moment, Dot)> {
        self.unsigned.last().map(|(dot, _)| (self.unsigned_since, *dot))
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

/// Several stretches as one batch: of each author the newest head counts.
fn batch(stretches: &[Stretch]) -> Batch {
    let records = stretches.iter().flat_map(|stretch| &stretch.records).map(|(_, bytes)| bytes.clone()).collect();
    let heads: BTreeMap<ReplicaId, SignedHead> =
        stretches.iter().flat_map(|stretch| &stretch.heads).map(|head| (head.dot.replica, *head)).collect();
    Batch { records, heads: heads.into_values().collect() }
}

/// How many stretches end before the record at this place.
fn whole_before(stretches: &[Stretch], record: usize) -> usize {
    let mut ends = stretches.iter().scan(0, |end, stretch| {
        *end += stretch.records.len();
        Some(*end)
    });
    ends.by_ref().take_while(|end| *end <= record).count()
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
        IngestRefusal::Equivocated(evidence) => Fault::Equivocated { dot, evidence },
        IngestRefusal::Unsigned => Fault::Unsigned { dot },
        IngestRefusal::ForgedHead => Fault::ForgedHead { dot },
        IngestRefusal::UnprovenAuthor => Fault::UnprovenAuthor { dot },
        IngestRefusal::Malformed(cause) => Fault::BadRecord(BadRecord::Malformed { dot, cause }),
        IngestRefusal::ContradictsContext(cause) => Fault::BadRecord(BadRecord::ContradictsContext { dot, cause }),
        IngestRefusal::UnknownOperation { .. }
        | IngestRefusal::NoSpace
        | IngestRefusal::Busy
        | IngestRefusal::RevisionsExhausted
        | IngestRefusal::Poisoned => Fault::LocalTrouble,
    }
}
