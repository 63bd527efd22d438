//! The certificate of `--auto-tls`: signed by its own key, made at the first start and kept in the data folder.
//!
//! It protects from listeners on the wire, and from others only for clients that were given it as their CA. It is made anew when it has run
//! out or does not name all hosts. It is no CA and can sign nothing.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{error::TlsError, hostname};

mod der;

/// The files of the certificate in `data_dir` and its key, made if need be.
pub(super) fn files(data_dir: &Path, years: u16, hosts: &[String]) -> Result<(PathBuf, PathBuf), TlsError> {
    let folder = data_dir.join("client-tls");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if is_good(&cert, hosts) && key.is_file() {
        return Ok((cert, key));
    }
    let failed = |why: String| TlsError::SelfSigned { path: folder.clone(), why };
    let pair = make(years, hosts).map_err(|why| failed(why.to_owned()))?;
    write(&folder, [(&key, "PRIVATE KEY", &pair.key), (&cert, "CERTIFICATE", &pair.cert)])
        .map_err(|why| failed(why.to_string()))?;
    Ok((cert, key))
}

struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

fn is_good(cert: &Path, hosts: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_file(cert) else { return false };
    let is_valid = X509Certificate::from_der(&der).is_ok_and(|(_, cert)| cert.validity().is_valid());
    is_valid && hosts.iter().all(|host| hostname::has_one_of(&der, std::slice::from_ref(host)))
}

fn make(years: u16, hosts: &[String]) -> Result<Pair, &'static str> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(|_| "no key was made")?;
    let signer =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref()).map_err(|_| "the key is bad")?;
    let public = signer.public_key().as_der().map_err(|_| "the key is bad")?;
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| "there is no randomness")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Clocks of clients may be a little behind.
    let validity = (now.saturating_sub(DAY_S), now + u64::from(years) * 365 * DAY_S);
    let to_be_signed = der::to_be_signed(serial, validity, public.as_ref(), hosts);
    let signature = signer.sign(&random, &to_be_signed).map_err(|_| "it was not signed")?;
    Ok(Pair { cert: der::signed(&to_be_signed, signature.as_ref()), key: key.as_ref().to_vec() })
}

const DAY_S: u64 = 24 * 60 * 60;

/// The key first: a certificate without one is made anew.
fn write(folder: &Path, files: [(&PathBuf, &str, &Vec<u8>); 2]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for (path, label, bytes) in files {
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(pem(label, bytes).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
    }
    fs::File::open(folder)?.sync_all()
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in bytes.chunks(48) {
        for group in line.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                let letter = BASE64[(bits >> (18 - 6 * place)) as usize & 63];
                text.push(if place > group.len() { '=' } else { char::from(letter) });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Names that are addresses, as a certificate has them.
fn address_bytes(host: &str) -> Option<Vec<u8>> {
    Some(match host.parse().ok()? {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_hosts_and_anew_for_others() {
        let home = tempfile::tempdir().unwrap();
        let hosts = ["127.0.0.1", "::1", "store.example"].map(str::to_owned);
        let (cert, key) = files(home.path(), 2, &hosts).unwrap();
        let first = fs::read(&cert).unwrap();
        assert_eq!(files(home.path(), 2, &hosts[..1]).unwrap(), (cert.clone(), key.clone()));
        assert_eq!(fs::read(&cert).unwrap(), first);
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let der = CertificateDer::from_pem_file(&cert).unwrap();
        let (rest, parsed) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty() && parsed.verify_signature(None).is_ok() && parsed.validity().is_valid());
        let years = parsed.validity().time_to_expiration().unwrap().whole_days() / 365;
        assert!((1..=2).contains(&years), "{years}");
        assert!(!parsed.is_ca());

        files(home.path(), 2, &["other.example".to_owned()]).unwrap();
        assert_ne!(fs::read(&cert).unwrap(), first);
    }

    #[test]
    fn text_is_padded_to_groups_of_four() {
        for (bytes, text) in [(&b"M"[..], "TQ=="), (b"Ma", "TWE="), (b"Man", "TWFu")] {
            assert_eq!(pem("X", bytes).lines().nth(1), Some(text));
        }
    }
}
