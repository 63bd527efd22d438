//! Records that go to the store together, with what proves them.
//!
//! A session hands out a [`Batch`] as its peer sent it. Whoever drives the session has it [proven](Batch::prove) before it goes to
//! a store, and a [`ProvenBatch`] can be had in no other way: nothing is applied that its author did not sign.

use bytes::Bytes;
use tombolo_crdt::{Dot, Operation, Record, RecordHeader, ReplicaId, SignedHead};

use crate::{HeadFault, IngestRefusal, IngestReport, Roster, RosterEntry, SystemKey};

/// Records as a peer sent them, in an order in which they can be applied, and for each of their authors the signed head at its
/// last record there, ascending by author.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records.
    pub records: Vec<Bytes>,
    /// The heads.
    pub heads: Vec<SignedHead>,
}

/// A batch of which every head is its author's. Whether the records lead up to the heads the store finds out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvenBatch {
    records: Vec<Bytes>,
    heads: Vec<SignedHead>,
}

impl Batch {
    /// Checks the signatures. An author that the roster does not know may be proven by the admissions that the batch itself
    /// holds. O(authors) signatures.
    ///
    /// # Errors
    ///
    /// What the host would answer: the first record of an author that is not proven, or did not sign.
    pub fn prove(self, mesh: u128, roster: &Roster) -> Result<ProvenBatch, IngestReport> {
        let judged = roster.judge_heads(mesh, &self.heads, || Ok::<_, HeadFault>(admissions(&self.records)));
        if let Err(fault) = judged {
            return Err(self.refusal(fault));
        }
        let Self { records, heads } = self;
        Ok(ProvenBatch { records, heads })
    }

    fn refusal(&self, fault: HeadFault) -> IngestReport {
        let is_of = |record: &Bytes, author: ReplicaId| {
            RecordHeader::decode(record.clone()).is_ok_and(|header| header.dot.replica == author)
        };
        let passed = self.records.iter().position(|record| is_of(record, fault.author())).unwrap_or_default();
        let refusal = match fault {
            HeadFault::Unproven { .. } => IngestRefusal::UnprovenAuthor,
            HeadFault::Forged { .. } => IngestRefusal::ForgedHead,
        };
        IngestReport { passed, refused: Some(refusal) }
    }
}

impl ProvenBatch {
    /// The records.
    pub fn records(&self) -> &[Bytes] {
        &self.records
    }

    /// The heads, ascending by author.
    pub fn heads(&self) -> &[SignedHead] {
        &self.heads
    }

    /// Takes it apart: the records, and the heads.
    pub fn into_parts(self) -> (Vec<Bytes>, Vec<SignedHead>) {
        (self.records, self.heads)
    }
}

/// What the records say of members, whoever wrote them: an admission is worth what its signatures are.
fn admissions(records: &[Bytes]) -> Vec<RosterEntry> {
    let mut entries = Vec::new();
    for record in records.iter().filter_map(|record| Record::decode(record.clone()).ok()) {
        let Dot { replica: author, seq } = record.header.dot;
        for operation in record.operations {
            if let Operation::SystemPut { key, value, .. } = operation
                && key.starts_with(SystemKey::MEMBER_PREFIX.as_bytes())
            {
                entries.push(RosterEntry { key, author, seq, value });
            }
        }
    }
    entries
}
