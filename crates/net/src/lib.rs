//! How replicas exchange records: the anti-entropy protocol as a value, and its driver over QUIC.
//!
//! A [`Session`] is the protocol with one peer over one connection. It knows no socket, no disk, no runtime and no clock; it
//! is told what happens and says what to do. Whoever drives it obeys one rule:
//!
//! > After every call that takes `&mut Session`, drain [`Session::poll`] until it answers `None` before the next call.
//!
//! `docs/protocol.md` has the messages byte by byte, the rules and the faults.

pub use lag::LagMeter;
pub use session::{
    PROTOCOL, Session, Settings,
    fault::{BadRecord, Fault},
    heartbeat::Heartbeat,
    hello::Hello,
    input::{AskFailure, IngestRefusal, IngestReport, Input, LoadFailure, Loaded},
    limits::{ASK_BODY_BYTES_MAX, Limits, OPERATION_KIND_MAX, PAGE_BODY_BYTES_MAX, PULL_BODY_BYTES_MAX},
    link::{Branch, Link},
    message::Message,
    output::{Event, Output},
    packing::{BadPacking, Unpacker},
    standing::{Moment, Standing},
    status::{Behind, Digests, PeerStatus, Readiness},
};
pub use slots::SlotRange;
pub use stability::{Stability, StabilityRow};
pub use tree::{LinkReport, TREE_TICK_MS, Tree, TreePolicy};

mod lag;
mod session;
mod slots;
mod stability;
mod tree;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "quic")]
pub use {
    admission::{Admission, AdmissionTerms, ChainFault, TicketId},
    announcement::Announcement,
    framing::FrameTooLarge,
    handshake::{JoinRequest, Welcome},
    host::{Host, Report},
    identity::{KeyError, KeyPair, PublicKey, Signature},
    invitation::{Invitation, Secret},
    join::{Candidate, JoinError, join},
    membership::{MemberState, Place},
    node::{
        Node,
        ask::AskError,
        config::{Contact, NodeConfig, StartError},
        pace::Rates,
        peer_error::PeerError,
        peers::{PeerState, PeerView},
    },
    refusal::{JoinRefusal, PeerRefusal, Refusal},
    roster::{Member, Roster, RosterEntry, SecondSuccessor},
    statement::{Saying, Statement, StatementTerms},
    system_key::SystemKey,
    ticket::{Ticket, TicketError},
};

#[cfg(feature = "quic")]
mod admission;
#[cfg(feature = "quic")]
mod announcement;
#[cfg(feature = "quic")]
mod base64url;
#[cfg(feature = "quic")]
mod framing;
#[cfg(feature = "quic")]
mod handshake;
#[cfg(feature = "quic")]
mod host;
#[cfg(feature = "quic")]
mod identity;
#[cfg(feature = "quic")]
mod invitation;
#[cfg(feature = "quic")]
mod join;
#[cfg(feature = "quic")]
mod membership;
#[cfg(feature = "quic")]
mod node;
#[cfg(feature = "quic")]
mod printable;
#[cfg(feature = "quic")]
mod refusal;
#[cfg(feature = "quic")]
mod roster;
#[cfg(feature = "quic")]
mod statement;
#[cfg(feature = "quic")]
mod system_key;
#[cfg(feature = "quic")]
mod ticket;
#[cfg(feature = "quic")]
mod tls;
