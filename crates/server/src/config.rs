//! What the operator asked for: flags with etcd's names, environment variables with the same names, and a file of them.
//!
//! [`Config::parse`] checks everything that can be checked without touching disk or network, so that a wrong flag is named before
//! anything has happened. Flags that only a consensus protocol needs are accepted, so that existing manifests start, and named once in the
//! log. Flags whose absence would make the server less safe than the operator believes are refused.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _, error::ErrorKind, parser::ValueSource};
use tombolo_net::Rates;
use tombolo_storage::Durability;

use self::{
    flags::Flags,
    url::{Url, UrlError},
};

mod auth;
mod environment;
mod flags;
mod foreign;
mod gateway;
mod go_duration;
mod join;
mod keeper;
mod listen;
mod rate;
mod tls;
mod url;
mod yaml;

pub use self::{
    auth::{AuthConfig, TokenConfig},
    gateway::{GatewayConfig, Listed},
    join::JoinTicket,
    keeper::{KeeperConfig, LogOutput},
    listen::{ListenAddress, Security},
    tls::{Identity, TlsConfig, TlsVersion},
};

/// Where the log goes and how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Console,
    /// One object a line.
    Json,
}

/// The checked configuration of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name.
    pub name: String,
    /// The data folder.
    pub data_dir: PathBuf,
    /// Each client listener.
    pub client_listeners: Vec<ListenAddress>,
    /// Each listener for metrics and health alone.
    pub metrics_listeners: Vec<ListenAddress>,
    /// What listeners with TLS need; there is none without it.
    pub tls: Option<TlsConfig>,
    /// What is let in over HTTP.
    pub gateway: GatewayConfig,
    /// URLs that clients are told.
    pub advertised_client_urls: Vec<String>,
    /// URLs of this member's place in the mesh, as clients are told.
    pub advertised_peer_urls: Vec<String>,
    /// `host:port` of the listener for peers.
    pub peer_listener: String,
    /// Whether the operator chose that address; the default one may be taken.
    pub is_peer_listener_chosen: bool,
    /// `host:port` of each place where peers are told to connect.
    pub advertised_peer_addresses: Vec<String>,
    /// How much peers are sent at most.
    pub peer_rates: Rates,
    /// The ticket of the mesh to join, or `@` and the name of the file that has it.
    pub join: Option<JoinTicket>,
    /// Whether a folder that has lost what nobody else has goes on without it.
    pub sole: bool,
    /// The log's level: a `tracing` filter.
    pub log_level: String,
    /// The log's format.
    pub log_format: LogFormat,
    /// When a write counts as done.
    pub durability: Durability,
    /// The largest request that may change the store.
    pub max_request_bytes: usize,
    /// The most operations of one level of a transaction.
    pub max_txn_ops: usize,
    /// The most requests that one connection may have open.
    pub max_concurrent_streams: u32,
    /// How often an idle watcher that asked for it is told the revision.
    pub progress_notify_interval: Duration,
    /// How long a connection may be silent before it is pinged; zero: never.
    pub keepalive_interval: Duration,
    /// How long an answer to a ping may take.
    pub keepalive_timeout: Duration,
    /// How users log in.
    pub auth: AuthConfig,
    /// What keeps the store in bounds, and where the log goes.
    pub keeper: KeeperConfig,
    /// Flags that were given and mean nothing here.
    pub ignored: Vec<String>,
    /// Remarks for the log, made before there was one.
    pub remarks: Vec<String>,
}

