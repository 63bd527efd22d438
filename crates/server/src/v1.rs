//! `tombolo.v1` over gRPC: what etcd's API has no word for.

use tombolo_proto::v1::{backup_server::BackupServer, import_server::ImportServer, mesh_server::MeshServer};

use crate::{gate::Gate, limits};

mod backup;
mod import;
mod mesh;

pub(crate) use mesh::{alarms, members, peers};

/// The mesh as its operators see it.
pub(crate) fn mesh(gate: &Gate) -> MeshServer<mesh::MeshService> {
    MeshServer::new(mesh::MeshService(gate.clone()))
}

/// Copies of everything that a replica holds.
pub(crate) fn backup(gate: &Gate) -> BackupServer<backup::BackupService> {
    BackupServer::new(backup::BackupService(gate.clone()))
}

/// Moving the contents of an etcd in. Its messages hold whole transactions of another store.
pub(crate) fn import(gate: &Gate) -> ImportServer<import::ImportService> {
    ImportServer::new(import::ImportService::new(gate.clone()))
        .max_decoding_message_size(limits::IMPORT_MESSAGE_BYTES_MAX)
}
