//! Certificates for rigs: authorities made on the spot, what they issue, and what they revoke.
//!
//! Everything lives as long as a test and is worth nothing outside of it. Kept in PEM, as operators keep it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// Somebody who issues certificates.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    /// The certificates between this one and the root, this one's first; none for a root.
    chain: String,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, and those of the authorities between it and the root.
    pub cert: String,
    /// The private key.
    pub key: String,
    /// The number under which it can be revoked.
    pub serial: u64,
}

/// A pair in files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate's.
    pub cert: PathBuf,
    /// The key's.
    pub key: PathBuf,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To serve.
    Server,
    /// To be served.
    Client,
    /// Client's, that ran out long ago.
    ExpiredClient,
}

/// Whether a list of revoked certificates is the newest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListAge {
    /// It is.
    Current,
    /// Its successor should be there since years.
    Overdue,
}

impl Authority {
    /// A root of its own.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn root(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let params = authority(name);
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate, issuer: Issuer::new(params, key), chain: String::new() })
    }

    /// An authority below this one.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn below(&self, name: &str) -> Result<(Self, u64)> {
        let key = KeyPair::generate()?;
        let mut params = authority(name);
        let serial = next_serial();
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = certificate.pem() + &self.chain;
        Ok((Self { certificate, issuer: Issuer::new(params, key), chain }, serial))
    }

    /// Its certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for a common name, with names and addresses beside it.
    ///
    /// # Errors
    ///
    /// When a name is none.
    pub fn issue(&self, purpose: Purpose, common_name: &str, names: &[&str]) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match purpose {
            Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Client | Purpose::ExpiredClient => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        if purpose == Purpose::ExpiredClient {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let serial = next_serial();
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { cert: certificate.pem() + &self.chain, key: key.serialize_pem(), serial })
    }

    /// A server's certificate for this machine alone.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn local_server(&self) -> Result<Pair> {
        self.issue(Purpose::Server, "server", &["localhost", "127.0.0.1", "::1"])
    }

    /// A client's certificate.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn client(&self, common_name: &str) -> Result<Pair> {
        self.issue(Purpose::Client, common_name, &[])
    }

    /// The list of what it has revoked, in PEM.
    ///
    /// # Errors
    ///
    /// When it cannot be signed.
    pub fn revoke(&self, serials: &[u64], age: ListAge) -> Result<String> {
        let (this_update, next_update) = match age {
            ListAge::Current => (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1)),
            ListAge::Overdue => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        };
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(next_serial()),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

impl Pair {
    /// Writes both to `folder`, the key for its owner alone.
    ///
    /// # Errors
    ///
    /// When the folder does not take them.
    pub fn write(&self, folder: &Path, name: &str) -> Result<Files> {
        let files = Files { cert: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        fs::write(&files.cert, &self.cert)?;
        fs::write(&files.key, &self.key)?;
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600))?;
        Ok(files)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// Numbers that no other certificate of this process has, the smallest of which take all eight bytes.
fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 62);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
