//! How much of the log is kept for others: what compaction drops stays on disk until every active member has what it needs of it.
//!
//! A parked or removed member holds nothing back. Who holds how much is told here, and who is parked for it is decided in
//! [`upkeep`](super::upkeep).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tombolo_crdt::{ReplicaId, VersionVector};
use tombolo_net::{Member, StabilityRow};
use tombolo_storage::{HeldBack, Store};

use super::Mesh;
use crate::replica::Replica;

/// Time between two looks at who has what. Peers tell it once a second.
const INTERVAL: Duration = Duration::from_secs(1);

impl Mesh {
    /// Takes note of what members have applied. Of strangers nothing is kept.
    pub(super) fn learn(&self, peer: ReplicaId, rows: &[StabilityRow]) {
        let roster = self.roster();
        let mut stability = self.stability.lock();
        self.words.heard(peer);
        for row in rows.iter().filter(|row| roster.member(row.member).is_some_and(|member| member.successor.is_none()))
        {
            if stability.learn(row) {
                self.words.heard(row.member);
            }
        }
    }

    /// Has the store keep what an active member may lack. While nothing has been heard of one since the start, that is everything.
    pub(super) fn hold_log(&self, store: &Store) {
        let members: BTreeSet<ReplicaId> = self.roster().active().map(Member::replica).collect();
        let is_alone = members.iter().all(|member| *member == self.own());
        let applied = || self.stability.lock().stable(&members, self.own(), &store.frontier());
        store.hold_log((!is_alone).then(applied));
    }

    /// How long nothing has been heard of a member; `None` when nothing was since the start.
    pub(crate) fn silent_for(&self, member: ReplicaId) -> Option<Duration> {
        if self.is_present(member) { Some(Duration::ZERO) } else { self.words.silent_for(member) }
    }

    /// What a member holds back of the log; `None` for this replica, and for one that is not active.
    pub(crate) fn held_back(&self, store: &Store, member: &Member) -> Option<HeldBack> {
        let holds = member.place.state == tombolo_net::MemberState::Active && member.replica() != self.own();
        holds.then(|| store.held_back_by(&self.known_of(store, member.replica())))
    }

    /// What all active members together hold back.
    pub(crate) fn log_held(&self, store: &Store) -> HeldBack {
        let of_each = self.roster().active().filter_map(|member| self.held_back(store, member)).collect::<Vec<_>>();
        of_each.into_iter().max_by_key(|held| held.bytes).unwrap_or_default()
    }

    /// What a member is known to have applied.
    fn known_of(&self, store: &Store, member: ReplicaId) -> VersionVector {
        let only = BTreeSet::from([member]);
        self.stability.lock().stable(&only, self.own(), &store.frontier())
    }

    /// Looks again from time to time, for ever.
    pub(crate) async fn keep_logs(replica: Arc<Replica>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            replica.mesh.hold_log(&replica.store);
        }
    }
}
