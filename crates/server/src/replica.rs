//! One replica as the services see it: the store with everything that stands around it.
//!
//! This is composition only. What is interesting lives below: reads in [`Reads`], writes behind [`CommitQueue`], watchers in [`Watches`], leases
//! in [`Leases`], the other sites in [`Mesh`].

use std::{path::PathBuf, sync::Arc};

use tombolo_proto::etcdserverpb::ResponseHeader;
use tombolo_storage::{Answer, Request, Revision, Store};

use crate::{
    clock::Uptime,
    committer::{CommitQueue, Refusal},
    config::Config,
    keeper::Keeper,
    leases::Leases,
    limits,
    mesh::Mesh,
    metrics::Metrics,
    policy::PolicyHolder,
    reads::Reads,
    stopping::Stopping,
    watches::Watches,
};

/// One replica. Services share it.
pub(crate) struct Replica {
    pub(crate) store: Store,
    pub(crate) reads: Reads,
    pub(crate) queue: CommitQueue,
    pub(crate) watches: Arc<Watches>,
    pub(crate) leases: Leases,
    pub(crate) mesh: Mesh,
    pub(crate) policy: PolicyHolder,
    pub(crate) keeper: Keeper,
    pub(crate) uptime: Uptime,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) facts: Facts,
    /// Turns true when the server stops: long-lived streams end then.
    pub(crate) stopping: Stopping,
}

/// What the operator said about this replica.
pub(crate) struct Facts {
    pub(crate) data_dir: PathBuf,
    pub(crate) name: String,
    pub(crate) client_urls: Vec<String>,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) peer_addresses: Vec<String>,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_txn_ops: usize,
}

impl Facts {
    /// The largest message that is decoded at all.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.max_request_bytes.saturating_add(limits::MESSAGE_OVERHEAD_BYTES)
    }
}

impl Replica {
    #[expect(clippy::too_many_arguments, reason = "this is where everything is put together, once")]
    pub(crate) fn new(
        config: &Config,
        store: Store,
        mesh: Mesh,
        policy: PolicyHolder,
        uptime: Uptime,
        queue: CommitQueue,
        metrics: Arc<Metrics>,
        stopping: Stopping,
    ) -> Self {
        let revision = store.published().revision;
        Self {
            reads: Reads::new(store.clone()),
            queue,
            watches: Arc::new(Watches::new(revision, config.progress_notify_interval, uptime)),
            leases: Leases::new(store.leases(), uptime),
            mesh,
            policy,
            keeper: Keeper::open(&store),
            uptime,
            metrics,
            facts: Facts {
                data_dir: config.data_dir.clone(),
                name: config.name.clone(),
                client_urls: config.advertised_client_urls.clone(),
                peer_urls: config.advertised_peer_urls.clone(),
                peer_addresses: config.advertised_peer_addresses.clone(),
                max_request_bytes: config.max_request_bytes,
                max_txn_ops: config.max_txn_ops,
            },
            store,
            stopping,
        }
    }

    /// The head of every answer. A replica is its own leader in its only term.
    pub(crate) fn header(&self, revision: Revision) -> ResponseHeader {
        let identity = self.store.identity();
        ResponseHeader {
            // A cluster id has 64 bits: the lower half of the mesh's.
            cluster_id: identity.mesh.0 as u64,
            member_id: identity.replica.get(),
            revision: revision.get(),
            raft_term: RAFT_TERM,
        }
    }

    /// The head of an answer that speaks of now.
    pub(crate) fn header_now(&self) -> ResponseHeader {
        self.header(self.store.published().revision)
    }

    pub(crate) fn member_id(&self) -> u64 {
        self.store.identity().replica.get()
    }

    /// Sends a request of about `bytes` bytes through the committer.
    pub(crate) async fn commit(&self, request: Request, bytes: usize) -> Result<Answer, Refusal> {
        if self.mesh.is_disowned() {
            return Err(Refusal::Disowned);
        }
        if self.mesh.is_removed() && !matches!(request, Request::Compact { .. } | Request::LeaseKeys { .. }) {
            return Err(Refusal::Removed);
        }
        // To list the keys of a lease goes through here for its place among the writes, and writes nothing.
        let is_allowed = matches!(request, Request::System(_) | Request::LeaseKeys { .. });
        if self.keeper.alarms.forbid_writes() && !is_allowed {
            return Err(Refusal::Corrupt);
        }
        let reply = self.queue.commit(request, bytes).await;
        if matches!(reply, Err(Refusal::QueueFull)) {
            self.metrics.queue_full.add(1);
        }
        reply
    }
}

/// The only term there is.
pub(crate) const RAFT_TERM: u64 = 1;
