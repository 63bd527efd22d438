//! Lists of revoked certificates (`--client-crl-file`): which certificates of a chain they name.
//!
//! Every certificate that a client presents is looked up, not its leaf alone, by issuer and serial number. The issuer's signature on a list is checked
//! against the trusted CAs when the list is read, or against the presented chain when only that has the issuer. A list that is past its next
//! update goes on holding, with a warning and a metric: it can only name too few, and a site whose link is down must not lock out all its clients
//! for that. Issuers without a list revoke nobody, as in etcd. Lists that speak for several issuers, or only of changes, are refused.

use std::collections::HashSet;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate, error::X509Error, extensions::ParsedExtension, prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
};

/// What a file of lists says.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    /// As encoded: names of one CA are written alike in what it signs.
    issuer: Vec<u8>,
    serials: HashSet<Vec<u8>>,
    /// Seconds since the epoch.
    next_update: Option<i64>,
    /// The list itself, while nobody has vouched for it.
    unproven: Option<Vec<u8>>,
}

/// Why a list cannot be relied on.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum CrlError {
    /// There is none.
    #[error("it has no certificate revocation list, neither in PEM nor in DER")]
    Nothing,
    /// It cannot be taken apart.
    #[error("list {number} is malformed: {why}")]
    Malformed {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// The trusted CA of that name has not signed it.
    #[error("the list of {issuer} is not signed by it")]
    NotSigned {
        /// The CA.
        issuer: String,
    },
    /// It is of a kind whose entries mean something else.
    #[error("the list of {issuer} is {kind}, which is not understood")]
    Kind {
        /// The CA.
        issuer: String,
        /// What it is.
        kind: &'static str,
    },
}

/// A certificate that is not to be accepted any more.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Revoked {
    #[error("certificate {serial} of {issuer} is revoked")]
    Listed { serial: String, issuer: String },
    #[error("the list of revoked certificates of {issuer} is not signed by it")]
    Unproven { issuer: String },
    #[error("a certificate is malformed")]
    Malformed,
}

impl Revocations {
    /// Reads a file's bytes: lists in PEM, any number of them, or one in DER. `trusted` are the CAs that may have signed them.
    pub(super) fn read(bytes: &[u8], trusted: &[CertificateDer<'_>]) -> Result<Self, CrlError> {
        let ders: Vec<Vec<u8>> = if bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
            let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
            let read = read.map_err(|why| CrlError::Malformed { number: 1, why: why.to_string() })?;
            read.into_iter().map(|list| list.as_ref().to_vec()).collect()
        } else if bytes.is_empty() {
            Vec::new()
        } else {
            vec![bytes.to_vec()]
        };
        if ders.is_empty() {
            return Err(CrlError::Nothing);
        }
        let lists = ders.into_iter().zip(1..).map(|(der, number)| List::read(der, number, trusted));
        Ok(Self { lists: lists.collect::<Result<_, _>>()? })
    }

    /// Looks each certificate of a verified chain up.
    pub(super) fn check(&self, chain: &[CertificateDer<'_>]) -> Result<(), Revoked> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let parse = |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| Revoked::Malformed);
        let chain: Vec<X509Certificate<'_>> = chain.iter().map(|der| parse(der)).collect::<Result<_, _>>()?;
        for certificate in &chain {
            let issuer = certificate.issuer();
            for list in self.lists.iter().filter(|list| list.issuer == issuer.as_raw()) {
                if !list.is_proven_by(&chain) {
                    return Err(Revoked::Unproven { issuer: issuer.to_string() });
                }
                if list.serials.contains(significant(certificate.raw_serial())) {
                    let serial = certificate.raw_serial_as_string();
                    return Err(Revoked::Listed { serial, issuer: issuer.to_string() });
                }
            }
        }
        Ok(())
    }

    /// When the first of the lists should have been replaced, in seconds since the epoch.
    pub(super) fn next_update(&self) -> Option<i64> {
        self.lists.iter().filter_map(|list| list.next_update).min()
    }
}

impl List {
    fn read(der: Vec<u8>, number: usize, trusted: &[CertificateDer<'_>]) -> Result<Self, CrlError> {
        let malformed = |why: String| CrlError::Malformed { number, why };
        let (rest, list) = CertificateRevocationList::from_der(&der).map_err(|why| malformed(why.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow its end".to_owned()));
        }
        check_kind(&list)?;
        let is_proven = is_signed_by_one_of(&list, trusted)?;
        let serials = list.iter_revoked_certificates().map(|entry| significant(entry.raw_serial()).to_vec()).collect();
        let issuer = list.issuer().as_raw().to_vec();
        let next_update = list.next_update().map(|time| time.timestamp());
        Ok(Self { issuer, serials, next_update, unproven: (!is_proven).then_some(der) })
    }

    /// Whether its issuer has signed it; the issuer of a chain's certificate is in the chain, or was among the trusted CAs.
    fn is_proven_by(&self, chain: &[X509Certificate<'_>]) -> bool {
        let Some(der) = &self.unproven else { return true };
        let Ok((_, list)) = CertificateRevocationList::from_der(der) else { return false };
        let issuers = chain.iter().filter(|certificate| certificate.subject().as_raw() == self.issuer);
        issuers.into_iter().any(|issuer| may_be_signed_by(&list, issuer))
    }
}

/// Whether a trusted CA has signed the list; `false` when none has its issuer's name.
fn is_signed_by_one_of(list: &CertificateRevocationList<'_>, trusted: &[CertificateDer<'_>]) -> Result<bool, CrlError> {
    let issuer = list.issuer();
    let parsed = trusted.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
    let named: Vec<_> = parsed.filter(|ca| ca.subject().as_raw() == issuer.as_raw()).collect();
    if named.is_empty() {
        return Ok(false);
    }
    if named.iter().any(|ca| may_be_signed_by(list, ca)) {
        return Ok(true);
    }
    Err(CrlError::NotSigned { issuer: issuer.to_string() })
}

/// A signature of a kind that cannot be checked is let pass: the operator has put the list here, and it only takes rights away.
fn may_be_signed_by(list: &CertificateRevocationList<'_>, ca: &X509Certificate<'_>) -> bool {
    matches!(list.verify_signature(ca.public_key()), Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm))
}

fn check_kind(list: &CertificateRevocationList<'_>) -> Result<(), CrlError> {
    let refuse = |kind| Err(CrlError::Kind { issuer: list.issuer().to_string(), kind });
    for extension in list.extensions() {
        if extension.oid.to_id_string() == DELTA_INDICATOR {
            return refuse("one of changes (a delta CRL)");
        }
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) if point.indirect_crl => {
                return refuse("one for several issuers (an indirect CRL)");
            }
            ParsedExtension::IssuingDistributionPoint(_) => {}
            ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. } if extension.critical => {
                return refuse("one with an unknown critical extension");
            }
            _ => {}
        }
    }
    Ok(())
}

/// A serial number without the zeros that only say that it is positive.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

const PEM_BEGIN: &[u8] = b"-----BEGIN";
const DELTA_INDICATOR: &str = "2.5.29.27";
