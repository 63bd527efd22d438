//! What a client's certificate says about it, as far as the server asks.
//!
//! There is one place where an identity comes from: the leaf of the chain that was verified on *this* connection. No header can say it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// In the extensions of each request of a connection whose client has proved a certificate, if certificates name users
/// (`--client-cert-auth`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The common name of the leaf's subject; empty when it has none.
    pub(crate) common_name: Arc<str>,
}

impl ClientCertificate {
    /// `None` for what is no certificate, which the verifier has let nobody come with.
    pub(super) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        // Of several common names etcd takes the last.
        let name = leaf.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
        Some(Self { common_name: name.unwrap_or_default().into() })
    }
}
