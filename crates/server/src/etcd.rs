//! etcd's v3 API over gRPC: thin files that check a request as etcd does, hand it to the replica, and put the answer into etcd's words.

use std::sync::Arc;

use tombolo_proto::{
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
        maintenance_server::MaintenanceServer, watch_server::WatchServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use tonic::service::Routes;

use crate::gate::Gate;

mod auth;
mod check;
mod cluster;
mod convert;
mod election;
mod kv;
mod lease;
mod line;
mod lock;
mod maintenance;
pub(crate) mod status;
mod txn;
mod watch;

pub(crate) use self::kv::KvService;

/// The version of etcd whose promises are kept; clients decide by it which requests they may send.
pub(crate) const VERSION: &str = "3.5.17";
/// The cluster's version, as etcd reports it: without the patch.
pub(crate) const CLUSTER_VERSION: &str = "3.5.0";

/// The service that takes nearly all requests, to be called without a router.
pub(crate) fn kv(gate: &Gate, decoded_max: usize) -> KvServer<KvService> {
    let server = KvServer::new(KvService(gate.clone()));
    server.max_decoding_message_size(decoded_max).max_encoding_message_size(usize::MAX)
}

/// All other services.
pub(crate) fn routes(gate: &Gate, decoded_max: usize) -> Routes {
    let waiters = Arc::new(line::Waiters::default());
    let lock = lock::LockService { gate: gate.clone(), waiters: Arc::clone(&waiters) };
    let election = election::ElectionService { gate: gate.clone(), waiters };
    macro_rules! service {
        ($server:ident, $service:expr) => {
            $server::new($service).max_decoding_message_size(decoded_max).max_encoding_message_size(usize::MAX)
        };
    }
    Routes::new(service!(WatchServer, watch::WatchService(gate.clone())))
        .add_service(service!(AuthServer, auth::AuthService(gate.clone())))
        .add_service(service!(LeaseServer, lease::LeaseService(gate.clone())))
        .add_service(service!(ClusterServer, cluster::ClusterService(gate.clone())))
        .add_service(service!(MaintenanceServer, maintenance::MaintenanceService(gate.clone())))
        .add_service(service!(LockServer, lock))
        .add_service(service!(ElectionServer, election))
}