impl Config {
    /// Reads the command line and the environment. The error prints itself, help and version included.
    pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut command = foreign::augment(Flags::augment_args(Command::new("tombolod")))
            .version(env!("CARGO_PKG_VERSION"))
            .about("A key-value store that serves etcd's API from the site its clients are in")
            .after_help(
                "Each flag can be set in the environment: TOMBOLO_ and its name, as in TOMBOLO_DATA_DIR; or as for etcd, ETCD_DATA_DIR.",
            );
        let mut arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let supplement = environment::supplement(&command, &arguments, std::env::vars_os())
            .map_err(|problem| command.error(ErrorKind::ValueValidation, problem))?;
        arguments.extend(supplement.arguments);
        let mut matches = command.try_get_matches_from_mut(arguments)?;
        let refused = foreign::refused(&matches);
        let ignored = foreign::ignored(&matches);
        let of_peers = tls::remark_peers(&foreign::of_peers(&matches));
        let chosen = |name| !matches!(matches.value_source(name), None | Some(ValueSource::DefaultValue));
        let is_peer_listener_chosen = chosen("listen_peer_urls");
        let flags = Flags::from_arg_matches_mut(&mut matches)?;
        let config = match refused {
            Some(problem) => Err(problem),
            None => Self::check(flags, ignored),
        };
        let config = config.map(|mut config| {
            config.remarks.extend(supplement.remarks.into_iter().chain(of_peers));
            Self { is_peer_listener_chosen, ..config }
        });
        config.map_err(|problem| command.error(ErrorKind::ValueValidation, problem))
    }

    fn check(flags: Flags, ignored: Vec<String>) -> Result<Self, String> {
        let mut clients = listeners("--listen-client-urls", &flags.listen_client_urls)?;
        clients.extend(listeners("--listen-client-http-urls", &flags.keeper.listen_client_http_urls)?);
        check_open(&clients, flags.insecure_clients)?;
        let metrics = listeners("--listen-metrics-urls", &flags.listen_metrics_urls)?;
        let peers = peer_urls("--listen-peer-urls", &flags.listen_peer_urls)?;
        let advertised_peers = match flags.initial_advertise_peer_urls.as_slice() {
            [] => peers.clone(),
            given => peer_urls("--initial-advertise-peer-urls", given)?,
        };
        let advertised_clients = listeners("--advertise-client-urls", &flags.advertise_client_urls)?;
        let gateway = flags.gateway.check(clients.iter().chain(&advertised_clients))?;
        check_initial_cluster(&flags.initial_cluster, &flags.name)?;
        if flags.name.is_empty() || flags.name.contains(['/', '\0']) {
            return Err("--name must not be empty and must not contain '/'".to_owned());
        }
        if !(1..=MAX_REQUEST_BYTES_MAX).contains(&flags.max_request_bytes) {
            return Err(format!("--max-request-bytes must lie between 1 and {MAX_REQUEST_BYTES_MAX}"));
        }
        let mut remarks = Vec::new();
        let tls = flags.tls.check(&clients, &metrics, &mut remarks)?;
        let auth = flags.auth.check(&mut remarks)?;
        let keeper = flags.keeper.check(&mut remarks)?;
        if peers.len() > 1 {
            remarks.push(format!("--listen-peer-urls: only the first is listened on, {}", peers[0].socket()));
        }
        let mut progress_notify_interval = flags.watch_progress_notify_interval;
        if progress_notify_interval < PROGRESS_NOTIFY_INTERVAL_MIN {
            remarks.push(format!("--watch-progress-notify-interval is raised to {PROGRESS_NOTIFY_INTERVAL_MIN:?}"));
            progress_notify_interval = PROGRESS_NOTIFY_INTERVAL_MIN;
        }
        let advertised =
            |given: Vec<String>, fallback: &[String]| if given.is_empty() { fallback.to_vec() } else { given };
        Ok(Self {
            data_dir: flags.data_dir.unwrap_or_else(|| PathBuf::from(format!("{}.tombolo", flags.name))),
            name: flags.name,
            client_listeners: listen::addresses(&clients),
            metrics_listeners: listen::addresses(&metrics),
            tls,
            gateway,
            advertised_client_urls: advertised(flags.advertise_client_urls, &flags.listen_client_urls),
            advertised_peer_urls: advertised(flags.initial_advertise_peer_urls, &flags.listen_peer_urls),
            peer_listener: peers.first().map(Url::socket).ok_or("--listen-peer-urls: there is none")?,
            is_peer_listener_chosen: false,
            advertised_peer_addresses: advertised_peers
                .iter()
                .filter(|url| !url.is_unspecified())
                .map(Url::socket)
                .collect(),
            peer_rates: flags.rate.rates(),
            join: flags.join.filter(|join| join.given().is_some()),
            sole: flags.sole,
            log_level: if flags.keeper.debug { flags::LogLevel::Debug } else { flags.log_level }.filter(),
            log_format: flags.log_format,
            durability: flags.keeper.durability(flags.durability, &mut remarks),
            max_request_bytes: flags.max_request_bytes,
            max_txn_ops: flags.max_txn_ops,
            max_concurrent_streams: flags.max_concurrent_streams,
            progress_notify_interval,
            keepalive_interval: flags.grpc_keepalive_interval,
            keepalive_timeout: flags.grpc_keepalive_timeout,
            auth,
            keeper,
            ignored,
            remarks,
        })
    }
}

