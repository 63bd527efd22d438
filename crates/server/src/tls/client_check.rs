//! The verifier of clients' certificates: the library's, then the allowed names, then the revoked ones.
//!
//! All listeners with TLS share it, through the one configuration they share, so that none can forget a check.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tracing::debug;

use super::{hostname, revocation::Revocations};

/// Verifies chains against trusted CAs and the operator's further demands.
#[derive(Debug)]
pub(super) struct ClientCheck {
    pub(super) chains: Arc<dyn ClientCertVerifier>,
    pub(super) allowed_hostnames: Vec<String>,
    pub(super) revocations: Arc<Revocations>,
}

impl ClientCertVerifier for ClientCheck {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(end_entity, intermediates, now)?;
        if !self.allowed_hostnames.is_empty() && !hostname::has_one_of(end_entity, &self.allowed_hostnames) {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.revocations.check(&chain).map_err(|why| {
            debug!(%why, "a client was turned away");
            Error::InvalidCertificate(CertificateError::Revoked)
        })?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
