//! Asking for a compaction: what it means for readers at once, and what is written down for the sweep.

use crate::{
    Answer, Committer, Outcome, ReadError, RequestError, WallTime,
    committer::{HeadRows, first_commit_at},
    group::StagedBase,
    query,
    row::base::{BaseRow, Progress},
    since_base::SinceBase,
};

impl Committer {
    /// Forgets history below `revision`: at once for readers, on disk when [`maintain`](Self::maintain) gets to it.
    pub(crate) fn compact(&mut self, wall: WallTime, revision: i64) -> Result<Answer, RequestError> {
        let asked = revision;
        if revision <= self.head.compacted {
            return Err(ReadError::Compacted { oldest: self.head.compacted.max(1) }.into());
        }
        // 0 reads as "now" elsewhere; here it is the number that it is, as in etcd.
        let revision = if asked <= 0 {
            asked
        } else {
            query::read_revision(asked, self.head.revision, self.head.compacted, &self.head.numbers)?
        };
        self.rebase(wall, revision, false)?;
        Ok(Answer { revision: self.head.revision, outcome: Outcome::Compacted })
    }

    /// Makes `revision` the oldest readable one. Where nothing lies below it but what it shows, `is_bare`, there is nothing to sweep.
    pub(crate) fn rebase(&mut self, wall: WallTime, revision: i64, is_bare: bool) -> Result<(), ReadError> {
        let (first, horizon) = self.horizon(revision)?;
        self.bind();
        self.head.compacted = revision;
        let progress = self.compaction.progress();
        let progress = if is_bare { Progress { next: horizon + 1, ..progress } } else { progress };
        let number = self.head.commit;
        let base = BaseRow {
            compacted: revision,
            first,
            horizon,
            progress,
            commit: number,
            revision: self.head.revision,
            hlc: self.head.clock.last(),
            digest: self.head.digest.bits(),
            rows: self.tally.hashes,
            mesh: self.head.mesh.clone(),
            private: self.head.private.clone(),
        };
        self.head.since_base = SinceBase::at(number);
        let written = self.compaction.ask(wall, base);
        self.staged.changes.extend(written);
        self.staged.base = Some(StagedBase { horizon, first, is_join: false });
        Ok(())
    }

    /// The first commit at which `revision` held, and the last one.
    fn horizon(&self, revision: i64) -> Result<(u64, u64), ReadError> {
        let rows = HeadRows { shared: &self.shared, staged: &self.staged };
        let dense_from = self.compaction.horizon() + 1;
        let first = first_commit_at(&rows, dense_from, self.head.commit, revision)?;
        let after = first_commit_at(&rows, first, self.head.commit, revision + 1)?;
        Ok((first.min(self.head.commit), after - 1))
    }
}
