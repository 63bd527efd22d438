//! etcd's flags that mean nothing here: harmless ones are accepted and reported, the others refused with a reason.

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::tls::OF_PEERS;

/// Flags about consensus, its files, their tuning and their surveillance. Ignoring them changes no promise.
const IGNORED: [&str; 88] = [
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-enabled",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "discovery-cacert",
    "discovery-cert",
    "discovery-dial-timeout",
    "discovery-fallback",
    "discovery-insecure-skip-tls-verify",
    "discovery-insecure-transport",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-key",
    "discovery-password",
    "discovery-proxy",
    "discovery-request-timeout",
    "discovery-srv-name",
    "discovery-user",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "election-timeout",
    "enable-distributed-tracing",
    "enable-pprof",
    "experimental-backend-bbolt-freelist-type",
    "experimental-bootstrap-defrag-threshold-megabytes",
    "experimental-compact-hash-check-enabled",
    "experimental-compact-hash-check-time",
    "experimental-compaction-batch-limit",
    "experimental-compaction-sleep-interval",
    "experimental-corrupt-check-time",
    "experimental-distributed-tracing-address",
    "experimental-distributed-tracing-instance-id",
    "experimental-distributed-tracing-sampling-rate",
    "experimental-distributed-tracing-service-name",
    "experimental-downgrade-check-time",
    "experimental-enable-distributed-tracing",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-initial-corrupt-check",
    "experimental-max-learners",
    "experimental-memory-mlock",
    "experimental-set-member-localaddr",
    "experimental-snapshot-catchup-entries",
    "experimental-stop-grpc-service-on-defrag",
    "experimental-txn-mode-write-with-shared-buffer",
    "experimental-warning-apply-duration",
    "experimental-warning-unary-request-duration",
    "feature-gates",
    "grpc-keepalive-min-time",
    "heartbeat-interval",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-corrupt-check",
    "initial-election-tick-advance",
    "log-package-levels",
    "log-rotation-config-json",
    "logger",
    "max-learners",
    "max-snapshots",
    "max-wals",
    "memory-mlock",
    "metrics",
    "next-cluster-version-compatible",
    "pre-vote",
    "proxy-dial-timeout",
    "proxy-failure-wait",
    "proxy-read-timeout",
    "proxy-refresh-interval",
    "proxy-write-timeout",
    "raft-read-timeout",
    "raft-write-timeout",
    "set-member-localaddr",
    "snapshot-catchup-entries",
    "snapshot-count",
    "socket-reuse-address",
    "socket-reuse-port",
    "strict-reconfig-check",
    "v2-deprecation",
    "warning-apply-duration",
    "warning-unary-request-duration",
];

/// Flags that would leave the operator with a wrong belief if they were ignored, and what to do instead.
const REFUSED: [(&str, &str); 10] = [
    ("discovery", INVITATION),
    ("discovery-endpoints", INVITATION),
    ("discovery-srv", INVITATION),
    ("discovery-token", INVITATION),
    ("enable-log-rotation", "what runs the server has better means, such as journald or logrotate"),
    ("enable-v2", NO_V2),
    ("experimental-enable-v2v3", NO_V2),
    ("force-new-cluster", "a mesh of one needs no consensus to start"),
    ("proxy", "there is no proxy mode; --proxy=off is what is served"),
    ("wal-dir", "the log lies in --data-dir"),
];

const INVITATION: &str = "a server joins a mesh by invitation";
const NO_V2: &str = "etcd's API of version 2 is not served, nor by etcd since 3.6";

/// Adds the foreign flags to `command`, hidden from its help.
pub(super) fn augment(command: Command) -> Command {
    let refused = REFUSED.iter().map(|(name, _)| *name);
    let names = IGNORED.into_iter().chain(OF_PEERS).chain(refused);
    command.args(names.map(|name| Arg::new(name).long(name).num_args(0..=1).default_missing_value("true").hide(true)))
}

/// The names of the flags that were given and are ignored.
pub(super) fn ignored(matches: &ArgMatches) -> Vec<String> {
    given(&IGNORED, matches)
}

/// The names of the flags for certificates of peers that were given.
pub(super) fn of_peers(matches: &ArgMatches) -> Vec<String> {
    given(&OF_PEERS, matches)
}

fn given(names: &[&str], matches: &ArgMatches) -> Vec<String> {
    let given = names.iter().filter(|name| matches.value_source(name) == Some(ValueSource::CommandLine));
    given.map(|name| (*name).to_owned()).collect()
}

/// The complaint about the first flag that was given and cannot be honoured. Switching something off that is not there is fine.
pub(super) fn refused(matches: &ArgMatches) -> Option<String> {
    REFUSED.iter().find_map(|(name, reason)| {
        let value = matches.get_one::<String>(name)?;
        let off = matches!(value.as_str(), "false" | "off" | "0" | "");
        (!off).then(|| format!("--{name} is not supported: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::{super::flags::Flags, *};

    /// What etcd's releases from 3.4 to 3.7 know.
    const ETCD: &str = include_str!("etcd_flags.txt");

    fn command() -> Command {
        augment(Flags::augment_args(Command::new("tombolod")))
    }

    #[test]
    fn every_flag_of_etcd_is_known() {
        let command = command();
        let names = |arg: &Arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default().into_iter();
            aliases.chain(arg.get_long()).map(str::to_owned).collect::<Vec<_>>()
        };
        let known: Vec<String> = command.get_arguments().flat_map(names).collect();
        let unknown: Vec<&str> = ETCD.lines().filter(|name| !known.iter().any(|known| known == name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(ETCD.lines().count() > 140, "{}", ETCD.lines().count());
    }

    #[test]
    fn what_is_refused_says_why_and_switching_it_off_is_fine() {
        let parse = |given: &str| refused(&command().try_get_matches_from(["tombolod", given]).unwrap());
        for (given, reason) in [
            ("--wal-dir=/wal", "--data-dir"),
            ("--enable-v2", "version 2"),
            ("--proxy=on", "proxy"),
            ("--discovery=https://discovery.example/1", "invitation"),
            ("--enable-log-rotation=true", "logrotate"),
        ] {
            assert!(parse(given).unwrap().contains(reason), "{given}");
        }
        for given in ["--wal-dir=", "--enable-v2=false", "--proxy=off", "--discovery="] {
            assert_eq!(parse(given), None, "{given}");
        }
    }
}
