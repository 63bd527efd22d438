//! etcd's flags that mean nothing here: harmless ones are accepted and reported, the others refused with a reason.

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::tls::OF_PEERS;

/// Flags about consensus, its files, and their tuning. Ignoring them changes no promise.
const IGNORED: [&str; 44] = [
    "auto-compaction-mode",
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-enabled",
    "compact-hash-check-time",
    "corrupt-check-time",
    "downgrade-check-time",
    "election-timeout",
    "enable-log-rotation",
    "enable-pprof",
    "enable-v2",
    "experimental-bootstrap-defrag-threshold-megabytes",
    "experimental-compact-hash-check-enabled",
    "experimental-compact-hash-check-time",
    "experimental-compaction-batch-limit",
    "experimental-compaction-sleep-interval",
    "experimental-corrupt-check-time",
    "experimental-downgrade-check-time",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-initial-corrupt-check",
    "experimental-max-learners",
    "experimental-memory-mlock",
    "experimental-txn-mode-write-with-shared-buffer",
    "experimental-warning-apply-duration",
    "feature-gates",
    "grpc-keepalive-min-time",
    "heartbeat-interval",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-corrupt-check",
    "initial-election-tick-advance",
    "log-outputs",
    "log-rotation-config-json",
    "logger",
    "max-learners",
    "max-snapshots",
    "max-wals",
    "metrics",
    "pre-vote",
    "snapshot-count",
    "strict-reconfig-check",
];

/// Flags that would leave the operator with a wrong belief if they were ignored, and what to do instead.
const REFUSED: [(&str, &str); 8] = [
    ("auto-compaction-retention", "this version compacts only when a client asks; leave it out or set it to 0"),
    ("discovery", "a server joins a mesh by invitation"),
    ("discovery-srv", "a server joins a mesh by invitation"),
    ("force-new-cluster", "a mesh of one needs no consensus to start"),
    ("quota-backend-bytes", "this version has no quota but the disk's end; leave it out or set it to 0"),
    ("unsafe-no-fsync", "say --durability os instead"),
    ("wal-dir", "the log lies in --data-dir"),
];

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
        let off = matches!(value.as_str(), "false" | "0" | "");
        (!off).then(|| format!("--{name} is not supported: {reason}"))
    })
}
