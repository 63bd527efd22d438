//! `tombolo.v1` over gRPC: what etcd's API has no word for.

use std::sync::Arc;

use tombolo_proto::v1::mesh_server::MeshServer;

use crate::replica::Replica;

mod mesh;

pub(crate) use mesh::peers;

/// The mesh as its operators see it.
pub(crate) fn mesh(replica: &Arc<Replica>) -> MeshServer<mesh::MeshService> {
    MeshServer::new(mesh::MeshService(Arc::clone(replica)))
}
