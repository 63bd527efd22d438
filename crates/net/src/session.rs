//! The anti-entropy protocol with one peer over one connection, as a value.

use std::{collections::VecDeque, sync::Arc};

use tombolo_crdt::ReplicaId;

use self::{
    input::Input,
    limits::Limits,
    output::Output,
    standing::{Moment, Standing},
    status::PeerStatus,
};
use crate::Fault;

pub(crate) mod fault;
pub(crate) mod input;
pub(crate) mod limits;
pub(crate) mod output;
pub(crate) mod standing;
pub(crate) mod status;

/// The version of the protocol.
pub const PROTOCOL: u8 = 1;

/// Who talks to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The mesh that both belong to.
    pub mesh: u128,
    /// This replica.
    pub own: ReplicaId,
    /// The peer, as the connection has proved it.
    pub peer: ReplicaId,
    /// Bounds and intervals.
    pub limits: Limits,
}

/// The protocol with one peer.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    standing: Arc<Standing>,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session on a new connection. Its first output is the hello.
    pub fn new(settings: Settings, standing: Arc<Standing>, _now: Moment, _wall_ms: u64) -> Self {
        Self { settings, standing, outputs: VecDeque::new() }
    }

    /// Takes note of what happened. [`poll`](Self::poll) until it returns `None` before the next call.
    pub fn handle(&mut self, _now: Moment, input: Input) {
        if let Input::Advanced { standing, .. } = input {
            self.standing = standing;
        }
    }

    /// Ends the session for a reason that the driver has found.
    pub fn close(&mut self, fault: Fault) {
        self.outputs.push_back(Output::Close(fault));
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How it stands with the peer.
    pub fn status(&self, _now: Moment) -> PeerStatus {
        let _ = &self.settings;
        PeerStatus::default()
    }
}
