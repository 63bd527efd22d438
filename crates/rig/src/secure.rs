//! Connections with TLS, for rigs that look at a server through it. They share no code with the product's own client.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::codegen::{Service, http::Uri};

use crate::pki::Pair;

/// What a client of a rig trusts, shows and speaks.
#[derive(Clone, Debug)]
pub struct Trust {
    ca: String,
    client: Option<Pair>,
    versions: Versions,
    alpn: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Versions {
    Both,
    Old,
}

impl Trust {
    /// Trusts an authority, in PEM, and shows nothing.
    #[must_use]
    pub fn in_ca(ca: &str) -> Self {
        Self { ca: ca.to_owned(), client: None, versions: Versions::Both, alpn: vec![b"h2".to_vec()] }
    }

    /// Shows a certificate.
    #[must_use]
    pub fn showing(mut self, client: &Pair) -> Self {
        self.client = Some(client.clone());
        self
    }

    /// Speaks TLS 1.2 alone.
    #[must_use]
    pub const fn old(mut self) -> Self {
        self.versions = Versions::Old;
        self
    }

    /// Offers these protocols; none for the oldest clients.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    ///
    /// When nobody listens, or either side does not accept the other. With TLS 1.3 the server's refusal comes with the first read.
    pub async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.config()?);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(connector.connect(ServerName::from(address.ip()), stream).await?)
    }

    /// As the library wants it.
    ///
    /// # Errors
    ///
    /// When something in it is no PEM.
    pub fn config(&self) -> Result<Arc<ClientConfig>> {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static OLD: [&SupportedProtocolVersion; 1] = [&TLS12];
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        let versions: &[_] = if self.versions == Versions::Old { &OLD } else { &BOTH };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.cert.as_bytes()).collect();
                builder.with_client_auth_cert(chain?, PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?)?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }
}

/// Makes connections for the gRPC transport.
pub(crate) struct Connector(pub(crate) Trust);

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let trust = self.0.clone();
        Box::pin(async move {
            let connected = async {
                let address = uri.authority().context("a host and a port")?.as_str().parse()?;
                trust.connect(address).await
            };
            connected.await.map(TokioIo::new).map_err(io::Error::other)
        })
    }
}
