//! The one block of a PEM file that is a key, or a certificate that has it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};
use zeroize::Zeroizing;

/// The bytes of a key.
pub(super) struct Pem(pub(super) Zeroizing<Vec<u8>>);

impl Pem {
    /// Reads the first block that can be a key; other blocks may stand before it, such as the parameters of a curve.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(file).ok()?;
        let mut rest = text;
        loop {
            let (_, after) = rest.split_once("-----BEGIN ")?;
            let (kind, after) = after.split_once("-----")?;
            let (body, after) = after.split_once("-----END ")?;
            rest = after;
            if kind != "CERTIFICATE" && !kind.ends_with("KEY") {
                continue;
            }
            let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
            let bytes = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
            return if kind == "CERTIFICATE" { Self::of_certificate(&bytes) } else { Some(Self(bytes)) };
        }
    }

    fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self(Zeroizing::new(certificate.public_key().raw.to_vec())))
    }
}
