//! Full contexts, rebuilt from the deltas along an author's stream.
//!
//! A record carries only what changed in its author's frontier. Whoever keeps the author's last full context can extend it
//! record by record; what a record says about causes it cannot have had is refused here, before it can do damage.

use thiserror::Error;

use crate::{Dot, Element, Record, VersionVector};

/// What a record claims against its own context. Its author breaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContextFault {
    /// A delta lists what changed; this entry did not.
    #[error("the context delta lists {entry}, but the author's context held {known} before")]
    NotNews {
        /// The entry.
        entry: Dot,
        /// The seq that the context held.
        known: u64,
    },
    /// An element was removed that the author had not seen. Applied, it would be gone where it arrived first and live where
    /// it arrived later.
    #[error("the record removes {element}, which its author had not seen")]
    RemovesUnseen {
        /// The element.
        element: Element,
    },
}

impl Record {
    /// Turns `context`, the full context of the author's previous record, into the full context of this one: everything the
    /// author had applied when it wrote, its own earlier records included, this one not. An author's first record extends
    /// the empty vector. O(named elements × log replicas).
    ///
    /// # Errors
    ///
    /// The record contradicts its context, which is left as it was. That the author's records come without gaps is for the
    /// caller to see to.
    pub fn extend_context(&self, context: &mut VersionVector) -> Result<(), ContextFault> {
        let header = &self.header;
        for entry in header.context_delta.iter() {
            let known = context.seq(entry.replica);
            if entry.seq <= known {
                return Err(ContextFault::NotNews { entry, known });
            }
        }
        // The author's own elements need no look here: decoding refuses those that are not of earlier records.
        let seen = |element: &Element| {
            element.dot.replica == header.dot.replica
                || context.covers_element(*element)
                || header.context_delta.covers_element(*element)
        };
        if let Some(&element) = self.operations.iter().flat_map(|operation| operation.named()).find(|e| !seen(e)) {
            return Err(ContextFault::RemovesUnseen { element });
        }
        context.join(&header.context_delta);
        context.raise(header.dot.replica, header.dot.seq - 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Chain, Hlc, Operation, RecordHeader, ReplicaId};

    fn id(bits: u64) -> ReplicaId {
        ReplicaId::new(bits).unwrap()
    }

    fn vector(dots: &[(u64, u64)]) -> VersionVector {
        dots.iter().map(|&(replica, seq)| Dot::new(id(replica), seq)).collect()
    }

    fn record(seq: u64, delta: &[(u64, u64)], removes: &[(u64, u64)]) -> Record {
        let elements = removes.iter().map(|&(replica, seq)| Dot::new(id(replica), seq).element(0)).collect();
        Record {
            header: RecordHeader {
                dot: Dot::new(id(1), seq),
                hlc: Hlc::default(),
                context_delta: vector(delta),
                chain: Chain::BEGINNING,
            },
            operations: vec![Operation::Remove { key: Bytes::new(), elements }],
        }
    }

    #[test]
    fn a_context_grows_by_the_delta_and_the_records_before() {
        let mut context = VersionVector::new();
        record(1, &[(2, 5)], &[(2, 5)]).extend_context(&mut context).unwrap();
        assert_eq!(context, vector(&[(2, 5)]));
        record(2, &[(3, 1)], &[(1, 1), (2, 4), (3, 1)]).extend_context(&mut context).unwrap();
        assert_eq!(context, vector(&[(1, 1), (2, 5), (3, 1)]));
    }

    #[test]
    fn a_delta_that_is_no_news_is_refused_and_changes_nothing() {
        let mut context = vector(&[(2, 5)]);
        let fault = record(1, &[(2, 5), (3, 9)], &[]).extend_context(&mut context);
        assert_eq!(fault, Err(ContextFault::NotNews { entry: Dot::new(id(2), 5), known: 5 }));
        assert_eq!(context, vector(&[(2, 5)]));
    }

    #[test]
    fn what_was_not_seen_cannot_be_removed() {
        let mut context = vector(&[(2, 5)]);
        let fault = record(1, &[(3, 9)], &[(2, 5), (2, 6)]).extend_context(&mut context);
        assert_eq!(fault, Err(ContextFault::RemovesUnseen { element: Dot::new(id(2), 6).element(0) }));
        assert_eq!(context, vector(&[(2, 5)]));
    }
}