/// The largest request that can be asked for: a record has at most 8 MiB, and a request becomes a record.
const MAX_REQUEST_BYTES_MAX: usize = 7 << 20;
/// As in etcd: more often costs more than it tells.
const PROGRESS_NOTIFY_INTERVAL_MIN: Duration = Duration::from_millis(100);

fn listeners(flag: &str, urls: &[String]) -> Result<Vec<Url>, String> {
    let parse = |text: &String| text.parse().map_err(|why: UrlError| format!("{flag}: {text:?}: {why}"));
    urls.iter().map(parse).collect()
}

/// Nobody is open to other machines by mistake.
fn check_open(clients: &[Url], is_meant: bool) -> Result<(), String> {
    match clients.iter().find(|url| !url.is_tls() && !url.is_loopback() && !is_meant) {
        None => Ok(()),
        Some(open) => Err(format!(
            "--listen-client-urls: {open} can be reached from other machines, without TLS; listen on https:// with \
             --cert-file and --key-file, or add --insecure-clients if that is meant"
        )),
    }
}

fn peer_urls(flag: &str, urls: &[String]) -> Result<Vec<Url>, String> {
    let parse = |text: &String| Url::of_peer(text).map_err(|why| format!("{flag}: {text:?}: {why}"));
    urls.iter().map(parse).collect()
}

