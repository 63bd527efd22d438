//! Whether a certificate has one of some names: the check behind `--client-cert-allowed-hostname`.
//!
//! Names are compared with the subject alternative names alone, the common name is none, as in etcd. An address is compared with addresses.
//! `*` stands for one whole label, the first.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Whether `certificate` is valid for one of `allowed`.
pub(super) fn has_one_of(certificate: &CertificateDer<'_>, allowed: &[String]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let names = &names.value.general_names;
    allowed.iter().any(|allowed| names.iter().any(|name| stands_for(name, allowed)))
}

fn stands_for(name: &GeneralName<'_>, allowed: &str) -> bool {
    let bare = allowed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(allowed);
    match (name, bare.parse::<IpAddr>()) {
        (GeneralName::IPAddress(bytes), Ok(IpAddr::V4(address))) => *bytes == address.octets(),
        (GeneralName::IPAddress(bytes), Ok(IpAddr::V6(address))) => *bytes == address.octets(),
        (GeneralName::DNSName(pattern), Err(_)) => matches(pattern, allowed),
        _ => false,
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.trim_end_matches('.'), host.trim_end_matches('.'));
    if pattern.is_empty() || host.is_empty() {
        return false;
    }
    let (mut wanted, mut given) = (pattern.split('.'), host.split('.'));
    let wildcard = pattern.starts_with("*.") && pattern.len() > 2;
    if wildcard {
        wanted.next();
        if given.next().is_none_or(str::is_empty) {
            return false;
        }
    }
    wanted.map(str::to_ascii_lowercase).eq(given.map(str::to_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_one_label_at_the_beginning() {
        for (pattern, host, does) in [
            ("a.example", "A.Example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("a.*", "a.example", false),
            ("*", "a", false),
            ("", "", false),
            ("a.example.", "a.example", true),
        ] {
            assert_eq!(matches(pattern, host), does, "{pattern} for {host}");
        }
    }
}
