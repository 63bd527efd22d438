//! The flags that lead to a live etcd.

use std::fmt;

use clap::Args;
use tombolo_client::{Client, ClientOptions, Credentials, TlsOptions};

use crate::{context::Context, exit::Failure};

/// Where a live etcd is, and how it is spoken to.
#[derive(Args)]
pub(crate) struct From {
    /// A live etcd, as for --endpoints
    #[arg(long, value_name = "ENDPOINTS", value_delimiter = ',')]
    from_endpoints: Vec<String>,
    /// Verify its certificate with this CA bundle
    #[arg(long, value_name = "FILE")]
    from_cacert: Option<String>,
    /// Identify to it with this certificate
    #[arg(long, value_name = "FILE", requires = "from_key")]
    from_cert: Option<String>,
    /// Identify to it with this key
    #[arg(long, value_name = "FILE", requires = "from_cert")]
    from_key: Option<String>,
    /// Take whoever answers for it
    #[arg(long)]
    from_insecure_skip_tls_verify: bool,
    /// Who asks it: username:password
    #[arg(long, value_name = "USER")]
    from_user: Option<String>,
}

impl From {
    /// A client of it, with the patience that the command line gives every server.
    pub(super) fn client(&self, context: &Context) -> Result<Context, Failure> {
        let endpoints = self.from_endpoints.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
        let unusable = |error: &dyn fmt::Display| Failure::arguments(error.to_string()).hint("check --from-endpoints");
        let endpoints = endpoints.map_err(|error: tombolo_client::EndpointError| unusable(&error))?;
        let options = self.options(&context.options)?;
        let client = Client::new(endpoints, options.clone()).map_err(|error| unusable(&error))?;
        Ok(Context { client, options, ..context.clone() })
    }

    fn options(&self, like: &ClientOptions) -> Result<ClientOptions, Failure> {
        let mut options = ClientOptions::default();
        options.connect_timeout = like.connect_timeout;
        options.keep_alive_time = like.keep_alive_time;
        options.keep_alive_timeout = like.keep_alive_timeout;
        let mut tls = TlsOptions::default();
        tls.ca_file = self.from_cacert.as_ref().map(Into::into);
        tls.cert_file = self.from_cert.as_ref().map(Into::into);
        tls.key_file = self.from_key.as_ref().map(Into::into);
        tls.skip_verification = self.from_insecure_skip_tls_verify;
        options.tls_without_scheme = tls.ca_file.is_some() || tls.cert_file.is_some();
        options.tls = tls;
        options.credentials = match self.from_user.as_deref().map(|user| user.split_once(':')) {
            None => None,
            Some(Some((name, password))) => Some(Credentials::password(name, password)),
            Some(None) => return Err(Failure::arguments("--from-user is username:password")),
        };
        Ok(options)
    }
}

impl fmt::Debug for From {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("From").field("endpoints", &self.from_endpoints).finish_non_exhaustive()
    }
}
