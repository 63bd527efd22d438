//! Records of peers come to the committer's turn, and what planted bugs make of them.

use bytes::Bytes;
use tombolo_crdt::{Dot, Operation, Record, RecordHeader, ReplicaId};
use tombolo_net::{Batch, IngestRefusal, IngestReport};
use tombolo_storage::{Delete, IngestError, KeyRange, Put, RefusedBatch, Request, WallTime};

use super::{MESH, Simulation};
use crate::{Mark, Plant, network::ConnectionId, site::Waiting};

impl Simulation<'_> {
    pub(super) fn ingest(
        &mut self,
        site: usize,
        wall: WallTime,
        (connection, from): (ConnectionId, ReplicaId),
        batch: Batch,
    ) {
        let author = |record: &Bytes| RecordHeader::decode(record.clone()).map(|header| header.dot.replica);
        let peer = self.peer_of(site, connection).map(|peer| self.sites[peer].replica);
        if batch.records.iter().any(|record| author(record).ok() != peer) {
            self.marks.hit(Mark::Forwarded);
        }
        let is_shut_out = self.sites[site].life.as_ref().is_some_and(|life| life.members.shut_out.contains(&from));
        let report = if is_shut_out {
            IngestReport { passed: 0, refused: Some(IngestRefusal::FromRemoved) }
        } else if self.sites[site].is_busy {
            self.marks.hit(Mark::Busy);
            let refusal = self.random.clone().pick(&[0, 1]);
            let refusal = if refusal == 0 { IngestRefusal::Busy } else { IngestRefusal::NoSpace };
            IngestReport { passed: 0, refused: Some(refusal) }
        } else {
            self.take(site, wall, batch)
        };
        if let Some(life) = &mut self.sites[site].life {
            life.executed.push(Waiting::Session { connection, report });
        }
    }

    /// Applies a batch of a peer.
    fn take(&mut self, site: usize, wall: WallTime, mut batch: Batch) -> IngestReport {
        let taken = IngestReport { passed: batch.records.len(), refused: None };
        let (by_clock, by_time) =
            (self.is_planted(Plant::ClockBeforeCausality), self.is_planted(Plant::TombstoneByTime));
        if by_clock || by_time {
            batch.records.retain(|record| {
                let is_stale = by_clock && self.is_older_than_shown(site, record);
                let is_buried = by_time && self.buries(site, record);
                !is_stale && !is_buried
            });
            let is_there = |dot| batch.records.iter().any(|record| is_record(record, dot));
            batch.heads.retain(|head| is_there(head.dot));
        }
        let reauthors = self.is_planted(Plant::Reauthored);
        let proven = batch.prove(MESH.0, &self.roster);
        let Some(life) = &mut self.sites[site].life else { return taken };
        let (records, heads) = match proven {
            Ok(proven) => proven.into_parts(),
            Err(report) => return report,
        };
        if reauthors {
            for request in records.into_iter().flat_map(rewritten) {
                drop(life.committer.execute(wall, request));
            }
            return taken;
        }
        match life.committer.ingest_batch(wall, records, heads) {
            Ok(_) => taken,
            Err(RefusedBatch { at, why }) => IngestReport { passed: at, refused: Some(refusal(why)) },
        }
    }

    /// Whether a record puts a key that is remembered as removed in the same millisecond or later; remembers what it removes.
    fn buries(&mut self, site: usize, record: &Bytes) -> bool {
        let Ok(record) = Record::decode(record.clone()) else { return false };
        let at = record.header.hlc.millis();
        let buried = &mut self.sites[site].buried;
        let is_buried = record.operations.iter().any(|operation| match operation {
            Operation::Put { key, .. } => buried.get(key).is_some_and(|removed| *removed >= at),
            _ => false,
        });
        for operation in &record.operations {
            if let Operation::Remove { key, .. } = operation {
                buried.insert(key.clone(), at);
            }
        }
        is_buried
    }

    /// Whether a record puts only keys whose shown value has a greater stamp.
    fn is_older_than_shown(&self, site: usize, record: &Bytes) -> bool {
        let Ok(record) = Record::decode(record.clone()) else { return false };
        let model = self.sites[site].log.model();
        let mut puts = record.operations.iter().filter_map(|operation| match operation {
            Operation::Put { key, .. } => {
                Some(model.siblings(key).into_iter().any(|(_, hlc, _)| hlc > record.header.hlc))
            }
            _ => None,
        });
        puts.next().is_some_and(|first| first && puts.all(|older| older))
    }
}

/// Whether the record has this name.
fn is_record(record: &Bytes, dot: Dot) -> bool {
    RecordHeader::decode(record.clone()).is_ok_and(|header| header.dot == dot)
}

/// What a record does, as requests of one's own.
fn rewritten(record: Bytes) -> Vec<Request> {
    let operations = Record::decode(record).map(|record| record.operations).unwrap_or_default();
    let requests = operations.into_iter().filter_map(|operation| match operation {
        Operation::Put { key, value, .. } => {
            Some(Request::Put(Put { key, value: Some(value), lease: Some(0), previous: false }))
        }
        Operation::Remove { key, .. } => {
            Some(Request::Delete(Delete { range: KeyRange::single(key), previous: false }))
        }
        _ => None,
    });
    requests.collect()
}

fn refusal(error: IngestError) -> IngestRefusal {
    match error {
        IngestError::Gap { expected, .. } => IngestRefusal::Gap { expected },
        IngestError::MissingContext { missing, .. } => IngestRefusal::MissingContext { missing },
        IngestError::OwnDot { .. } => IngestRefusal::OwnDot,
        IngestError::BrokenChain { .. } => IngestRefusal::BrokenChain,
        IngestError::Frozen { last, .. } => IngestRefusal::Frozen { last },
        IngestError::Unsigned { .. } => IngestRefusal::Unsigned,
        IngestError::Malformed(cause) => IngestRefusal::Malformed(cause),
        IngestError::ContradictsContext(cause) => IngestRefusal::ContradictsContext(cause),
        IngestError::UnknownOperation { kind, .. } => IngestRefusal::UnknownOperation { kind },
        IngestError::NoSpace => IngestRefusal::NoSpace,
        IngestError::RevisionsExhausted => IngestRefusal::RevisionsExhausted,
        IngestError::Duplicate { .. } | IngestError::Joining => IngestRefusal::Busy,
        IngestError::Poisoned { .. } | IngestError::Read(_) => IngestRefusal::Poisoned,
    }
}
