//! `tombolo.v1.Backup`: a copy of everything, as the store writes it, of the moment at which it was asked for.

use std::{pin::Pin, sync::Arc};

use futures_util::stream::Stream;
use tokio::sync::mpsc;
use tombolo_proto::v1::{BackupSaveRequest, BackupSaveResponse, backup_server};
use tombolo_storage::{Slot, Store};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::{clock, etcd::status::Fault, gate::Gate, limits};

/// Copies of everything that a replica holds.
#[derive(Clone)]
pub(crate) struct BackupService(pub(super) Gate);

#[tonic::async_trait]
impl backup_server::Backup for BackupService {
    type SaveStream = Pin<Box<dyn Stream<Item = Result<BackupSaveResponse, Status>> + Send>>;

    async fn save(&self, request: Request<BackupSaveRequest>) -> Result<Response<Self::SaveStream>, Status> {
        let (_, leave, pass) = self.0.enter(request).await?;
        // Whoever is made of it counts above this replica. Others of this mesh, which may count there, are not of its mesh.
        let own = pass.replica().store.identity().slot.number();
        let next = own.checked_add(1).and_then(Slot::new).ok_or(Fault::RevisionsExhausted)?;
        info!("a snapshot is taken");
        let (pieces, waiting) = mpsc::channel(limits::SNAPSHOT_PIECES_WAITING_MAX);
        let replica = Arc::clone(pass.replica());
        tokio::spawn(async move { replica.reads.whole(move |store| save(store, next, &pieces)).await });
        Ok(Response::new(Box::pin(pass.stream(leave, waiting))))
    }
}

type Piece = Result<BackupSaveResponse, Fault>;

/// Reads the copy, as fast as somebody takes it; ends when nobody does any more.
fn save(store: &Store, next: Slot, pieces: &mpsc::Sender<Piece>) {
    let mut backup = store.backup(clock::wall(), next);
    let expected_bytes = backup.expected_bytes();
    while let Some(piece) = backup.next_piece(limits::SNAPSHOT_PIECE_BYTES).transpose() {
        let is_last = piece.is_err();
        let response = piece.map(|piece| BackupSaveResponse { piece, expected_bytes }).map_err(|why| Fault::from(&why));
        if pieces.blocking_send(response).is_err() || is_last {
            return;
        }
    }
}
