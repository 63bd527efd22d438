//! The head state: where the committer stands, published or not.

use std::collections::BTreeSet;

use bytes::Bytes;
use tombolo_crdt::{Chain, Clock, LeaseRef, ReplicaId};

use crate::{
    Revision,
    digest::Digest,
    event::LeaseChange,
    import::Given,
    index::Index,
    lease_homes::LeaseHomes,
    lineage::Numbers,
    log::Log,
    merge::{Merge, Merged},
    row::commit::{CommitRow, Layer, Part},
    since_base::SinceBase,
    system::SystemRegisters,
};

/// Where the committer stands.
pub(crate) struct Head {
    /// The last commit.
    pub(crate) commit: u64,
    /// The revision after it.
    pub(crate) revision: Revision,
    /// The revisions that are ours.
    pub(crate) numbers: Numbers,
    pub(crate) lease_homes: LeaseHomes,
    /// The oldest readable revision, -1 while there was no compaction.
    pub(crate) compacted: i64,
    pub(crate) mesh: Log,
    pub(crate) private: Log,
    pub(crate) clock: Clock,
    pub(crate) digest: Digest,
    /// Leases of ours that may have elements attached although they do not exist.
    pub(crate) orphaned: BTreeSet<LeaseRef>,
    pub(crate) system: SystemRegisters,
    /// What has ended that the keys of a row do not lead to, while its rows are kept.
    pub(crate) ended: Vec<Ended>,
    /// What the newest compaction counts and is gone since.
    pub(crate) since_base: SinceBase,
}

/// A grant, or a value of the system's data, that no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The commit that added it.
    pub(crate) added: u64,
    /// The commit that ended it.
    pub(crate) by: u64,
}

impl Head {
    /// Whether the time of a lease with this home is counted here.
    pub(crate) fn is_home(&self, home: ReplicaId) -> bool {
        self.lease_homes.is_home(self.mesh.own(), home, &self.numbers.lineage)
    }

    /// What stands for it while a join is prepared that begins after `commit` and `revision`: it has nothing yet but the name of everything.
    pub(crate) fn beside(&self, commit: u64, revision: Revision) -> Self {
        Self {
            commit,
            revision,
            numbers: self.numbers.clone(),
            lease_homes: self.lease_homes.clone(),
            compacted: self.compacted,
            mesh: self.mesh.clone(),
            private: self.private.clone(),
            clock: Clock::default(),
            digest: Digest::default(),
            orphaned: BTreeSet::new(),
            system: SystemRegisters::default(),
            ended: Vec::new(),
            since_base: SinceBase::at(commit),
        }
    }

    pub(crate) fn log(&self, layer: Layer) -> &Log {
        match layer {
            Layer::Mesh => &self.mesh,
            Layer::Private => &self.private,
        }
    }

    pub(crate) fn log_mut(&mut self, layer: Layer) -> &mut Log {
        match layer {
            Layer::Mesh => &mut self.mesh,
            Layer::Private => &mut self.private,
        }
    }

    /// The chains of this replica's last records, of the mesh layer and of the private one.
    pub(crate) fn own_chains(&self) -> [Chain; 2] {
        [self.mesh.chain(self.mesh.own()), self.private.chain(self.private.own())]
    }

    /// Takes note of the chains of this replica's records of these numbers.
    pub(crate) fn bind(&mut self, [mesh_seq, private_seq]: [u64; 2], [mesh, private]: [Chain; 2]) {
        self.mesh.bind(mesh_seq, mesh);
        self.private.bind(private_seq, private);
    }

    /// Applies records that passed the gate as the next commit, and returns its row, what changed among leases, and the keys of
    /// the system's data that changed.
    ///
    /// The commit takes the next revision when something that etcd clients see changed; an imported one has its own. Cannot fail: what could was checked
    /// before.
    pub(crate) fn merge(
        &mut self,
        index: &mut Index,
        mut parts: Vec<Part>,
        given: Option<&Given>,
    ) -> (CommitRow, Vec<LeaseChange>, Vec<Bytes>) {
        let counted = || self.revision.next().expect("the caller made sure that there is a revision left");
        let next = given.map_or_else(counted, |given| given.revision);
        let number = self.commit + 1;
        for part in parts.iter_mut().filter(|part| part.removes_ranges()) {
            part.context = Some(self.log(part.layer).context(&part.record.header));
        }
        let mut merge = Merge::fresh(self, index, number, next);
        for part in &parts {
            merge.part(part);
        }
        let Merged { cleared, effects, leases, system } = merge.finish();
        for part in &parts {
            let log = self.log_mut(part.layer);
            if part.is_unbound {
                log.advance_unbound(&part.record.header);
            } else {
                log.advance(&part.record.header);
            }
        }
        self.commit = number;
        if !effects.is_empty() || given.is_some() {
            self.revision = next;
        }
        let mut row = CommitRow { revision: self.revision, parts, cleared, effects, ordinals: Vec::new(), apart: None };
        if let Some(given) = given {
            given.stamp(number, &mut row, index);
        }
        (row, leases, system)
    }

    /// Applies a row read back at recovery. Its effects are taken as they are: the state they were made from may be gone, or there was no record
    /// behind them.
    pub(crate) fn replay(&mut self, index: &mut Index, number: u64, row: &CommitRow) {
        let mut merge = Merge::replay(self, index, number, row);
        for part in &row.parts {
            merge.part(part);
        }
        merge.cleared(&row.cleared);
        if let Some(apart) = &row.apart {
            merge.apart(apart);
        }
        if row.is_remainder() || row.parts.is_empty() {
            merge.left_over(&row.effects);
        }
        (self.commit, self.revision) = (number, row.revision);
    }
}
