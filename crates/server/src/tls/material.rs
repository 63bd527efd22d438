//! What the files of a TLS listener come to: one configuration of the library's, made as a whole or not at all.
//!
//! Sessions are not resumed: a resumed session would skip the verification of the client's certificate, and with it a list of revoked ones that
//! has changed since. Clients of a store keep their connections.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{client_check::ClientCheck, error::TlsError, revocation::Revocations};
use crate::config::{TlsConfig, TlsVersion};

/// The files of a listener.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) trusted_ca: Option<PathBuf>,
    pub(super) crl: Option<PathBuf>,
}

/// What was read from them at one time.
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    pub(super) revocations: Arc<Revocations>,
    /// When the first certificate of the server's chain runs out, in seconds since the epoch.
    pub(super) expires: i64,
    /// What is not wrong enough to refuse it.
    pub(super) remarks: Vec<String>,
}

impl Files {
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let always = [self.cert.as_path(), self.key.as_path()].into_iter();
        always.chain(self.trusted_ca.as_deref()).chain(self.crl.as_deref())
    }

    /// Reads all files and makes of them what the listeners use.
    pub(super) fn load(&self, settings: &TlsConfig) -> Result<Material, TlsError> {
        let mut remarks = Vec::new();
        let chain: Vec<CertificateDer<'static>> = all_in(&self.cert, "certificate")?;
        let key = self.read_key(&mut remarks)?;
        let expires = self.expiry(&chain, &mut remarks)?;
        let provider = provider(settings);
        let (verifier, revocations) = self.verifier(settings, &provider, &mut remarks)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings))
            .map_err(TlsError::Settings)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let pair = |source| TlsError::Pair { cert: self.cert.clone(), key: self.key.clone(), source };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.ignore_client_order = settings.suites.is_some();
        Ok(Material { config: Arc::new(config), revocations, expires, remarks })
    }

    fn read_key(&self, remarks: &mut Vec<String>) -> Result<PrivateKeyDer<'static>, TlsError> {
        let bytes = read(&self.key)?;
        let mode = fs::metadata(&self.key).map_or(0, |metadata| metadata.mode());
        if mode & 0o077 != 0 {
            let path = self.key.display();
            remarks.push(format!("others can read the private key {path} (mode {:o}); 600 is advised", mode & 0o777));
        }
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|why| match why {
            rustls::pki_types::pem::Error::NoItemsFound => {
                TlsError::Nothing { path: self.key.clone(), what: "private key" }
            }
            why => TlsError::Malformed { path: self.key.clone(), why: why.to_string() },
        })
    }

    fn expiry(&self, chain: &[CertificateDer<'_>], remarks: &mut Vec<String>) -> Result<i64, TlsError> {
        let mut expires = i64::MAX;
        for der in chain {
            let (_, certificate) = X509Certificate::from_der(der)
                .map_err(|why| TlsError::Malformed { path: self.cert.clone(), why: why.to_string() })?;
            expires = expires.min(certificate.validity().not_after.timestamp());
            if !certificate.validity().is_valid() {
                let (path, subject) = (self.cert.display(), certificate.subject());
                remarks
                    .push(format!("{path}: the certificate of {subject} is not valid now: {}", validity(&certificate)));
            }
        }
        Ok(expires)
    }

    fn verifier(
        &self,
        settings: &TlsConfig,
        provider: &Arc<CryptoProvider>,
        remarks: &mut Vec<String>,
    ) -> Result<(Option<Verifier>, Arc<Revocations>), TlsError> {
        let Some(path) = &self.trusted_ca else { return Ok((None, Arc::default())) };
        let trusted: Vec<CertificateDer<'static>> = all_in(path, "certificate")?;
        let mut roots = RootCertStore::empty();
        let (taken, unusable) = roots.add_parsable_certificates(trusted.iter().cloned());
        if taken == 0 {
            return Err(TlsError::Malformed {
                path: path.clone(),
                why: "none of its certificates is usable".to_owned(),
            });
        }
        if unusable > 0 {
            remarks.push(format!("{}: {unusable} of its certificates are not usable", path.display()));
        }
        let revocations = Arc::new(self.revocations(&trusted, remarks)?);
        let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        let chains = chains.map_err(|why| TlsError::Roots { path: path.clone(), why: why.to_string() })?;
        let allowed_hostnames = settings.allowed_hostnames.clone();
        let check = ClientCheck { chains, allowed_hostnames, revocations: Arc::clone(&revocations) };
        Ok((Some(Arc::new(check)), revocations))
    }

    fn revocations(&self, trusted: &[CertificateDer<'_>], remarks: &mut Vec<String>) -> Result<Revocations, TlsError> {
        let Some(path) = &self.crl else { return Ok(Revocations::default()) };
        let read = Revocations::read(&read(path)?, trusted);
        let read = read.map_err(|source| TlsError::Crl { path: path.clone(), source })?;
        if read.next_update().is_some_and(|next| next < now()) {
            let path = path.display();
            remarks.push(format!("{path} should have been replaced by a newer list; what it names stays revoked"));
        }
        Ok(read)
    }
}

type Verifier = Arc<dyn ClientCertVerifier>;

/// The one cryptography that is used, with the suites that were chosen, best first.
fn provider(settings: &TlsConfig) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(chosen) = &settings.suites {
        let known = std::mem::take(&mut provider.cipher_suites);
        let fixed = known.iter().filter(|suite| suite.tls13().is_some());
        let named = chosen.iter().filter_map(|name| known.iter().find(|suite| suite.suite() == *name));
        provider.cipher_suites = fixed.chain(named).copied().collect();
    }
    Arc::new(provider)
}

fn versions(settings: &TlsConfig) -> &'static [&'static SupportedProtocolVersion] {
    static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
    static OLD: [&SupportedProtocolVersion; 1] = [&TLS12];
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match (settings.oldest, settings.newest) {
        (TlsVersion::V13, _) => &NEW,
        (TlsVersion::V12, TlsVersion::V12) => &OLD,
        (TlsVersion::V12, TlsVersion::V13) => &BOTH,
    }
}

fn all_in<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let bytes = read(path)?;
    let all: Result<Vec<T>, _> = T::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|why| TlsError::Malformed { path: path.to_owned(), why: why.to_string() })?;
    if all.is_empty() { Err(TlsError::Nothing { path: path.to_owned(), what }) } else { Ok(all) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn validity(certificate: &X509Certificate<'_>) -> String {
    format!("from {} to {}", certificate.validity().not_before, certificate.validity().not_after)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}
