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
    input::{IngestRefusal, IngestReport, Input, LoadFailure, Loaded},
    limits::{Limits, OPERATION_KIND_MAX},
    message::Message,
    output::{Event, Output},
    standing::{Moment, Standing},
    status::{Behind, Digests, PeerStatus, Readiness},
};
pub use slots::SlotRange;
pub use stability::{Stability, StabilityRow};

mod lag;
mod session;
mod slots;
mod stability;
