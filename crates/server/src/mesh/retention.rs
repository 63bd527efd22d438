//! How much of the log is kept for others: what compaction drops stays on disk until every member has what it needs of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tombolo_crdt::ReplicaId;
use tombolo_net::StabilityRow;
use tombolo_storage::Store;

use super::Mesh;
use crate::replica::Replica;

/// Time between two looks at who has what. Peers tell it once a second.
const INTERVAL: Duration = Duration::from_secs(1);

impl Mesh {
    /// Takes note of what members have applied. Of strangers nothing is kept.
    pub(super) fn learn(&self, rows: &[StabilityRow]) {
        let roster = self.roster();
        let mut stability = self.stability.lock();
        for row in rows.iter().filter(|row| roster.member(row.member).is_some_and(|member| member.successor.is_none()))
        {
            stability.learn(row);
        }
    }

    /// Has the store keep what a member may lack. While nothing has been heard of one since the start, that is everything.
    pub(super) fn hold_log(&self, store: &Store) {
        let members: BTreeSet<ReplicaId> = self.roster().members().map(|member| member.replica()).collect();
        let is_alone = members.iter().all(|member| *member == self.own());
        let applied = || self.stability.lock().stable(&members, self.own(), &store.frontier());
        store.hold_log((!is_alone).then(applied));
    }

    /// Looks again from time to time, for ever.
    pub(crate) async fn keep_logs(replica: Arc<Replica>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            replica.mesh.hold_log(&replica.store);
        }
    }
}
