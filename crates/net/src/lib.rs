//! How replicas exchange records: the anti-entropy protocol as a value, and its driver over QUIC.
//!
//! A [`Session`] is the protocol with one peer over one connection. It knows no socket, no disk, no runtime and no clock; it
//! is told what happens and says what to do. Whoever drives it obeys one rule:
//!
//! > After every call that takes `&mut Session`, drain [`Session::poll`] until it answers `None` before the next call.
//!
//! `docs/protocol.md` has the messages byte by byte, the rules and the faults.

pub use admission::{Admission, AdmissionTerms, ChainFault, TicketId};
pub use announcement::Announcement;
pub use batch::{Batch, ProvenBatch};
pub use heads::{HeadFault, sign_head};
pub use identity::{KeyError, KeyPair, PublicKey, Signature};
pub use invitation::{Invitation, Secret};
pub use lag::LagMeter;
pub use membership::{MemberState, Place};
pub use roster::{Member, Roster, RosterEntry, SecondSuccessor};
pub use session::{
    PROTOCOL, Session, Settings,
    fault::{BadRecord, Equivocation, Fault},
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
pub use signer::Signer;
pub use slots::SlotRange;
pub use stability::{Stability, StabilityRow};
pub use statement::{Saying, Statement, StatementTerms};
pub use system_key::SystemKey;
pub use ticket::{Ticket, TicketError};
pub use tree::{LinkReport, TREE_TICK_MS, Tree, TreePolicy};

mod admission;
mod announcement;
mod base64url;
mod batch;
mod heads;
mod identity;
mod invitation;
mod lag;
mod membership;
mod roster;
mod session;
mod signer;
mod slots;
mod stability;
mod statement;
mod system_key;
mod ticket;
mod tree;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "quic")]
pub use {
    framing::FrameTooLarge,
    handshake::{JoinRequest, Welcome},
    host::{Host, Report},
    join::{Candidate, JoinError, join},
    node::{
        Node,
        ask::AskError,
        config::{Contact, NodeConfig, StartError},
        pace::Rates,
        peer_error::PeerError,
        peers::{PeerState, PeerView},
        quarantine::Quarantined,
    },
    refusal::{JoinRefusal, PeerRefusal, Refusal},
};

#[cfg(feature = "quic")]
mod framing;
#[cfg(feature = "quic")]
mod handshake;
#[cfg(feature = "quic")]
mod host;
#[cfg(feature = "quic")]
mod join;
#[cfg(feature = "quic")]
mod node;
#[cfg(feature = "quic")]
mod printable;
#[cfg(feature = "quic")]
mod refusal;
#[cfg(feature = "quic")]
mod tls;
