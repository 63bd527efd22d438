//! How far each replica's stream has been applied here, per layer: the gate every record passes.
//!
//! The gate is what makes causal order hold: a record enters when it is its author's next one and everything in its full
//! context is applied. Where it came from does not matter.

use std::collections::BTreeMap;

use tombolo_crdt::{Chain, Dot, RecordHeader, ReplicaId, VersionVector, mutation::Mutation};

/// The applied streams of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The replica that writes here.
    own: ReplicaId,
    /// Everything applied.
    frontier: VersionVector,
    /// The last chain and the full context of each author.
    streams: BTreeMap<ReplicaId, Stream>,
    /// The entries of the frontier that rose since this replica's last record.
    risen: VersionVector,
    /// The last of this replica's records whose chain has been computed, and is that of its stream.
    bound: u64,
}

/// Where one author's stream stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The chain of its last applied record.
    pub(crate) chain: Chain,
    /// What the author had applied when it wrote that record, its own entry left out.
    pub(crate) context: VersionVector,
}

/// Why a record does not enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was applied before.
    Duplicate,
    /// Records of the same author before it are missing.
    Gap { expected: u64 },
    /// Something its author had seen has not been applied here.
    MissingContext { dot: Dot },
}

impl Log {
    pub(crate) fn new(own: ReplicaId) -> Self {
        Self { own, frontier: VersionVector::new(), streams: BTreeMap::new(), risen: VersionVector::new(), bound: 0 }
    }

    pub(crate) fn restore(own: ReplicaId, streams: BTreeMap<ReplicaId, (u64, Stream)>, risen: VersionVector) -> Self {
        let frontier: VersionVector = streams.iter().map(|(&replica, &(seq, _))| Dot::new(replica, seq)).collect();
        // Who writes here for the first time has told nobody yet what it had seen.
        let risen = if streams.contains_key(&own) { risen } else { frontier.clone() };
        let streams = streams.into_iter().map(|(replica, (_, stream))| (replica, stream)).collect();
        let bound = frontier.seq(own);
        Self { own, frontier, streams, risen, bound }
    }

    pub(crate) fn own(&self) -> ReplicaId {
        self.own
    }

    pub(crate) fn frontier(&self) -> &VersionVector {
        &self.frontier
    }

    pub(crate) fn risen(&self) -> &VersionVector {
        &self.risen
    }

    /// Where each author's stream stands, with its seq.
    ///
    /// # Panics
    ///
    /// As [`chain`](Self::chain).
    pub(crate) fn streams(&self) -> impl ExactSizeIterator<Item = (Dot, &Stream)> {
        self.assert_bound();
        self.unbound_streams()
    }

    /// The same while the chain of this replica's own stream may be an earlier one.
    fn unbound_streams(&self) -> impl ExactSizeIterator<Item = (Dot, &Stream)> {
        self.streams.iter().map(|(&replica, stream)| (Dot::new(replica, self.frontier.seq(replica)), stream))
    }

    /// Where the streams stand of the authors that stand above `frontier`; the chain of this replica's own may be an earlier one. O(authors, and
    /// their contexts).
    pub(crate) fn heads_above(&self, frontier: &VersionVector) -> Vec<(Dot, Stream)> {
        let above = self.unbound_streams().filter(|(last, _)| !frontier.covers(*last));
        above.map(|(last, stream)| (last, stream.clone())).collect()
    }

    /// Takes over where the streams of others stand that are ahead of what is here.
    pub(crate) fn join(&mut self, vector: &VersionVector, streams: &[(ReplicaId, Stream)]) {
        for (author, stream) in streams {
            let seq = vector.seq(*author);
            if *author != self.own && self.frontier.raise(*author, seq) {
                self.streams.insert(*author, stream.clone());
                self.risen.raise(*author, seq);
            }
        }
    }

    /// The name of this replica's next record.
    pub(crate) fn next_dot(&self) -> Dot {
        Dot::new(self.own, self.frontier.seq(self.own) + 1)
    }

    /// The chain of an author's last record.
    ///
    /// # Panics
    ///
    /// It is this replica's and has not been computed yet: who looks at it has the committer [bind](crate::Committer::bind) first.
    pub(crate) fn chain(&self, replica: ReplicaId) -> Chain {
        if replica == self.own {
            self.assert_bound();
        }
        self.streams.get(&replica).map_or(Chain::BEGINNING, |stream| stream.chain)
    }

