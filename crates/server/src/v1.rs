//! `tombolo.v1` over gRPC: what etcd's API has no word for.

use tombolo_proto::v1::mesh_server::MeshServer;

use crate::gate::Gate;

mod mesh;

pub(crate) use mesh::peers;

/// The mesh as its operators see it.
pub(crate) fn mesh(gate: &Gate) -> MeshServer<mesh::MeshService> {
    MeshServer::new(mesh::MeshService(gate.clone()))
}
