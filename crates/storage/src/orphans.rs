//! Writes that came after their lease had ended.
//!
//! A replica attaches a key to a lease of another site while that lease, at its home, is ending. Home removes what it holds of
//! the lease when that ends; what arrives later would live for ever. So the home looks at what it applies, and removes
//! exactly such elements by a record of its own, in the same group: both are on disk, or neither.
//!
//! Who becomes the home of leases that another one granted looks for such elements then: the one who granted them may have ended them, and gone
//! before it saw what somebody else had attached.
//!
//! What cannot be removed at once, for want of room, stays known, also to whoever replays the rows, and is tried again with every
//! group and by housekeeping.

use std::sync::atomic::Ordering;

use crate::{CommitError, Committer, RequestError};

impl Committer {
    /// Removes what is attached to leases of ours that do not exist.
    pub(crate) fn remove_orphans(&mut self) -> Result<(), CommitError> {
        // An import grants the leases of what it brings at its end.
        if self.shared.is_importing.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What a join beside us brings was judged by the homes of before: it is looked through when it is here.
        if self.beside.is_none() && self.head.lease_homes.take_news() {
            self.find_orphans();
        }
        while !self.head.orphaned.is_empty() && self.space.has_room(self.wall, true, &self.shared.health) {
            let Ok((draft, settled)) = self.plan(|plan| Ok(plan.orphans())) else { return Ok(()) };
            match self.carry_out(self.wall, draft) {
                Ok(()) => settled.iter().for_each(|lease| _ = self.head.orphaned.remove(lease)),
                Err(RequestError::Read(error)) => return Err(error.into()),
                // No revision is left to do it with.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Finds the leases that do not exist and have elements attached, among those that are ours by now. O(leases).
    fn find_orphans(&mut self) {
        let state = self.shared.state.read();
        self.head.orphaned = state.index.ended_leases().filter(|lease| self.head.is_home(lease.home)).collect();
    }
}
