//! `Watch`: one [`Session`] for each stream. It reads the client's requests, and sends what the hub has put into its outbox.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tombolo_proto::etcdserverpb::{WatchRequest, WatchResponse, watch_server::Watch};
use tonic::{Request, Response, Status, Streaming};

use self::session::Session;
use crate::gate::Gate;

mod fragment;
mod ids;
mod session;

/// etcd's `Watch`.
#[derive(Clone)]
pub(super) struct WatchService(pub(super) Gate);

#[tonic::async_trait]
impl Watch for WatchService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (requests, pass) = self.0.open(request).await?;
        let session = Session::new(pass, requests);
        // The session lives in the answer: when the client goes, both go.
        Ok(Response::new(Box::pin(stream::unfold(Box::new(session), Session::next))))
    }
}
