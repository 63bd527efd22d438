//! How far a transfer has come, as operators are told.

use std::time::Duration;

use tombolo_crdt::ReplicaId;
use tombolo_storage::TransferProgress;

/// A transfer under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// From whom.
    pub(crate) provider: ReplicaId,
    pub(crate) phase: Phase,
    /// Since when this replica has been in need of it, whoever gave it before; since the server started.
    pub(crate) since: Duration,
    pub(crate) counts: TransferProgress,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The provider is asked what there is.
    Opening,
    /// Pages come and are staged.
    Taking,
    /// What came is joined with the state.
    Joining,
}
