//! New numbers for keys whose old ones are nobody's.
//!
//! When it is not known which of a replica's last revisions clients have seen, or with which contents, none of them compares as true any more,
//! nor can be read at. A key that was last changed in such a revision could then be compared with nothing. So its successor shows it again, at a
//! revision of its own: a commit without a record, of which nobody but this replica's clients learns. It is repeated until there is no such key,
//! so that an opening which is cut short leaves nothing undone.

use smallvec::SmallVec;

use crate::{
    CommitError, Committer, KeyRange,
    index::{Shown, Touch, View, own_key},
    row::commit::{CommitRow, Effect},
};

/// Keys that one commit shows again.
const KEYS_MAX: usize = 4096;

impl Committer {
    /// Shows every key again whose revisions are nobody's, and publishes that. Called once, before anybody reads.
    pub(crate) fn restamp(&mut self) -> Result<(), CommitError> {
        if !self.head.numbers.has_gaps() {
            return Ok(());
        }
        while let Some(row) = self.restamped() {
            self.append_own(row)?;
            self.commit()?;
        }
        Ok(())
    }

    /// The next keys with revisions that are nobody's, shown at the next revision; `None` when there are none, or no revision is left.
    fn restamped(&mut self) -> Option<CommitRow> {
        let (number, revision) = (self.head.commit + 1, self.head.revision.next()?);
        let index = &mut self.shared.state.write().index;
        let numbers = &self.head.numbers;
        let is_lost = |visible: &crate::index::Visible| {
            numbers.is_foreign(visible.mod_revision) || numbers.is_foreign(visible.shown.create_revision)
        };
        let lost = index.visible(&KeyRange::all(), i64::MAX).filter(|(_, visible)| is_lost(visible));
        let lost: Vec<_> = lost.take(KEYS_MAX).map(|(key, visible)| (own_key(key), visible.shown)).collect();
        let mut effects = SmallVec::new();
        for (key, Shown { at, create_revision, version }) in lost {
            let is_nobodys = numbers.is_foreign(create_revision);
            let create_revision = if is_nobodys { revision.get() } else { create_revision };
            let version = version + 1;
            let view = View::Shown(Shown { at, create_revision, version });
            index.entry(&key).touches.push(Touch { commit: number, revision: revision.get(), view });
            effects.push(Effect::Show { key, at, create_revision, version });
        }
        let row =
            CommitRow { revision, parts: Vec::new(), cleared: Vec::new(), effects, ordinals: Vec::new(), apart: None };
        (!row.effects.is_empty()).then_some(row)
    }
}
