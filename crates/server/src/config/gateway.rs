//! The flags of the JSON gateway: whether there is one, whose pages may use it, and by which names it may be called.
//!
//! The names are etcd's, the defaults are not: etcd lets every page of every site in. A browser is a program of this machine that runs other
//! people's code, so here no page is let in that was not named, and a listener that only this machine can reach answers to this machine's names alone.

use clap::ArgAction;

use super::url::Url;

/// As given.
#[derive(clap::Args, Debug)]
pub(super) struct GatewayFlags {
    /// Serve etcd's API as JSON over HTTP too, under /v3/
    #[arg(
        long,
        env = "TOMBOLO_ENABLE_GRPC_GATEWAY",
        action = ArgAction::Set,
        num_args = 0..=1,
        default_value_t = true,
        default_missing_value = "true"
    )]
    enable_grpc_gateway: bool,

    /// Origins whose pages may send requests, as in https://console.example; * for all [default: none]
    #[arg(long, env = "TOMBOLO_CORS", value_delimiter = ',')]
    cors: Vec<String>,

    /// Names by which HTTP requests without TLS may call this server, besides addresses, localhost and the names of its client URLs;
    /// * for all [default: all, but on listeners that only this machine can reach]
    #[arg(long, env = "TOMBOLO_HOST_WHITELIST", value_delimiter = ',')]
    host_whitelist: Vec<String>,
}

/// What is let in over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Whether there is a gateway.
    pub is_enabled: bool,
    /// Whose pages may send requests.
    pub origins: Listed,
    /// Names that the operator gave; `None` when nothing was said.
    pub hosts: Option<Listed>,
    /// Names in the server's own client URLs.
    pub own_hosts: Vec<String>,
}

/// A list that may be of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// `*`
    All,
    /// These, in lower case.
    These(Vec<String>),
}

impl Default for Listed {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Listed {
    fn of(given: Vec<String>) -> Self {
        if given.iter().any(|one| one == "*") {
            return Self::All;
        }
        Self::These(given.into_iter().filter(|one| !one.is_empty()).map(|one| one.to_ascii_lowercase()).collect())
    }

    /// Whether `one` is in it.
    pub fn has(&self, one: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.iter().any(|known| one.eq_ignore_ascii_case(known)),
        }
    }
}

impl GatewayFlags {
    /// `client_urls`: those that are listened on and those that clients are told.
    pub(super) fn check<'a>(self, client_urls: impl IntoIterator<Item = &'a Url>) -> Result<GatewayConfig, String> {
        let origins = Listed::of(self.cors);
        if let Listed::These(origins) = &origins {
            origins.iter().try_for_each(|origin| check_origin(origin))?;
        }
        if let Some(odd) = self.host_whitelist.iter().find(|host| host.contains(['/', '@']) || has_port(host)) {
            return Err(format!("--host-whitelist: {odd:?} is not a name: say it without scheme and port"));
        }
        Ok(GatewayConfig {
            is_enabled: self.enable_grpc_gateway,
            origins,
            hosts: (!self.host_whitelist.is_empty()).then(|| Listed::of(self.host_whitelist)),
            own_hosts: client_urls.into_iter().map(|url| url.host().to_ascii_lowercase()).collect(),
        })
    }
}

/// A browser sends `scheme://host` or `scheme://host:port`: anything else would never match, and a typing error would go unnoticed.
fn check_origin(origin: &str) -> Result<(), String> {
    let host = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '@', '*', '?', '#', ' ']) => Ok(()),
        _ => Err(format!("--cors: {origin:?} is not an origin, as in https://console.example, nor *")),
    }
}

fn has_port(host: &str) -> bool {
    host.split_once(':').is_some_and(|(_, rest)| !rest.contains(':'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        gateway: GatewayFlags,
    }

    fn check(arguments: &[&str]) -> Result<GatewayConfig, String> {
        let urls = ["http://127.0.0.1:2379", "http://Node.Example:2379"].map(|url| url.parse::<Url>().unwrap());
        let command = Command::try_parse_from(["tombolod"].iter().chain(arguments)).map_err(|why| why.to_string())?;
        command.gateway.check(&urls)
    }

    #[test]
    fn nothing_said_means_a_gateway_that_no_page_may_use() {
        let config = check(&[]).unwrap();
        assert!(config.is_enabled && config.hosts.is_none());
        assert!(!config.origins.has("http://a.example") && !config.origins.has("null") && !config.origins.has(""));
        assert_eq!(config.own_hosts, ["127.0.0.1", "node.example"]);
        assert!(!check(&["--enable-grpc-gateway=false"]).unwrap().is_enabled);
    }

    #[test]
    fn origins_and_names_are_compared_whatever_their_case() {
        let config =
            check(&["--cors=https://Console.Example,http://localhost:8080", "--host-whitelist", "Etcd,::1"]).unwrap();
        for origin in ["https://console.example", "HTTP://localhost:8080"] {
            assert!(config.origins.has(origin), "{origin}");
        }
        for origin in ["http://console.example", "https://console.example:8443", "https://console.example.evil", "null"]
        {
            assert!(!config.origins.has(origin), "{origin}");
        }
        let hosts = config.hosts.unwrap();
        assert!(hosts.has("etcd") && hosts.has("::1") && !hosts.has("etcd.evil"));
    }

    #[test]
    fn a_star_is_everything() {
        let config = check(&["--cors=https://a.example,*", "--host-whitelist=*"]).unwrap();
        assert_eq!((config.origins, config.hosts), (Listed::All, Some(Listed::All)));
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for flag in [
            "--cors=console.example",
            "--cors=https://console.example/",
            "--cors=https://*.example",
            "--cors=https://",
            "--cors=null",
            "--host-whitelist=http://a",
            "--host-whitelist=a:2379",
        ] {
            assert!(check(&[flag]).unwrap_err().starts_with(flag.split('=').next().unwrap()), "{flag}");
        }
    }
}
