//! The service of one connection: everybody's, with what is known of who is at the other end.

use http::Request;
use hyper::{body::Incoming, service::Service};

use crate::{front::Front, tls::ClientCertificate};

/// [`Front`], for one client.
pub(super) struct OfConnection {
    pub(super) front: Front,
    pub(super) client: Option<ClientCertificate>,
}

impl Service<Request<Incoming>> for OfConnection {
    type Response = <Front as Service<Request<Incoming>>>::Response;
    type Error = <Front as Service<Request<Incoming>>>::Error;
    type Future = <Front as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(client) = &self.client {
            request.extensions_mut().insert(client.clone());
        }
        self.front.call(request)
    }
}