/// Accepts an initial cluster of this member alone.
fn check_initial_cluster(members: &[String], own: &str) -> Result<(), String> {
    let mut others = Vec::new();
    for member in members {
        match member.split_once('=') {
            Some((name, _)) if name == own => {}
            Some((name, _)) => others.push(name),
            None => return Err(format!("--initial-cluster: {member:?} is not of the form name=url")),
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    Err(format!(
        "--initial-cluster names other members than {own:?}: {}; a server joins a mesh by invitation, not by this list",
        others.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        Config::parse(["tombolod"].iter().chain(arguments)).map_err(|why| why.to_string())
    }

    fn sockets(listeners: &[ListenAddress]) -> Vec<&str> {
        listeners.iter().map(|listener| listener.socket.as_str()).collect()
    }

    #[test]
    fn without_flags_it_listens_on_loopback_only() {
        let config = parse(&[]).unwrap();
        assert_eq!(sockets(&config.client_listeners), ["127.0.0.1:2379"]);
        assert!(config.metrics_listeners.is_empty());
        assert_eq!(config.advertised_client_urls, ["http://127.0.0.1:2379"]);
        assert_eq!(config.data_dir, PathBuf::from("default.tombolo"));
        assert_eq!(config.max_request_bytes, 1_572_864);
        assert_eq!(config.max_txn_ops, 128);
        assert_eq!(config.durability, Durability::Fsync);
    }

    #[test]
    fn the_flags_of_a_kubeadm_manifest_without_tls_are_accepted() {
        let config = parse(&[
            "--advertise-client-urls=http://10.0.0.4:2379",
            "--data-dir=/var/lib/etcd",
            "--experimental-initial-corrupt-check=true",
            "--experimental-watch-progress-notify-interval=5s",
            "--feature-gates=InitialCorruptCheck=true",
            "--initial-advertise-peer-urls=http://10.0.0.4:2380",
            "--initial-cluster=node=http://10.0.0.4:2380",
            "--initial-cluster-state=new",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--listen-peer-urls=http://10.0.0.4:2380",
            "--name=node",
            "--snapshot-count=10000",
            "--client-cert-auth=false",
            "--heartbeat-interval",
            "100",
            "--pre-vote",
            "--max-wals=5",
        ])
        .unwrap();
        assert_eq!(config.progress_notify_interval, Duration::from_secs(5));
        assert_eq!(sockets(&config.metrics_listeners), ["127.0.0.1:2381"]);
        assert_eq!(config.advertised_peer_urls, ["http://10.0.0.4:2380"]);
        for name in ["snapshot-count", "pre-vote", "heartbeat-interval", "feature-gates"] {
            assert!(config.ignored.iter().any(|ignored| ignored == name), "{name} in {:?}", config.ignored);
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (arguments, named) in [
            (&["--listen-client-urls=http://0.0.0.0:2379"][..], "--insecure-clients"),
            (&["--listen-client-urls=127.0.0.1:2379"][..], "http://"),
            (&["--listen-client-urls=http://127.0.0.1"][..], "port"),
            (&["--initial-cluster=default=http://a:2380,b=http://b:2380"][..], "b"),
            (&["--initial-cluster=http://a:2380"][..], "name=url"),
            (&["--durability=never"][..], "interval:"),
            (&["--max-request-bytes=9000000"][..], "--max-request-bytes"),
            (&["--watch-progress-notify-interval=soon"][..], "soon"),
            (&["--force-new-cluster"][..], "--force-new-cluster"),
            (&["--no-such-flag"][..], "--no-such-flag"),
        ] {
            let message = parse(arguments).unwrap_err();
            assert!(message.contains(named), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn listening_elsewhere_can_be_insisted_on() {
        let everywhere = "--listen-client-urls=http://0.0.0.0:1,http://[::]:1";
        for insisting in ["--insecure-clients", "--insecure-clients=true"] {
            let config = parse(&[everywhere, insisting]).unwrap();
            assert_eq!(sockets(&config.client_listeners), ["0.0.0.0:1", "[::]:1"]);
        }
        assert!(parse(&[everywhere, "--insecure-clients=false"]).is_err());
    }

    #[test]
    fn a_proxy_with_tls_can_be_advertised() {
        let config = parse(&["--advertise-client-urls=https://store.example:443"]).unwrap();
        assert_eq!(config.advertised_client_urls, ["https://store.example:443"]);
        assert!(parse(&["--advertise-client-urls=https://store.example"]).is_err());
    }

    #[test]
    fn peers_are_listened_for_on_the_first_address_and_told_where_they_can_come() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.peer_listener.as_str(), config.is_peer_listener_chosen), ("localhost:2380", false));
        assert_eq!(config.advertised_peer_addresses, ["localhost:2380"]);
        let config = parse(&["--listen-peer-urls=udp://0.0.0.0:7,http://[::1]:8"]).unwrap();
        assert_eq!((config.peer_listener.as_str(), config.is_peer_listener_chosen), ("0.0.0.0:7", true));
        assert_eq!(config.advertised_peer_addresses, ["[::1]:8"], "nobody can connect to every address");
        assert_eq!(config.remarks.len(), 1);
        let config = parse(&["--initial-advertise-peer-urls=https://a.example:9,udp://10.0.0.1:9"]).unwrap();
        assert_eq!(config.advertised_peer_addresses, ["a.example:9", "10.0.0.1:9"]);
        assert!(parse(&["--listen-peer-urls=tcp://a:1"]).unwrap_err().contains("--listen-peer-urls"));
    }

    #[test]
    fn a_ticket_is_taken_as_it_is_and_an_empty_one_is_none() {
        let config = parse(&["--join", " tmb1x \n"]).unwrap();
        assert_eq!(config.join.as_ref().and_then(JoinTicket::given), Some("tmb1x"));
        assert!(!format!("{config:?}").contains("tmb1x"), "a ticket is a secret");
        assert_eq!(parse(&["--join="]).unwrap().join, None);
    }

    #[test]
    fn a_tiny_progress_interval_is_raised_and_remarked() {
        let config = parse(&["--watch-progress-notify-interval=1ms"]).unwrap();
        assert_eq!(config.progress_notify_interval, PROGRESS_NOTIFY_INTERVAL_MIN);
        assert_eq!(config.remarks.len(), 1);
    }
}
