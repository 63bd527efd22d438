//! The flags that mean something here, with their defaults.

use std::{path::PathBuf, time::Duration};

use tombolo_storage::Durability;

use super::{
    JoinTicket, LogFormat, auth::AuthFlags, gateway::GatewayFlags, go_duration, keeper::KeeperFlags, rate::RateFlags,
    tls::TlsFlags,
};

/// As given, before [`Config`](super::Config) has checked them against one another.
#[derive(clap::Args, Debug)]
pub(super) struct Flags {
    /// Name of this member
    #[arg(long, env = "TOMBOLO_NAME", default_value = "default")]
    pub(super) name: String,

    /// Data folder; created when missing [default: <name>.tombolo]
    #[arg(long, env = "TOMBOLO_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,

    /// Where to listen for clients
    #[arg(long, env = "TOMBOLO_LISTEN_CLIENT_URLS", value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    pub(super) listen_client_urls: Vec<String>,

    /// Where clients are told to connect [default: the listening URLs]
    #[arg(long, env = "TOMBOLO_ADVERTISE_CLIENT_URLS", value_delimiter = ',')]
    pub(super) advertise_client_urls: Vec<String>,

    /// Where to listen for peers, over UDP; the first address is used
    #[arg(long, env = "TOMBOLO_LISTEN_PEER_URLS", value_delimiter = ',', default_value = "http://localhost:2380")]
    pub(super) listen_peer_urls: Vec<String>,

    /// Where peers are told to connect [default: the listening URL]
    #[arg(long, env = "TOMBOLO_INITIAL_ADVERTISE_PEER_URLS", value_delimiter = ',')]
    pub(super) initial_advertise_peer_urls: Vec<String>,

    /// Join the mesh that a ticket of `tombolo mesh invite` is for: the ticket, or @ and the name of a file that has it.
    /// Used once; a folder that belongs to that mesh already is opened as it is. Other users of the machine see a command line,
    /// but not a file
    #[arg(long, env = "TOMBOLO_JOIN", value_name = "TICKET|@FILE", hide_env_values = true)]
    pub(super) join: Option<JoinTicket>,

    /// Go on with what the data folder holds where nobody else can make good what it has lost: nothing brings that back. A replica whose
    /// log has lost its end goes on by itself as long as it has peers. A copy of a folder goes on in a mesh of its own
    #[arg(long, env = "TOMBOLO_SOLE", value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) sole: bool,

    /// Where to serve metrics and health besides the client URLs
    #[arg(long, env = "TOMBOLO_LISTEN_METRICS_URLS", value_delimiter = ',')]
    pub(super) listen_metrics_urls: Vec<String>,

    /// Let clients of other machines in at http:// URLs, without TLS
    #[arg(
        long,
        env = "TOMBOLO_INSECURE_CLIENTS",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub(super) insecure_clients: bool,

    /// When a write counts as done: fsync, interval:<duration> or os
    #[arg(long, env = "TOMBOLO_DURABILITY", default_value = "fsync")]
    pub(super) durability: Durability,

    /// Least severe level that is logged
    #[arg(long, env = "TOMBOLO_LOG_LEVEL", default_value = "info")]
    pub(super) log_level: LogLevel,

    /// Format of the log
    #[arg(long, env = "TOMBOLO_LOG_FORMAT", default_value = "console")]
    pub(super) log_format: LogFormat,

    /// Largest request that may change the store
    #[arg(long, env = "TOMBOLO_MAX_REQUEST_BYTES", default_value_t = 1_572_864)]
    pub(super) max_request_bytes: usize,

    /// Most operations of one level of a transaction
    #[arg(long, env = "TOMBOLO_MAX_TXN_OPS", default_value_t = 128)]
    pub(super) max_txn_ops: usize,

    /// Most requests and streams that one connection may have open
    #[arg(long, env = "TOMBOLO_MAX_CONCURRENT_STREAMS", default_value_t = 1_000)]
    pub(super) max_concurrent_streams: u32,

    /// How often an idle watcher that asked for it is told the revision
    #[arg(
        long,
        env = "TOMBOLO_WATCH_PROGRESS_NOTIFY_INTERVAL",
        alias = "experimental-watch-progress-notify-interval",
        value_parser = go_duration::parse,
        default_value = "10m"
    )]
    pub(super) watch_progress_notify_interval: Duration,

    /// How long a client may be silent before it is pinged; 0s: never
    #[arg(long, env = "TOMBOLO_GRPC_KEEPALIVE_INTERVAL", value_parser = go_duration::parse, default_value = "2h")]
    pub(super) grpc_keepalive_interval: Duration,

    /// How long a client's answer to a ping may take
    #[arg(long, env = "TOMBOLO_GRPC_KEEPALIVE_TIMEOUT", value_parser = go_duration::parse, default_value = "20s")]
    pub(super) grpc_keepalive_timeout: Duration,

    /// Members to begin with: this one alone, as name=url
    #[arg(long, env = "TOMBOLO_INITIAL_CLUSTER", value_delimiter = ',')]
    pub(super) initial_cluster: Vec<String>,

    #[command(flatten)]
    pub(super) auth: AuthFlags,

    #[command(flatten)]
    pub(super) gateway: GatewayFlags,

    #[command(flatten)]
    pub(super) keeper: KeeperFlags,

    #[command(flatten)]
    pub(super) rate: RateFlags,

    #[command(flatten)]
    pub(super) tls: TlsFlags,
}

/// etcd's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    #[value(alias = "dpanic", alias = "fatal")]
    Panic,
}

impl LogLevel {
    /// Libraries speak of single connections and frames below errors: what a client does wrong must not fill the log.
    pub(super) fn filter(self) -> String {
        match self {
            Self::Debug => "info,tombolo_server=debug,tombolod=debug,h2=error".to_owned(),
            Self::Info => "info,h2=error".to_owned(),
            Self::Warn => "warn,h2=error".to_owned(),
            Self::Error | Self::Panic => "error".to_owned(),
        }
    }
}
