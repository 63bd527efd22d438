//! etcd's v3 API over gRPC: thin files that check a request as etcd does, hand it to the replica, and put the answer into etcd's words.

use tombolo_proto::etcdserverpb::{
    auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer, lease_server::LeaseServer,
    maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use tonic::service::Routes;

use crate::gate::Gate;

mod auth;
mod check;
mod cluster;
mod convert;
mod kv;
mod lease;
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
    macro_rules! service {
        ($server:ident, $service:path) => {
            $server::new($service(gate.clone()))
                .max_decoding_message_size(decoded_max)
                .max_encoding_message_size(usize::MAX)
        };
    }
    Routes::new(service!(WatchServer, watch::WatchService))
        .add_service(service!(AuthServer, auth::AuthService))
        .add_service(service!(LeaseServer, lease::LeaseService))
        .add_service(service!(ClusterServer, cluster::ClusterService))
        .add_service(service!(MaintenanceServer, maintenance::MaintenanceService))
}
