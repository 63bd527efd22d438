//! What a session is told.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tombolo_crdt::{ContextFault, DecodeError, Dot, SignedHead, VersionVector};

use crate::{Equivocation, Link, StabilityRow, Standing};

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A frame's payload arrived from the peer. Hand in the newest standing first.
    Frame(Bytes),
    /// A part of a frame arrived: a large one over a slow link is not silence.
    Arriving,
    /// Something became durable here, whoever wrote it.
    Advanced {
        /// Where this replica stands now.
        standing: Arc<Standing>,
        /// Milliseconds since the Unix epoch.
        wall_ms: u64,
    },
    /// Stability rows that were learned elsewhere, for the peer.
    Rows(Vec<StabilityRow>),
    /// The answer to a load.
    Loaded(Result<Loaded, LoadFailure>),
    /// The answer to an ingest.
    Ingested(IngestReport),
    /// The host has a question for the peer. [`Output::Answered`](crate::Output::Answered) says what came of it, once.
    Ask {
        /// What the host knows it by.
        token: u64,
        /// The question.
        body: Bytes,
    },
    /// The host's answer to [`Output::Asked`](crate::Output::Asked). Empty when it has none. One that is longer than
    /// [`ASK_BODY_BYTES_MAX`](crate::ASK_BODY_BYTES_MAX) is sent as an empty one.
    Answer {
        /// The question's number.
        id: u64,
        /// The answer.
        body: Bytes,
    },
    /// What the peer is to be told of the link, now and until the next. Of a host that never says anything every link carries
    /// everything.
    Link(Link),
    /// The host wants a page of the peer's state. [`Output::Pulled`](crate::Output::Pulled) says what came of it, once.
    Pull {
        /// What the host knows it by.
        token: u64,
        /// Which page: at most [`PULL_BODY_BYTES_MAX`](crate::PULL_BODY_BYTES_MAX).
        body: Bytes,
    },
    /// The host's answer to [`Output::PullAsked`](crate::Output::PullAsked). Empty when it has none. One that is longer than
    /// [`PAGE_BODY_BYTES_MAX`](crate::PAGE_BODY_BYTES_MAX) is sent as an empty one.
    Page {
        /// The pull's number.
        id: u64,
        /// The page.
        body: Bytes,
    },
    /// The moment that was asked for has come.
    Deadline,
    /// The session is no longer wanted.
    Stop,
}

/// Why a question has no answer, or a pull no page.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskFailure {
    /// The peer has not said hello. Nothing was sent.
    #[error("the peer has not said hello")]
    NotEstablished,
    /// The question is too long. Nothing was sent.
    #[error("the question has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The size allowed.
        max: usize,
    },
    /// Too many are unanswered. Nothing was sent.
    #[error("{max} questions are unanswered, which is the most")]
    TooMany {
        /// How many may be.
        max: usize,
    },
    /// The session ended first. Whether the peer did what it was asked for is not known.
    #[error("the session ended before the answer came")]
    Closed,
}

/// A stretch of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The records that `seen` did not cover, in the order in which they were applied here, as their authors wrote them.
    pub records: Vec<(Dot, Bytes)>,
    /// For each author among them the signed head at its last record there, ascending by author.
    pub heads: Vec<SignedHead>,
    /// The first commit that was not looked at.
    pub next: u64,
}

/// Why the log was not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadFailure {
    /// The peer lacks records that are no longer in the log.
    #[error("the log is complete only from {floor:?} on")]
    BelowFloor {
        /// What the peer must have applied.
        floor: VersionVector,
    },
    /// The log could not be read.
    #[error("the log could not be read: {cause}")]
    Unreadable {
        /// What went wrong.
        cause: String,
    },
}

/// What became of a batch: all of its records are applied, durably, but for those that were before, or none is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// How many of its records, from the first on, may be applied.
    pub passed: usize,
    /// Why the next one, the record at index `passed`, was refused, and the batch with it. Those after it were not looked at. `None`: all
    /// are applied.
    pub refused: Option<IngestRefusal>,
}

/// Why a record was not applied. One that was applied before is not refused: it counts as taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IngestRefusal {
    /// Records of its author before it are missing here.
    #[error("the record of seq {expected} of its author is next")]
    Gap {
        /// The seq that would follow.
        expected: u64,
    },
    /// Something that its author had applied is missing here.
    #[error("it depends on {missing}, which is not applied")]
    MissingContext {
        /// What it depends on.
        missing: Dot,
    },
    /// It carries this replica's name, but this replica did not write it.
    #[error("it claims to be ours, and is beyond what we wrote")]
    OwnDot,
    /// Its chain does not follow from its author's previous record.
    #[error("it does not chain to the record before it")]
    BrokenChain,
    /// Its author was removed, and its stream is complete without it.
    #[error("its author was removed, and its records end at {last}")]
    Frozen {
        /// The last record of the author.
        last: u64,
    },
    /// It comes from a member that was removed, from which nothing is taken any more.
    #[error("the peer is not a member any more")]
    FromRemoved,
    /// Its chain does not follow, and its author has signed for both.
    #[error("its author has signed two histories: {0}")]
    Equivocated(Box<Equivocation>),
    /// It came without a signed head of its author at it, or at a later one.
    #[error("it is not signed")]
    Unsigned,
    /// The signed head that it came with is not its author's.
    #[error("its signature is not its author's")]
    ForgedHead,
    /// Nothing proves that its author is a member.
    #[error("nothing proves that its author is a member")]
    UnprovenAuthor,
    /// Its bytes are not a record.
    #[error("its bytes are not a record: {0}")]
    Malformed(DecodeError),
    /// It contradicts its author's own context.
    #[error("it contradicts its context: {0}")]
    ContradictsContext(ContextFault),
    /// It holds an operation of a kind that this version cannot interpret.
    #[error("it holds an operation of unknown kind {kind}")]
    UnknownOperation {
        /// The kind's number.
        kind: u64,
    },
    /// The disk has no room to write safely.
    #[error("the disk is full")]
    NoSpace,
    /// The store has too much to do to take it now.
    #[error("the store is busy")]
    Busy,
    /// This replica's share of the revision space is used up.
    #[error("this replica has no revisions left in its slot")]
    RevisionsExhausted,
    /// The store only reads until it is reopened.
    #[error("the store is poisoned")]
    Poisoned,
}
