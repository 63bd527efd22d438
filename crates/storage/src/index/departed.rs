//! Elements that went between what is published and where the committer stands.
//!
//! The index is ahead of what is published. Whoever lists the elements of a published moment leaves out what was added since,
//! which elements say themselves, and needs what was removed since: that is kept here for so long. It is a few elements for
//! each group under way, and more only while somebody lists.

use std::collections::VecDeque;

use tombolo_crdt::Element;

/// What went lately, ascending by the commit that removed it.
#[derive(Default)]
pub(crate) struct Departed {
    gone: VecDeque<Gone>,
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
        while self.gone.front().is_some_and(|gone| gone.by <= kept_from) {
            self.gone.pop_front();
        }
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
        self.gone.iter().filter(|gone| gone.by > commit && gone.added <= commit).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::{Dot, ReplicaId};

    use super::*;

    fn gone(added: u64, by: u64) -> Gone {
        let element = Dot::new(ReplicaId::new(7).unwrap(), added).element(0);
        Gone { by, added, element, share: u128::from(added) }
    }

    #[test]
    fn what_went_is_known_for_as_long_as_somebody_lists_an_earlier_moment() {
        let mut departed = Departed::default();
        departed.note(gone(1, 3));
        departed.note(gone(3, 4));
        departed.begin(2);
        departed.note(gone(2, 5));
        departed.forget(5);
        assert_eq!(departed.end(2), [gone(1, 3), gone(2, 5)], "what came after the moment was not there");
        departed.forget(5);
        assert!(departed.gone.is_empty());
    }
}