    /// Whether a record may be applied now. O(entries of its context).
    pub(crate) fn gate(&self, header: &RecordHeader) -> Result<(), Refusal> {
        let expected = self.frontier.seq(header.dot.replica) + 1;
        if header.dot.seq < expected && !Mutation::DuplicatesApplied.is_on() {
            return Err(Refusal::Duplicate);
        }
        if header.dot.seq > expected {
            return Err(Refusal::Gap { expected });
        }
        // The entries that did not change were covered when the author's previous record passed.
        match header.context_delta.iter().find(|dot| !self.frontier.covers(*dot)) {
            Some(dot) if !Mutation::GateOff.is_on() => Err(Refusal::MissingContext { dot }),
            _ => Ok(()),
        }
    }

    /// The full context of an author's last record.
    pub(crate) fn stream_context(&self, replica: ReplicaId) -> VersionVector {
        self.streams.get(&replica).map_or_else(VersionVector::new, |stream| stream.context.clone())
    }

    /// What the author of a record had seen when it wrote it: its full context.
    pub(crate) fn context(&self, header: &RecordHeader) -> VersionVector {
        let mut context = self.stream_context(header.dot.replica);
        context.join(&header.context_delta);
        context.raise(header.dot.replica, header.dot.seq - 1);
        context
    }

    /// Takes note that a record which passed the gate is applied.
    pub(crate) fn advance(&mut self, header: &RecordHeader) {
        let dot = header.dot;
        self.step(header).chain = header.chain;
        if dot.replica == self.own {
            self.bound = self.bound.max(dot.seq);
        }
    }

    /// The same of one of this replica's records, whose chain is still to be computed.
    pub(crate) fn advance_unbound(&mut self, header: &RecordHeader) {
        self.step(header);
    }

    fn step(&mut self, header: &RecordHeader) -> &mut Stream {
        let dot = header.dot;
        self.frontier.raise(dot.replica, dot.seq);
        if dot.replica == self.own {
            self.risen = VersionVector::new();
        } else {
            self.risen.raise(dot.replica, dot.seq);
        }
        let stream = self.streams.entry(dot.replica).or_default();
        stream.context.join(&header.context_delta);
        stream
    }

    /// Takes note of the chain of this replica's record `seq`, of which it has one.
    pub(crate) fn bind(&mut self, seq: u64, chain: Chain) {
        if seq > self.bound {
            self.bound = seq;
            self.streams.entry(self.own).or_default().chain = chain;
        }
    }

    fn assert_bound(&self) {
        assert_eq!(
            self.bound,
            self.frontier.seq(self.own),
            "the chain of a record was asked for that is not computed yet"
        );
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::Hlc;

    use super::*;

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn header(replica: u64, seq: u64, seen: &[(u64, u64)]) -> RecordHeader {
        RecordHeader {
            dot: Dot::new(id(replica), seq),
            hlc: Hlc::default(),
            context_delta: seen.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect(),
            chain: Chain::BEGINNING,
        }
    }

    #[test]
    fn a_record_enters_once_in_order_and_after_its_causes() {
        let mut log = Log::new(id(1));
        let first = header(2, 1, &[]);
        assert_eq!(log.gate(&header(2, 2, &[])), Err(Refusal::Gap { expected: 1 }));
        assert_eq!(log.gate(&first), Ok(()));
        log.advance(&first);
        assert_eq!(log.gate(&first), Err(Refusal::Duplicate));
        let dot = Dot::new(id(3), 4);
        assert_eq!(log.gate(&header(2, 2, &[(3, 4)])), Err(Refusal::MissingContext { dot }));
    }

    #[test]
    fn a_context_grows_along_its_stream() {
        let mut log = Log::new(id(1));
        for seq in 1..=2 {
            log.advance(&header(3, seq, &[]));
        }
        log.advance(&header(2, 1, &[(3, 1)]));
        let next = header(2, 2, &[]);
        let expected = [Dot::new(id(2), 1), Dot::new(id(3), 1)].into_iter().collect();
        assert_eq!(log.context(&next), expected);
    }

    #[test]
    fn what_rose_is_told_once() {
        let mut log = Log::new(id(1));
        log.advance(&header(2, 1, &[]));
        assert_eq!(log.risen().seq(id(2)), 1);
        log.advance(&header(1, 1, &[(2, 1)]));
        assert!(log.risen().is_empty());
    }
}
