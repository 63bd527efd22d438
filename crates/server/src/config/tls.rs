//! The TLS flags of client listeners, with etcd's names and meanings, checked as far as that goes without reading files.
//!
//! As in etcd, a bundle of trusted CAs alone already demands certificates of clients; `--client-cert-auth` also makes their common names
//! user names. Where etcd would start with less protection than was asked for, the flags are refused instead. Flags for peers' certificates
//! are accepted, so that manifests start, and named in the log: peers prove pinned keys to each other, which is no less.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use rustls::CipherSuite;

use super::url::Url;

mod cipher_suite;

/// How client listeners with TLS prove who they are, and what they demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's own certificate.
    pub identity: Identity,
    /// Certificates that clients' chains must end in. When there are none, clients are asked for no certificate.
    pub trusted_ca: Option<PathBuf>,
    /// Revoked certificates of clients.
    pub crl: Option<PathBuf>,
    /// Whether the common name of a client's certificate is its user name.
    pub names_users: bool,
    /// Names or addresses of which a client's certificate must have one; any will do when there are none.
    pub allowed_hostnames: Vec<String>,
    /// The oldest version that is spoken.
    pub oldest: TlsVersion,
    /// The newest version that is spoken.
    pub newest: TlsVersion,
    /// The suites of TLS 1.2, best first. Those of TLS 1.3 are fixed, as in etcd.
    pub suites: Option<Vec<CipherSuite>>,
}

