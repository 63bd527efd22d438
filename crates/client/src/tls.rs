//! TLS to a server: how it is recognised, and what this side shows of itself.
//!
//! Files are named, not held: they are read when a connection is made, so that a program that runs for months uses certificates that were renewed
//! meanwhile. There is one cryptography, named explicitly; nothing is installed for the whole process.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use thiserror::Error;

use self::anyone::Anyone;

mod anyone;

/// What to speak TLS with. The default trusts the CAs of the system and shows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// CAs that a server's certificate must come from, in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate of this client, in PEM, with those of the CAs between it and the root.
    pub cert_file: Option<PathBuf>,
    /// Private key of [`cert_file`](Self::cert_file), in PEM.
    pub key_file: Option<PathBuf>,
    /// Take whoever answers for the server. The connection is then protected from listeners alone.
    pub skip_verification: bool,
}

impl TlsOptions {
    /// Reads the files as they are now.
    pub(crate) fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Settings)?;
        let builder = if self.skip_verification {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone::new(&provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match (&self.cert_file, &self.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let (chain, private) = (certificates(cert)?, private_key(key)?);
                let pair = |source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source };
                builder.with_client_auth_cert(chain, private).map_err(pair)?
            }
            (cert, key) => return Err(TlsError::Half { has_cert: cert.is_some(), has_key: key.is_some() }),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let path = match &self.ca_file {
            Some(path) => path.clone(),
            None => system_roots().ok_or(TlsError::NoSystemRoots)?,
        };
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(certificates(&path)?);
        if taken == 0 {
            return Err(TlsError::Malformed { path, why: "none of its certificates is usable".to_owned() });
        }
        Ok(roots)
    }
}

/// What is wrong with the files or the choice of them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is no PEM, or what it has is not usable.
    #[error("{path} is malformed: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file has nothing of what it is there for.
    #[error("{path} has no {what} in PEM")]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The certificate and the key are not two halves of one, or of a kind that is not spoken.
    #[error("{cert} and {key} cannot be used together: {source}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The library's answer.
        source: rustls::Error,
    },
    /// A certificate without its key, or the reverse.
    #[error("a certificate and its key must be given together")]
    Half {
        /// Whether there is a certificate.
        has_cert: bool,
        /// Whether there is a key.
        has_key: bool,
    },
    /// The system has no bundle of CAs where systems have one.
    #[error(
        "no CA is given, and this system has no bundle of CAs: name the CA that has signed the server's certificate"
    )]
    NoSystemRoots,
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Settings(rustls::Error),
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let all = all.map_err(|why| TlsError::Malformed { path: path.to_owned(), why: why.to_string() })?;
    if all.is_empty() { Err(TlsError::Nothing { path: path.to_owned(), what: "certificate" }) } else { Ok(all) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|why| match why {
        pem::Error::NoItemsFound => TlsError::Nothing { path: path.to_owned(), what: "private key" },
        why => TlsError::Malformed { path: path.to_owned(), why: why.to_string() },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

/// The system's bundle of CAs: the one that the environment names, or the first of the usual places that is there.
fn system_roots() -> Option<PathBuf> {
    let named = env::var_os("SSL_CERT_FILE").filter(|named| !named.is_empty()).map(PathBuf::from);
    named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// Debian and its kin, Fedora and its kin, SUSE, OpenELEC, Red Hat, and Alpine, BSDs and macOS: where Go looks too.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
