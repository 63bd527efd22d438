//! The named failures of a store, one enum for each kind of operation.

use std::{io, path::PathBuf};

use thiserror::Error;
use tombolo_crdt::{ContextFault, DecodeError, Dot, ReplicaId};

use crate::{ImportFault, engine::EngineError};

/// Why a folder was not opened. Nothing in it has changed, but that the engine may have tidied its own files by then.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process holds the folder.
    #[error("the data folder {path} is in use by another process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder was written by a newer version.
    #[error("the data folder has format {found}; this version knows formats up to {known}")]
    NewerFormat {
        /// The folder's format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Something that must be there is missing or does not carry its own hash.
    #[error("the data folder is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The row of a commit does not carry its own hash, cannot be read, or is missing. Where a peer has what it held, [`Salvage`](crate::Salvage)
    /// makes it again.
    #[error("the data folder is damaged: the row of commit {commit} is rotten or missing")]
    Rotten {
        /// The row's commit number.
        commit: u64,
    },
    /// Neither row of the last compaction carries its own hash, or can be read. No peer has what they said.
    #[error(
        "the data folder is damaged: the base row {ordinal} and its copy are rotten, which say where the last compaction stood"
    )]
    RottenBase {
        /// The row's ordinal; 0 when not even that can be read.
        ordinal: u64,
    },
    /// Nobody may write under the folder's identity again.
    #[error("the data folder needs a new identity: {cause}")]
    NeedsNewIdentity {
        /// Why.
        cause: IdentityLoss,
    },
    /// The engine failed.
    #[error("failed to open the engine")]
    Engine(#[from] EngineError),
    /// The file system failed.
    #[error("failed to {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why the identity of a data folder must not be used again: under it, a dot could be given to two different records.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityLoss {
    /// The folder is not the one it was created as.
    #[error("it is a copy of another folder")]
    Copied,
    /// The log ends below what was once durable.
    #[error("its log ends at commit {log}, but commit {fence} was durable once")]
    LostSuffix {
        /// Last commit of the log.
        log: u64,
        /// Last durable commit that the fence knows.
        fence: u64,
    },
    /// The log and the fence disagree about a record.
    #[error("its log and its fence disagree about commit {commit}")]
    ForkedLog {
        /// The commit.
        commit: u64,
    },
    /// The folder was not closed, and what was acknowledged was not necessarily on disk.
    #[error("it was not closed cleanly under a durability weaker than fsync")]
    UncleanWeakDurability,
    /// A sync failed: nobody knows what is on disk.
    #[error("an earlier sync or write to it failed")]
    FailedSync,
    /// Another replica has records under its name that are not in its log.
    #[error("another replica has other records under its name than are here, or more: {dot} is disputed by {by}")]
    Disputed {
        /// The record.
        dot: Dot,
        /// Who has it.
        by: ReplicaId,
    },
}

impl IdentityLoss {
    /// Whether writes that were acknowledged as durable are not in the log, or may not be.
    pub const fn takes_what_was_acknowledged(&self) -> bool {
        match self {
            Self::LostSuffix { .. } | Self::ForkedLog { .. } => true,
            // What a peer disputes, a peer has; what a weak durability promised, it may keep.
            Self::Copied | Self::UncleanWeakDurability | Self::FailedSync | Self::Disputed { .. } => false,
        }
    }

    /// The cause in a word, as folders, alarms and metrics name it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::LostSuffix { .. } => "lost-suffix",
            Self::ForkedLog { .. } => "forked-log",
            Self::UncleanWeakDurability => "weak-durability",
            Self::FailedSync => "failed-sync",
            Self::Disputed { .. } => "disputed",
        }
    }
}

