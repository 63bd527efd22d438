//! Connections with TLS, for the transport to speak HTTP/2 on.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::codegen::{Service, http::Uri};

/// Connects to the host of a URI and shakes hands with it, under that host's name.
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
}

impl Connector {
    pub(crate) fn new(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Box::pin(async move {
            let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "the endpoint has no usable host and port");
            let host = uri.host().ok_or_else(malformed)?;
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let port = uri.port_u16().ok_or_else(malformed)?;
            let name = ServerName::try_from(bare.to_owned()).map_err(|_| malformed())?;
            let stream = TcpStream::connect((bare, port)).await?;
            // Small requests must leave at once.
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        })
    }
}
