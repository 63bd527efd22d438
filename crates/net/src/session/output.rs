//! What a session asks for.

use bytes::Bytes;
use tombolo_crdt::{Dot, VersionVector};

use crate::{AskFailure, Batch, Fault, Link, Moment, StabilityRow};

/// What to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a frame with this payload to the peer.
    Send(Bytes),
    /// Read the log and answer with [`Input::Loaded`](crate::Input::Loaded). At most one is outstanding.
    Load {
        /// Records that need not be read.
        seen: VersionVector,
        /// The first commit to look at.
        from: u64,
        /// Commits to look at, at most.
        commits: usize,
        /// Bytes of records to return, at most; a single record may exceed it.
        bytes: usize,
    },
    /// [Prove](Batch::prove) these records, apply them in order, all or none, make them durable with their heads, and answer with
    /// [`Input::Ingested`](crate::Input::Ingested). At most one is outstanding.
    Ingest(Batch),
    /// Call with [`Input::Deadline`](crate::Input::Deadline) at this moment, and not at the one asked for before.
    Deadline(Moment),
    /// The peer asks something. Answer with [`Input::Answer`](crate::Input::Answer), in any order, when it suits. At most
    /// [`Limits::asks_max`](crate::Limits::asks_max) are unanswered.
    Asked {
        /// The question's number.
        id: u64,
        /// The question.
        body: Bytes,
    },
    /// What came of an [`Input::Ask`](crate::Input::Ask). An empty answer says that the peer has none.
    Answered {
        /// What the host knows it by.
        token: u64,
        /// The answer.
        answer: Result<Bytes, AskFailure>,
    },
    /// What the peer says of the link. Whether it is sent records this session sees to.
    Linked(Link),
    /// The peer pulls a page of a transfer of state. Answer with [`Input::Page`](crate::Input::Page), in any order. At most
    /// [`Limits::pulls_max`](crate::Limits::pulls_max) are unanswered.
    PullAsked {
        /// The pull's number.
        id: u64,
        /// Which page.
        body: Bytes,
    },
    /// What came of an [`Input::Pull`](crate::Input::Pull). An empty page says that the peer has none.
    Pulled {
        /// What the host knows it by.
        token: u64,
        /// The page.
        page: Result<Bytes, AskFailure>,
    },
    /// Something that the host may want to know.
    Event(Event),
    /// The session has ended; there is no output after this one. What was sent before is still to be sent.
    Close(Fault),
}

/// What a host may want to know. None of it ends the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has said hello, and belongs to us.
    Established {
        /// The highest kind of operation that the peer can interpret.
        kinds: u64,
    },
    /// The peer lacks records that are no longer in our log: it needs a transfer of state.
    NeedsState {
        /// What it would have to have.
        floor: VersionVector,
    },
    /// We lack records that are no longer in the peer's log.
    LacksState {
        /// What we would have to have.
        floor: VersionVector,
    },
    /// The peer's clock is this far ahead of ours (behind, when negative), in milliseconds.
    Skew(i64),
    /// Peer and we have applied the same records and hold different state.
    Corrupt {
        /// The records.
        frontier: VersionVector,
        /// Our digest.
        own: u128,
        /// The peer's digest.
        peer: u128,
    },
    /// A record holds an operation of a kind that this version cannot interpret. Nothing more is applied from this peer.
    Upgrade {
        /// The record.
        dot: Dot,
        /// The kind's number.
        kind: u64,
    },
    /// This replica has no revisions left. Nothing more is applied from this peer.
    RevisionsExhausted,
    /// The log could not be read for the peer; it will be tried again.
    Unreadable {
        /// What went wrong.
        cause: String,
    },
    /// What the peer and those behind it have applied, as far as it is news on this connection.
    Rows(Vec<StabilityRow>),
}
