//! The flags about TLS, with etcdctl's meanings.
//!
//! `https://` endpoints speak TLS and `http://` ones do not, whatever the flags say. To endpoints without a scheme it is spoken as soon as one of
//! `--cacert`, `--cert` and `--key` is given, or `--insecure-transport=false`.

use std::path::PathBuf;

use clap::Args;
use tombolo_client::{ClientOptions, TlsOptions};

use crate::exit::Failure;

/// How servers are recognised, and what this client shows them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Secure {
    /// Disable transport security for client connections
    #[arg(long, global = true, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    insecure_transport: bool,
    /// Skip server certificate verification
    #[arg(long, global = true)]
    insecure_skip_tls_verify: bool,
    /// Identify secure client using this TLS certificate file
    #[arg(long, global = true)]
    cert: Option<String>,
    /// Identify secure client using this TLS key file
    #[arg(long, global = true)]
    key: Option<String>,
    /// Verify certificates of TLS-enabled secure servers using this CA bundle
    #[arg(long, global = true)]
    cacert: Option<String>,
}

impl Secure {
    /// Puts what was given into `options`. No file is read yet.
    pub(crate) fn apply(&self, options: &mut ClientOptions) -> Result<(), Failure> {
        let mut tls = TlsOptions::default();
        tls.ca_file = path("cacert", self.cacert.as_deref())?;
        tls.cert_file = path("cert", self.cert.as_deref())?;
        tls.key_file = path("key", self.key.as_deref())?;
        tls.skip_verification = self.insecure_skip_tls_verify;
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            return Err(Failure::arguments("--cert and --key must be given together"));
        }
        options.tls_without_scheme = !self.insecure_transport || tls.ca_file.is_some() || tls.cert_file.is_some();
        options.tls = tls;
        Ok(())
    }

    /// The settings as etcdctl's `--debug` spells them, with the names that they have in the environment.
    pub(crate) fn described(&self) -> Vec<(&'static str, String)> {
        let given = |path: &Option<String>| path.clone().unwrap_or_default();
        vec![
            ("CACERT", given(&self.cacert)),
            ("CERT", given(&self.cert)),
            ("INSECURE_SKIP_TLS_VERIFY", self.insecure_skip_tls_verify.to_string()),
            ("INSECURE_TRANSPORT", self.insecure_transport.to_string()),
            ("KEY", given(&self.key)),
        ]
    }
}

fn path(name: &str, given: Option<&str>) -> Result<Option<PathBuf>, Failure> {
    match given {
        Some("") => Err(Failure::arguments(format!("empty string is passed to --{name} option"))),
        given => Ok(given.map(PathBuf::from)),
    }
}