/// Where a server's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// From files in PEM.
    Files {
        /// The certificate, followed by those of the CAs between it and the root.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// It is made at the first start, signed by itself, and kept in the data folder.
    SelfSigned {
        /// Its validity.
        years: u16,
        /// The names and addresses that it is for.
        hosts: Vec<String>,
    },
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// As given.
#[derive(clap::Args, Debug)]
pub(super) struct TlsFlags {
    /// Certificate of this server, in PEM, with those of the CAs between it and the root
    #[arg(long, env = "TOMBOLO_CERT_FILE", default_value = "", hide_default_value = true)]
    cert_file: OsString,

    /// Private key of --cert-file, in PEM
    #[arg(long, env = "TOMBOLO_KEY_FILE", default_value = "", hide_default_value = true)]
    key_file: OsString,

    /// CAs whose clients are let in, in PEM; without it clients need no certificate
    #[arg(long, env = "TOMBOLO_TRUSTED_CA_FILE", default_value = "", hide_default_value = true)]
    trusted_ca_file: OsString,

    /// Take the common name of a client's certificate for its user name
    #[arg(
        long,
        env = "TOMBOLO_CLIENT_CERT_AUTH",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    client_cert_auth: bool,

    /// Names or addresses of which a client's certificate must have one as subject alternative name
    #[arg(long, env = "TOMBOLO_CLIENT_CERT_ALLOWED_HOSTNAME", value_delimiter = ',')]
    client_cert_allowed_hostname: Vec<String>,

    /// Revoked certificates of clients, in PEM or DER
    #[arg(long, env = "TOMBOLO_CLIENT_CRL_FILE", default_value = "", hide_default_value = true)]
    client_crl_file: OsString,

    /// Make a certificate for this server, signed by itself, when none is given
    #[arg(
        long,
        env = "TOMBOLO_AUTO_TLS",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    auto_tls: bool,

    /// Years for which a certificate of --auto-tls is valid
    #[arg(long, env = "TOMBOLO_SELF_SIGNED_CERT_VALIDITY", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    self_signed_cert_validity: u16,

    /// Suites of TLS 1.2 that are spoken, best first [default: all that are sound]
    #[arg(long, env = "TOMBOLO_CIPHER_SUITES", value_delimiter = ',')]
    cipher_suites: Vec<String>,

    /// Oldest version of TLS that is spoken: TLS1.2 or TLS1.3
    #[arg(long, env = "TOMBOLO_TLS_MIN_VERSION", default_value = "TLS1.2")]
    tls_min_version: String,

    /// Newest version of TLS that is spoken: TLS1.2 or TLS1.3 [default: the newest]
    #[arg(long, env = "TOMBOLO_TLS_MAX_VERSION", default_value = "", hide_default_value = true)]
    tls_max_version: String,
}

/// Flags of etcd's about certificates that decide nothing here.
pub(super) const OF_PEERS: [&str; 14] = [
    "client-cert-file",
    "client-key-file",
    "experimental-peer-skip-client-san-verification",
    "peer-auto-tls",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-crl-file",
    "peer-key-file",
    "peer-skip-client-san-verification",
    "peer-trusted-ca-file",
];

impl TlsFlags {
    /// What the listeners with TLS need; `None` when no certificate is given.
    pub(super) fn check(
        self,
        clients: &[Url],
        metrics: &[Url],
        remarks: &mut Vec<String>,
    ) -> Result<Option<TlsConfig>, String> {
        let listeners: Vec<&Url> = clients.iter().chain(metrics).collect();
        let secure = listeners.iter().find(|url| url.is_tls());
        let identity = self.identity(&listeners, remarks)?;
        let given = |path: &OsStr| (!path.is_empty()).then(|| PathBuf::from(path));
        let (trusted_ca, crl) = (given(&self.trusted_ca_file), given(&self.client_crl_file));
        let allowed_hostnames: Vec<String> =
            self.client_cert_allowed_hostname.iter().filter(|name| !name.is_empty()).cloned().collect();
        match (secure, &identity) {
            (Some(url), None) => {
                return Err(format!(
                    "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
                ));
            }
            (None, _) if self.client_cert_auth => {
                return Err("--client-cert-auth: no listener has TLS, so that no client has a certificate; \
                            listen on https://"
                    .to_owned());
            }
            _ => {}
        }
        if trusted_ca.is_none() {
            let demand = [
                ("--client-cert-auth", self.client_cert_auth),
                ("--client-cert-allowed-hostname", !allowed_hostnames.is_empty()),
                ("--client-crl-file", crl.is_some()),
            ];
            if let Some((flag, _)) = demand.iter().find(|(_, demanded)| *demanded) {
                return Err(format!("{flag} needs --trusted-ca-file: without it no client is asked for a certificate"));
            }
        }
        if identity.is_some() {
            remark_plaintext(clients, self.client_cert_auth, remarks);
        }
        let (oldest, newest) = self.versions()?;
        let suites = self.suites(oldest, remarks)?;
        let names_users = self.client_cert_auth;
        Ok(identity.map(|identity| TlsConfig {
            identity,
            trusted_ca,
            crl,
            names_users,
            allowed_hostnames,
            oldest,
            newest,
            suites,
        }))
    }

    fn identity(&self, listeners: &[&Url], remarks: &mut Vec<String>) -> Result<Option<Identity>, String> {
        let (cert, key) = (PathBuf::from(&self.cert_file), PathBuf::from(&self.key_file));
        match (self.cert_file.is_empty(), self.key_file.is_empty()) {
            (false, false) => {
                if self.auto_tls {
                    remarks.push("--auto-tls makes no certificate, since --cert-file gives one".to_owned());
                }
                Ok(Some(Identity::Files { cert, key }))
            }
            (true, true) if self.auto_tls => {
                let mut hosts: Vec<String> = listeners.iter().map(|url| url.host().to_owned()).collect();
                hosts.sort();
                hosts.dedup();
                Ok(Some(Identity::SelfSigned { years: self.self_signed_cert_validity, hosts }))
            }
            (true, true) => Ok(None),
            _ => Err("--cert-file and --key-file must be given together".to_owned()),
        }
    }

    fn versions(&self) -> Result<(TlsVersion, TlsVersion), String> {
        let parse = |flag: &str, text: &str, default| match text {
            "" => Ok(default),
            "TLS1.2" => Ok(TlsVersion::V12),
            "TLS1.3" => Ok(TlsVersion::V13),
            other => Err(format!("{flag}: unexpected TLS version {other:?} (must be one of: TLS1.2, TLS1.3)")),
        };
        let oldest = parse("--tls-min-version", &self.tls_min_version, TlsVersion::V12)?;
        let newest = parse("--tls-max-version", &self.tls_max_version, TlsVersion::V13)?;
        if oldest > newest {
            return Err(format!(
                "--tls-min-version: min version ({}) is greater than max version ({})",
                self.tls_min_version, self.tls_max_version
            ));
        }
        Ok((oldest, newest))
    }

    fn suites(&self, oldest: TlsVersion, remarks: &mut Vec<String>) -> Result<Option<Vec<CipherSuite>>, String> {
        let names: Vec<&str> = self.cipher_suites.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Ok(None);
        }
        if oldest == TlsVersion::V13 {
            return Err("--cipher-suites: cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
        }
        let chosen = cipher_suite::choose(&names).map_err(|why| format!("--cipher-suites: {why}"))?;
        if !chosen.unsound.is_empty() {
            remarks.push(format!("--cipher-suites: not spoken here, since unsound: {}", chosen.unsound.join(", ")));
        }
        Ok(Some(chosen.suites))
    }
}

/// Says where the certificates do not protect, as etcd does.
fn remark_plaintext(clients: &[Url], client_cert_auth: bool, remarks: &mut Vec<String>) {
    for url in clients.iter().filter(|url| !url.is_tls()) {
        let auth = if client_cert_auth { ", and no client certificate is asked for" } else { "" };
        remarks.push(format!("{url} has no TLS although a certificate is given{auth}"));
    }
}

/// The remark about flags for peers' certificates that were given.
pub(super) fn remark_peers(given: &[String]) -> Option<String> {
    let names: Vec<String> = given.iter().map(|name| format!("--{name}")).collect();
    (!names.is_empty()).then(|| {
        format!("peers prove pinned keys to each other and need no certificates; not used: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Security};

    fn parse(line: &str) -> Result<Config, String> {
        Config::parse(["tombolod"].into_iter().chain(line.split_whitespace())).map_err(|why| why.to_string())
    }

    const FILES: &str = "--listen-client-urls=https://10.0.0.4:1 --cert-file=c --key-file=k";

    #[test]
    fn the_flags_of_a_kubeadm_manifest_are_accepted() {
        let config = parse(
            "--advertise-client-urls=https://10.0.0.4:2379 --cert-file=/pki/server.crt --client-cert-auth=true \
             --data-dir=/var/lib/etcd --feature-gates=InitialCorruptCheck=true \
             --initial-advertise-peer-urls=https://10.0.0.4:2380 --initial-cluster=node=https://10.0.0.4:2380 \
             --key-file=/pki/server.key --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.4:2379 \
             --listen-metrics-urls=http://127.0.0.1:2381 --listen-peer-urls=https://10.0.0.4:2380 --name=node \
             --peer-cert-file=/pki/peer.crt --peer-client-cert-auth=true --peer-key-file=/pki/peer.key \
             --peer-trusted-ca-file=/pki/ca.crt --snapshot-count=10000 --trusted-ca-file=/pki/ca.crt \
             --watch-progress-notify-interval=5s",
        )
        .unwrap();
        let tls = config.tls.unwrap();
        let (cert, key) = (PathBuf::from("/pki/server.crt"), PathBuf::from("/pki/server.key"));
        assert_eq!(tls.identity, Identity::Files { cert, key });
        assert_eq!(tls.trusted_ca, Some(PathBuf::from("/pki/ca.crt")));
        assert!(tls.names_users);
        assert!(config.client_listeners.iter().all(|listener| listener.security == Security::Tls));
        assert!(config.remarks.iter().all(|remark| !remark.contains("no TLS")), "{:?}", config.remarks);
        let peers = config.remarks.iter().find(|remark| remark.contains("pinned keys")).unwrap();
        for flag in ["--peer-cert-file", "--peer-client-cert-auth", "--peer-key-file", "--peer-trusted-ca-file"] {
            assert!(peers.contains(flag), "{peers}");
        }
    }

    #[test]
    fn less_protection_than_was_asked_for_is_refused() {
        for (line, named) in [
            ("--listen-client-urls=https://127.0.0.1:1", "--cert-file, --key-file"),
            ("--listen-metrics-urls=https://127.0.0.1:1", "--cert-file, --key-file"),
            ("--cert-file=c", "together"),
            ("--key-file=k", "together"),
            ("--client-cert-auth", "https://"),
            ("--client-cert-auth --cert-file=c --key-file=k --trusted-ca-file=a", "https://"),
            (&format!("{FILES} --client-cert-auth"), "--trusted-ca-file"),
            (&format!("{FILES} --client-crl-file=r"), "--trusted-ca-file"),
            (&format!("{FILES} --client-cert-allowed-hostname=h"), "--trusted-ca-file"),
            (&format!("{FILES} --tls-min-version=TLS1.1"), "unexpected TLS version"),
            (&format!("{FILES} --tls-min-version=TLS1.3 --tls-max-version=TLS1.2"), "greater than max"),
            (
                &format!("{FILES} --tls-min-version=TLS1.3 --cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
                "only",
            ),
            (&format!("{FILES} --cipher-suites=TLS_ROT13"), "unexpected TLS cipher suite"),
            (
                "--listen-client-urls=https://10.0.0.4:1,http://10.0.0.4:1 --cert-file=c --key-file=k",
                "--insecure-clients",
            ),
        ] {
            let message = parse(line).map(drop).unwrap_err();
            assert!(message.contains(named), "{line}: {message}");
        }
    }

    #[test]
    fn listening_elsewhere_with_tls_needs_no_insisting() {
        let config = parse(FILES).unwrap();
        let tls = config.tls.unwrap();
        assert_eq!((tls.oldest, tls.newest, tls.suites), (TlsVersion::V12, TlsVersion::V13, None));
        assert_eq!((tls.trusted_ca, tls.names_users), (None, false));
    }

    #[test]
    fn plaintext_beside_tls_is_remarked() {
        let both = "--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:1 --cert-file=c --key-file=k \
                    --trusted-ca-file=a --client-cert-auth";
        let config = parse(both).unwrap();
        assert_eq!(config.client_listeners[0].security, Security::Either);
        let remark = config.remarks.iter().find(|remark| remark.contains("http://127.0.0.1:1")).unwrap();
        assert!(remark.contains("no client certificate is asked for"), "{remark}");
    }

    #[test]
    fn a_certificate_of_its_own_is_for_the_hosts_it_listens_on() {
        let config =
            parse("--auto-tls --listen-client-urls=https://127.0.0.1:1,https://[::1]:1 --self-signed-cert-validity=3");
        let hosts = ["127.0.0.1", "::1"].map(str::to_owned).to_vec();
        assert_eq!(config.unwrap().tls.unwrap().identity, Identity::SelfSigned { years: 3, hosts });
        assert_eq!(parse("--auto-tls=false").unwrap().tls, None);
        let files = parse(&format!("{FILES} --auto-tls")).unwrap();
        assert!(matches!(files.tls.unwrap().identity, Identity::Files { .. }));
    }
}
