//! How a store is opened, and the moment at which things happen to it.

use tombolo_crdt::ReplicaId;

use crate::{Durability, LOG_HELD_BYTES_MAX, MeshId, Slot};

/// A moment of the wall clock: milliseconds since the Unix epoch. The store never looks at a clock; callers say what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub u64);

/// What [`Store::open`](crate::Store::open) needs to know besides the folder.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// When a commit counts as done.
    pub durability: Durability,
    /// The moment of opening.
    pub wall: WallTime,
    /// Fresh randomness. The identity of a new folder is minted from it, and the index in memory keyed.
    pub entropy: [u8; 32],
    /// Bytes of rows in use above which clients can add no more; `None`: there is no such limit.
    pub quota_bytes: Option<u64>,
    /// Bytes of the log that are held for peers at most: see [`Store::hold_log`](crate::Store::hold_log).
    pub log_budget_bytes: u64,
    /// Who a new folder belongs to. Opening an existing folder does not use it.
    pub founding: Founding,
    /// What to do about a folder whose identity must not be used again.
    pub on_loss: OnLoss,
}

/// What to do about a folder whose identity must not be used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Refuse it, and leave it as it is.
    #[default]
    Refuse,
    /// As [`Succeed`](Self::Succeed), but refuse when something that was acknowledged is lost and nobody else is in the log who may have it.
    SucceedAmongOthers,
    /// Go on in the same folder under a new name, which [`entropy`](OpenOptions::entropy) is minted from. A copied folder is refused all the same.
    Succeed,
}

/// Who a new folder belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Founding {
    /// A mesh of its own, of which it is the first replica.
    #[default]
    NewMesh,
    /// A mesh that there is, as the replica that was admitted to it.
    Join {
        /// The mesh.
        mesh: MeshId,
        /// The replica. Nobody else may ever have written under this name.
        replica: ReplicaId,
        /// The share of the revision space that it was handed: the store begins at its [beginning](Slot::beginning).
        slot: Slot,
    },
}

impl OpenOptions {
    /// The default: fsync before a commit counts as done; no quota; a log of 4 GiB for peers; a new folder begins a mesh of its own.
    pub fn new(wall: WallTime, entropy: [u8; 32]) -> Self {
        let (durability, founding, on_loss) = (Durability::Fsync, Founding::NewMesh, OnLoss::Refuse);
        let log_budget_bytes = LOG_HELD_BYTES_MAX;
        Self { durability, wall, entropy, quota_bytes: None, log_budget_bytes, founding, on_loss }
    }
}