/// Why a read was not answered.
#[derive(Debug, Error)]
pub enum ReadError {
    /// History below the oldest kept revision was asked for.
    #[error("the revision has been compacted; {oldest} is the oldest")]
    Compacted {
        /// The oldest revision that can be read, at least 1.
        oldest: i64,
    },
    /// A revision that has not happened was asked for.
    #[error("the revision has not happened yet; {current} is the current one")]
    FutureRevision {
        /// The current revision.
        current: i64,
    },
    /// A stored row does not carry its own hash.
    #[error("the row of commit {commit} is damaged or missing")]
    Rot {
        /// The row's commit number.
        commit: u64,
    },
    /// The engine failed.
    #[error("failed to read from the engine")]
    Engine(#[from] EngineError),
}

impl ReadError {
    /// What the engine's failure to give a commit's row means.
    pub(crate) fn at(commit: u64, error: EngineError) -> Self {
        if error.is_damage() { Self::Rot { commit } } else { Self::Engine(error) }
    }
}

/// Why a request was refused. Nothing has changed.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The named lease does not exist.
    #[error("lease {id} does not exist")]
    LeaseNotFound {
        /// The lease's number.
        id: i64,
    },
    /// A transfer is being joined, and the request must wait for it.
    #[error("a transfer of state is being joined")]
    Joining,
    /// Several other replicas have granted a lease of this number, and this one has not: which is meant cannot be told.
    #[error("several replicas have a lease {id}")]
    LeaseAmbiguous {
        /// The lease's number.
        id: i64,
    },
    /// Other keys are attached to the lease than those it was to be ended with.
    #[error("lease {id} has got other keys")]
    LeaseHoldsOthers {
        /// The lease's number.
        id: i64,
    },
    /// The named lease exists already.
    #[error("lease {id} exists already")]
    LeaseExists {
        /// The lease's number.
        id: i64,
    },
    /// A put that keeps the value or the lease names a key that does not exist.
    #[error("the key does not exist")]
    KeyNotFound,
    /// The record would be larger than a record may be.
    #[error("the record would take {bytes} bytes; at most {max} are allowed")]
    RecordTooLarge {
        /// Bytes it would take.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The record would have more operations than a record may have.
    #[error("the record would have {count} operations; at most {max} are allowed")]
    TooManyOperations {
        /// Operations it would have.
        count: usize,
        /// Operations allowed.
        max: usize,
    },
    /// A key or value of the system's data is larger than it may be.
    #[error("the {what} takes {bytes} bytes; of the system's data at most {max} are allowed")]
    SystemTooLarge {
        /// Key or value.
        what: &'static str,
        /// Bytes it takes.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A lease's time to live is out of range.
    #[error("a lease cannot live for {ttl_s} seconds")]
    LeaseTtl {
        /// The seconds asked for.
        ttl_s: i64,
    },
    /// An import is under way, or was interrupted: nothing else is written before its end.
    #[error("an import is under way")]
    Importing,
    /// A step of an import was refused.
    #[error(transparent)]
    Import(#[from] ImportFault),
    /// This replica's share of the revision space is used up.
    #[error("this replica has no revisions left in its slot")]
    RevisionsExhausted,
    /// The disk has no room to write safely, or the quota is used up.
    #[error("there is no room on the disk or in the quota")]
    NoSpace,
    /// An earlier persist failed; the store only reads until it is reopened.
    #[error("the store is poisoned: {cause}")]
    Poisoned {
        /// The failure that latched.
        cause: String,
    },
    /// Reading what the request depends on failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a record of another replica was not applied. Nothing has changed.
#[derive(Debug, Error)]
pub enum IngestError {
    /// It was applied before.
    #[error("record {dot} is applied already")]
    Duplicate {
        /// The record.
        dot: Dot,
    },
    /// Records of its author before it are missing here.
    #[error("record {dot} does not follow: record {expected} of its author is next")]
    Gap {
        /// The record.
        dot: Dot,
        /// The seq that would follow.
        expected: u64,
    },
    /// Something that its author had applied is missing here.
    #[error("record {dot} depends on {missing}, which is not applied")]
    MissingContext {
        /// The record.
        dot: Dot,
        /// What it depends on.
        missing: Dot,
    },
    /// It carries this replica's name, but this replica did not write it.
    #[error("record {dot} claims to be ours, and is beyond what we wrote")]
    OwnDot {
        /// The record.
        dot: Dot,
    },
    /// Its chain does not follow from its author's previous record: the stream is forked or forged.
    #[error("record {dot} does not chain to the record before it")]
    BrokenChain {
        /// The record.
        dot: Dot,
    },
    /// Its author's stream is complete without it: see [`Store::freeze`](crate::Store::freeze).
    #[error("record {dot} lies beyond the end of its author's records, which is {last}")]
    Frozen {
        /// The record.
        dot: Dot,
        /// The last record that there is of its author.
        last: u64,
    },
    /// It holds an operation of a kind that this version cannot interpret.
    #[error("record {dot} holds an operation of unknown kind {kind}")]
    UnknownOperation {
        /// The record.
        dot: Dot,
        /// The kind's number.
        kind: u64,
    },
    /// A transfer is being joined, which may bring it: not now.
    #[error("a transfer of state is being joined")]
    Joining,
    /// It came without a signed head of its author at it, or at a later one.
    #[error("record {dot} is not signed")]
    Unsigned {
        /// The record.
        dot: Dot,
    },
    /// It contradicts its author's own context: the author breaks the protocol.
    #[error("the record contradicts its context")]
    ContradictsContext(#[from] ContextFault),
    /// Its bytes are not a record.
    #[error("the bytes are not a record")]
    Malformed(#[from] DecodeError),
    /// This replica's share of the revision space is used up.
    #[error("this replica has no revisions left in its slot")]
    RevisionsExhausted,
    /// The disk has no room to write safely.
    #[error("the disk is full")]
    NoSpace,
    /// An earlier persist failed; the store only reads until it is reopened.
    #[error("the store is poisoned: {cause}")]
    Poisoned {
        /// The failure that latched.
        cause: String,
    },
    /// Reading what the record uncovers failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a group of requests was not made durable. What was executed in it may or may not be there after a restart.
#[derive(Debug, Error)]
pub enum CommitError {
    /// A persist failed, now or earlier; the store only reads until it is reopened.
    #[error("the store is poisoned: {cause}")]
    Poisoned {
        /// The failure that latched.
        cause: String,
    },
    /// Reading rows during housekeeping failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}
