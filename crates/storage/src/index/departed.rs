//! Elements that went lately: for whoever looks at a moment that has passed.
//!
//! The index is ahead of what is published. Whoever lists the elements of a published moment leaves out what was added since,
//! which elements say themselves, and needs what was removed since: that is kept here for as long as somebody lists. Beyond that the last
//! [`KEPT`] are kept, from which the [digest at a cut](crate::Store::digest_at) a moment ago is made. Rows tell what was removed, and here is
//! what it weighed.

use std::collections::VecDeque;

use tombolo_crdt::Element;

/// Elements that are kept although nobody lists: 4 MiB of them. A site that removes fifty thousand elements a second is compared with a peer
/// that is no more than a second behind.
const KEPT: usize = if cfg!(test) { 1 << 8 } else { 1 << 16 };

/// What went lately, ascending by the commit that removed it.
#[derive(Default)]
pub(crate) struct Departed {
    gone: VecDeque<Gone>,
    /// Everything that a later commit removed is here.
    complete_after: u64,
    /// The published moments whose elements are being listed.
    listed: Vec<u64>,
}

/// An element of the mesh layer that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    /// The commit that removed it.
    pub(crate) by: u64,
    /// The commit that added it.
    pub(crate) added: u64,
    pub(crate) element: Element,
    /// Its share of the digest.
    pub(crate) share: u128,
    /// Whether it was of the system's data, which is published as a whole: whoever lists a moment has it from there.
    pub(crate) is_system: bool,
}

impl Departed {
    pub(crate) fn note(&mut self, gone: Gone) {
        self.gone.push_back(gone);
    }

    /// Everything that was noted.
    pub(crate) fn into_gone(self) -> impl Iterator<Item = Gone> {
        self.gone.into_iter()
    }

    /// Forgets what nobody asks for once `published` is what is published.
    pub(crate) fn forget(&mut self, published: u64) {
        let kept_from = self.listed.iter().copied().min().map_or(published, |listed| listed.min(published));
        while self.gone.len() > KEPT
            && let Some(gone) = self.gone.pop_front_if(|gone| gone.by <= kept_from)
        {
            self.complete_after = gone.by;
        }
        // After a join of millions, or a long listing.
        if self.gone.capacity() > 4 * KEPT && self.gone.len() <= KEPT {
            self.gone.shrink_to(KEPT);
        }
    }

    /// What went by commits above `after` up to `last`, as far as that is [known](Self::complete_after).
    pub(crate) fn between(&self, after: u64, last: u64) -> Vec<Gone> {
        let place = |commit: u64| self.gone.partition_point(|gone| gone.by <= commit);
        self.gone.range(place(after)..place(last.max(after))).copied().collect()
    }

    /// Everything that a commit above this one removed is still known.
    pub(crate) fn complete_after(&self) -> u64 {
        self.complete_after
    }

    /// Keeps what goes after `commit`, until that is [taken](Self::end).
    pub(crate) fn begin(&mut self, commit: u64) {
        self.listed.push(commit);
    }

    /// What was there after `commit` and has gone since.
    pub(crate) fn end(&mut self, commit: u64) -> Vec<Gone> {
        if let Some(at) = self.listed.iter().position(|listed| *listed == commit) {
            self.listed.swap_remove(at);
        }
        let since = self.gone.partition_point(|gone| gone.by <= commit);
        self.gone.range(since..).filter(|gone| gone.added <= commit && !gone.is_system).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Dot, ReplicaId};

    use super::*;

    fn gone(added: u64, by: u64) -> Gone {
        let element = Dot::new(ReplicaId::new(7).unwrap(), added).element(0);
        Gone { by, added, element, share: u128::from(added), is_system: false }
    }

    #[test]
    fn what_went_is_known_for_as_long_as_somebody_lists_an_earlier_moment() {
        let mut departed = Departed::default();
        departed.note(gone(1, 3));
        departed.note(gone(3, 4));
        departed.begin(2);
        departed.note(gone(2, 5));
        (6..).take(2 * KEPT).for_each(|by| departed.note(gone(by - 1, by)));
        departed.forget(u64::MAX);
        assert_eq!(departed.end(2), [gone(1, 3), gone(2, 5)], "what came after the moment was not there");
        departed.forget(u64::MAX);
        assert_eq!(departed.end(2), []);
    }

    #[test]
    fn the_last_that_went_are_known_beyond_that_and_it_is_known_how_far_back() {
        let mut departed = Departed::default();
        departed.note(gone(1, 2));
        departed.note(gone(1, 4));
        (5..).take(KEPT - 1).for_each(|by| departed.note(gone(by - 1, by)));
        departed.forget(u64::MAX);
        assert_eq!((departed.gone.len(), departed.complete_after()), (KEPT, 2));
        assert_eq!(departed.between(2, 5), [gone(1, 4), gone(4, 5)]);
        assert_eq!(departed.between(5, 4), []);
        departed.note(Gone { is_system: true, ..gone(1, 9 + KEPT as u64) });
        departed.begin(8 + KEPT as u64);
        assert_eq!(departed.end(8 + KEPT as u64), [], "of the system's data a moment is listed whole");
    }
}
