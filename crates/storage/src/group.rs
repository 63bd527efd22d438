//! A group of commits on its way to the disk.
//!
//! Making a group durable is most of the time a put takes, and needs nothing of the committer. A caller that has a second thread
//! for it lets the next group be executed meanwhile:
//!
//! 1. [`Committer::seal`](crate::Committer::seal) closes the group; executing goes on at once;
//! 2. [`Group::persist`], on any thread, waits for the disk;
//! 3. [`Committer::publish`](crate::Committer::publish) makes it visible, and only then is anything acknowledged.
//!
//! One group is under way at a time: groups reach the disk in the order in which they were executed.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_crdt::{Chain, Dot};

use crate::{
    Commit, SystemSibling,
    engine::Change,
    fence::Fence,
    store::{Published, Shared},
};

/// A group of commits on its way to the disk.
#[must_use = "a group that is dropped is never published, and no other can be sealed after it"]
pub struct Group {
    pub(crate) shared: Arc<Shared>,
    pub(crate) changes: Vec<Change>,
    pub(crate) commits: Vec<Arc<Commit>>,
    pub(crate) landmark: Landmark,
    /// What became of it; `None` until it was brought to the disk.
    pub(crate) outcome: Option<Result<(), String>>,
}

/// Where everything stood when a group was closed: what readers are shown once it is durable.
pub(crate) struct Landmark {
    pub(crate) published: Published,
    /// The last record of each author of which the group holds records, with its chain.
    pub(crate) heads: Vec<(Dot, Chain)>,
    pub(crate) digest: u128,
    /// What the keys of the system's data hold that the group changed.
    pub(crate) system: Vec<(Bytes, Arc<[SystemSibling]>)>,
    pub(crate) row_bytes: u64,
    pub(crate) base: Option<StagedBase>,
    pub(crate) fence: Fence,
}

/// What readers must know of a compaction once it is durable.
#[derive(Clone, Copy)]
pub(crate) struct StagedBase {
    pub(crate) horizon: u64,
    pub(crate) first: u64,
}

impl Group {
    /// Waits until the group is as durable as the store's [`Durability`](crate::Durability) asks. Failure is not told here but
    /// to whoever publishes the group.
    pub fn persist(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let written = self.shared.engine.write(changes, self.shared.durability.persist());
        self.outcome = Some(written.map_err(|error| error.to_string()));
    }

    /// Commits in the group.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Whether the group holds no commits, but only a compaction.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}
