//! `tombolo.v1` over gRPC: what etcd's API has no word for.

use tombolo_proto::v1::{import_server::ImportServer, mesh_server::MeshServer};

use crate::{gate::Gate, limits};

mod import;
mod mesh;

pub(crate) use mesh::peers;

/// The mesh as its operators see it.
pub(crate) fn mesh(gate: &Gate) -> MeshServer<mesh::MeshService> {
    MeshServer::new(mesh::MeshService(gate.clone()))
}

/// Moving the contents of an etcd in. Its messages hold whole transactions of another store.
pub(crate) fn import(gate: &Gate) -> ImportServer<import::ImportService> {
    ImportServer::new(import::ImportService::new(gate.clone()))
        .max_decoding_message_size(limits::IMPORT_MESSAGE_BYTES_MAX)
}
