//! Names of cipher suites as etcd's flag knows them, which are Go's.
//!
//! The sound suites of TLS 1.2 are spoken. The others that Go still knows (CBC, RC4, key exchange by RSA) are recognised, so that an
//! existing list starts with what is left of it. Suites of TLS 1.3 cannot be chosen in Go either; naming them changes nothing.

use rustls::CipherSuite;
use thiserror::Error;

/// What a list of names comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Suites of TLS 1.2, in the order of the list.
    pub(super) suites: Vec<CipherSuite>,
    /// Names of suites that are not spoken here.
    pub(super) unsound: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum SuiteError {
    #[error("unexpected TLS cipher suite {name:?}")]
    Unknown { name: String },
    #[error("none of them is spoken here; choose from {}", SOUND.map(|(name, _)| name).join(", "))]
    NoneLeft,
}

const SOUND: [(&str, CipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

const FIXED: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

const UNSOUND: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

pub(super) fn choose(names: &[&str]) -> Result<Chosen, SuiteError> {
    let mut chosen = Chosen { suites: Vec::new(), unsound: Vec::new() };
    for name in names {
        // Older releases of Go left the hash out of these two names.
        let short = name.ends_with("_CHACHA20_POLY1305") && !FIXED.contains(name);
        let full = if short { format!("{name}_SHA256") } else { (*name).to_owned() };
        match SOUND.iter().find(|(known, _)| *known == full) {
            Some((_, suite)) => chosen.suites.push(*suite),
            None if FIXED.contains(name) => {}
            None if UNSOUND.contains(name) => chosen.unsound.push((*name).to_owned()),
            None => return Err(SuiteError::Unknown { name: (*name).to_owned() }),
        }
    }
    let only_fixed = chosen.unsound.is_empty();
    match chosen.suites.is_empty() {
        true if only_fixed => Ok(Chosen { suites: SOUND.map(|(_, suite)| suite).to_vec(), ..chosen }),
        true => Err(SuiteError::NoneLeft),
        false => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_list_is_kept_and_unsound_suites_are_left_out() {
        let chosen = choose(&[
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ])
        .unwrap();
        let wanted = [
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ];
        assert_eq!(chosen.suites, wanted);
        assert_eq!(chosen.unsound, ["TLS_RSA_WITH_AES_128_CBC_SHA"]);
    }

    #[test]
    fn a_list_without_a_suite_that_is_spoken_is_refused() {
        assert_eq!(choose(&["TLS_RSA_WITH_RC4_128_SHA"]), Err(SuiteError::NoneLeft));
        assert_eq!(choose(&["TLS_ROT13"]), Err(SuiteError::Unknown { name: "TLS_ROT13".to_owned() }));
        assert_eq!(choose(&["TLS_AES_128_GCM_SHA256"]).unwrap().suites.len(), SOUND.len());
    }
}
