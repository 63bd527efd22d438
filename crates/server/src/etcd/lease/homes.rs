//! A lease at its home: here, or at another replica, which is asked.

use std::sync::Arc;

use tombolo_crdt::ReplicaId;
use tombolo_proto::etcdserverpb::LeaseKeepAliveResponse;
use tombolo_site::TimeToLive;
use tombolo_storage::{Outcome, Request, RequestError};

use crate::{
    committer::Refusal,
    etcd::{kv::mismatched, status::Fault},
    mesh::errands::{self, Errand, ErrandError, Word},
    replica::Replica,
};

/// The leases of every home, as seen from here.
#[derive(Clone)]
pub(super) struct Homes(pub(super) Arc<Replica>);

impl Homes {
    /// The keys of a lease; `None` when it has just ended.
    pub(super) async fn keys(&self, id: i64) -> Result<Option<Vec<bytes::Bytes>>, Fault> {
        match self.0.commit(Request::LeaseKeys { id }, 0).await {
            Ok(answer) => match answer.outcome {
                Outcome::LeaseKeys(keys) => Ok(Some(keys)),
                _ => Err(mismatched()),
            },
            Err(Refusal::Request(why)) if matches!(*why, RequestError::LeaseNotFound { .. }) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// The home of a lease, when that is another replica.
    pub(super) fn home_elsewhere(&self, id: i64) -> Option<ReplicaId> {
        let home = self.0.store.lease_home(id).map(|home| self.0.mesh.roster().heir(home));
        home.filter(|home| *home != self.0.mesh.own())
    }

    /// Has the lease's home do something.
    async fn at_home(&self, home: ReplicaId, id: i64, errand: Errand) -> Result<Word, Fault> {
        errands::run(&self.0.mesh, home, errand).await.map_err(|why| self.out_of_reach(home, id, why))
    }

    fn out_of_reach(&self, home: ReplicaId, id: i64, why: ErrandError) -> Fault {
        Fault::LeaseElsewhere { id, home: self.0.mesh.call(home), why: why.to_string() }
    }

    /// Ends a lease of another site, and returns when that is so here too.
    pub(super) async fn revoke_elsewhere(&self, home: ReplicaId, id: i64) -> Result<(), Fault> {
        let seen = errands::unknown_to(&self.0.mesh, home);
        match self.at_home(home, id, Errand::Revoke { id, seen }).await? {
            Word::Revoked { seq } => {
                let arrived = errands::arrived(&self.0.mesh, home, seq).await;
                arrived.map_err(|why| self.out_of_reach(home, id, why))
            }
            Word::Gone => Err(Fault::LeaseNotFound),
            _ => Err(mismatched()),
        }
    }

    /// The time of a lease, wherever it is counted; `None` when there is no such lease.
    pub(super) async fn time(&self, id: i64) -> Result<Option<TimeToLive>, Fault> {
        if let Some(time) = self.0.leases.time_to_live(id) {
            return Ok(Some(time));
        }
        let Some(home) = self.home_elsewhere(id) else { return Ok(None) };
        match self.at_home(home, id, Errand::TimeToLive { id }).await? {
            Word::Left { remaining_s, granted_s } => Ok(Some(TimeToLive { remaining_s, granted_s })),
            Word::Gone => Ok(None),
            _ => Err(mismatched()),
        }
    }

    /// Has the home of a lease start its time again.
    pub(super) async fn renew_elsewhere(&self, home: ReplicaId, id: i64) -> Result<LeaseKeepAliveResponse, Fault> {
        // The header comes first: it must not speak of a revision later than the renewal.
        let header = self.0.header_now();
        let ttl = match self.at_home(home, id, Errand::Renew { id }).await? {
            Word::Renewed { ttl_s } => ttl_s,
            Word::Gone => 0,
            _ => return Err(mismatched()),
        };
        Ok(LeaseKeepAliveResponse { header: Some(header), id, ttl })
    }
}
