//! The flags about what a store may hold, for how long, and where its log goes; with etcd's names, forms and meanings.

use std::{path::PathBuf, time::Duration};

use tombolo_site::{CompactionMode, Retention};
use tombolo_storage::{Durability, LOG_HELD_BYTES_MAX};

use super::go_duration;

/// What keeps a store in bounds, and where its log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperConfig {
    /// Bytes of rows in use above which clients can add no more; `None`: there is no such limit.
    pub quota_bytes: Option<u64>,
    /// How much history is kept without being asked; `None`: all of it.
    pub retention: Option<Retention>,
    /// Bytes of rows that are read and verified in a second; 0: none.
    pub scrub_rate: u64,
    /// Bytes of the log that are kept for members at most.
    pub log_budget_bytes: u64,
    /// How long nothing may be heard of a member that holds back the log before it is parked; `None`: for ever.
    pub park_after: Option<Duration>,
    /// How long data may go uncompared with a connected peer's; `None`: as long as frontiers are never equal.
    pub compare_interval: Option<Duration>,
    /// Where the log goes, each once.
    pub log_outputs: Vec<LogOutput>,
}

/// One place where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

/// As given.
#[derive(clap::Args, Debug)]
pub(super) struct KeeperFlags {
    /// Bytes in use above which clients can add no more; 0: 2 GiB, negative: no limit
    #[arg(long, env = "TOMBOLO_QUOTA_BACKEND_BYTES", default_value_t = 0, allow_negative_numbers = true)]
    quota_backend_bytes: i64,

    /// What --auto-compaction-retention counts: periodic (time) or revision
    #[arg(long, env = "TOMBOLO_AUTO_COMPACTION_MODE", default_value = "periodic")]
    auto_compaction_mode: CompactionMode,

    /// How much history is kept when nobody compacts: hours or a duration, or a number of revisions; 0: all of it
    #[arg(long, env = "TOMBOLO_AUTO_COMPACTION_RETENTION", default_value = "0")]
    auto_compaction_retention: String,

    /// Bytes of rows that are read and verified in a second, all of them again and again; 0: none
    #[arg(long, env = "TOMBOLO_SCRUB_RATE", default_value_t = SCRUB_RATE_DEFAULT)]
    scrub_rate: u64,

    /// Bytes of compacted log that are kept for sites that lack it
    #[arg(long, env = "TOMBOLO_LOG_BUDGET", value_name = "BYTES", default_value_t = LOG_HELD_BYTES_MAX)]
    log_budget: u64,

    /// Park a site that holds back the log when nothing was heard of it for so long; 0: never
    #[arg(long, env = "TOMBOLO_PARK_AFTER", value_name = "DURATION", value_parser = go_duration::parse, default_value = "72h")]
    park_after: Duration,

    /// Compare data with every connected site at least so often, also while both are written to; 0: only when both stand still
    #[arg(long, env = "TOMBOLO_COMPARE_INTERVAL", value_name = "DURATION", value_parser = go_duration::parse, default_value = "1h")]
    compare_interval: Duration,

    /// Where the log goes: stderr, stdout or names of files
    #[arg(long, env = "TOMBOLO_LOG_OUTPUTS", alias = "log-output", value_delimiter = ',', default_value = "default")]
    log_outputs: Vec<String>,

    /// Log more; the same as --log-level debug
    #[arg(
        long,
        hide = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub(super) debug: bool,

    /// The same as --durability os
    #[arg(
        long,
        hide = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    unsafe_no_fsync: bool,

    /// File with flags, in the YAML of etcd's configuration file; the command line and the environment win
    #[arg(long, env = "TOMBOLO_CONFIG_FILE", value_name = "FILE")]
    pub(super) config_file: Option<PathBuf>,

    /// More places to listen for clients. There is no need to keep HTTP apart from gRPC
    #[arg(long, hide = true, env = "TOMBOLO_LISTEN_CLIENT_HTTP_URLS", value_delimiter = ',')]
    pub(super) listen_client_http_urls: Vec<String>,
}

impl KeeperFlags {
    pub(super) fn check(&self, remarks: &mut Vec<String>) -> Result<KeeperConfig, String> {
        let read = |text: &str| go_duration::parse(text).ok();
        let retention = Retention::parse(self.auto_compaction_mode, &self.auto_compaction_retention, read)
            .map_err(|why| format!("--auto-compaction-retention: {why}"))?;
        Ok(KeeperConfig {
            quota_bytes: self.quota(remarks),
            retention,
            scrub_rate: self.scrub_rate,
            log_budget_bytes: self.log_budget,
            park_after: Some(self.park_after).filter(|after| !after.is_zero()),
            compare_interval: Some(self.compare_interval).filter(|interval| !interval.is_zero()),
            log_outputs: self.outputs(remarks)?,
        })
    }

    /// etcd's flag for tests that do not care whether anything survives.
    pub(super) fn durability(&self, given: Durability, remarks: &mut Vec<String>) -> Durability {
        if !self.unsafe_no_fsync || given != Durability::Fsync {
            return given;
        }
        remarks.push(
            "--unsafe-no-fsync: the same as --durability os; what is acknowledged is lost with the machine".to_owned(),
        );
        Durability::Os
    }

    fn quota(&self, remarks: &mut Vec<String>) -> Option<u64> {
        match self.quota_backend_bytes {
            0 => Some(QUOTA_BYTES_DEFAULT),
            given => {
                let quota = u64::try_from(given).ok();
                if let Some(small) = quota.filter(|quota| *quota < QUOTA_BYTES_SMALL) {
                    remarks.push(format!("--quota-backend-bytes: {small} bytes hold very little"));
                }
                quota
            }
        }
    }

    fn outputs(&self, remarks: &mut Vec<String>) -> Result<Vec<LogOutput>, String> {
        let mut outputs = Vec::new();
        for given in &self.log_outputs {
            let output = match given.as_str() {
                "default" | "stderr" => LogOutput::Stderr,
                "stdout" => LogOutput::Stdout,
                "systemd/journal" => {
                    remarks.push("--log-outputs: systemd's journal has what is written to standard error".to_owned());
                    LogOutput::Stderr
                }
                "" => return Err("--log-outputs: an output has no name".to_owned()),
                file => LogOutput::File(PathBuf::from(file)),
            };
            if !outputs.contains(&output) {
                outputs.push(output);
            }
        }
        Ok(outputs)
    }
}

/// A terabyte in twelve days, beside clients that do not notice.
const SCRUB_RATE_DEFAULT: u64 = 1 << 20;
/// As in etcd.
const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;
/// Less than one request may have.
const QUOTA_BYTES_SMALL: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        keeper: KeeperFlags,
    }

    fn check(arguments: &[&str]) -> Result<KeeperConfig, String> {
        let parsed = Alone::try_parse_from([&["tombolod"], arguments].concat()).map_err(|why| why.to_string())?;
        parsed.keeper.check(&mut Vec::new())
    }

    #[test]
    fn the_quota_is_two_gibibytes_unless_it_is_said_otherwise() {
        assert_eq!(check(&[]).unwrap().quota_bytes, Some(2 << 30));
        assert_eq!(check(&["--quota-backend-bytes=0"]).unwrap().quota_bytes, Some(2 << 30));
        assert_eq!(check(&["--quota-backend-bytes=8589934592"]).unwrap().quota_bytes, Some(8 << 30));
        assert_eq!(check(&["--quota-backend-bytes=-1"]).unwrap().quota_bytes, None);
        assert_eq!(check(&["--quota-backend-bytes", "-1"]).unwrap().quota_bytes, None);
        assert!(check(&["--quota-backend-bytes=2GiB"]).is_err(), "as in etcd, a number of bytes");
    }

    #[test]
    fn history_is_kept_as_long_as_etcds_forms_say() {
        let retention = |arguments: &[&str]| check(arguments).map(|config| config.retention);
        let hours = |hours| Some(Retention::Age(Duration::from_hours(hours)));
        assert_eq!(retention(&[]), Ok(None));
        assert_eq!(retention(&["--auto-compaction-retention=8"]), Ok(hours(8)));
        assert_eq!(retention(&["--auto-compaction-retention=1h", "--auto-compaction-mode=periodic"]), Ok(hours(1)));
        let revisions = ["--auto-compaction-retention=1000", "--auto-compaction-mode=revision"];
        assert_eq!(retention(&revisions), Ok(Some(Retention::Revisions(1000))));
        assert_eq!(retention(&["--auto-compaction-mode=revision"]), Ok(None));
        for (bad, named) in [("--auto-compaction-retention=long", "long"), ("--auto-compaction-mode=never", "never")] {
            let complaint = retention(&[bad]).unwrap_err();
            assert!(complaint.contains(named) && complaint.contains("--auto-compaction"), "{complaint}");
        }
    }

    #[test]
    fn the_log_is_kept_for_four_gibibytes_and_three_days() {
        let config = check(&[]).unwrap();
        assert_eq!((config.log_budget_bytes, config.park_after), (4 << 30, Some(Duration::from_hours(72))));
        let config = check(&["--log-budget=1000", "--park-after=0"]).unwrap();
        assert_eq!((config.log_budget_bytes, config.park_after), (1_000, None));
        assert_eq!(check(&["--park-after=90m"]).unwrap().park_after, Some(Duration::from_mins(90)));
        assert_eq!(config.compare_interval, Some(Duration::from_hours(1)));
        assert_eq!(check(&["--compare-interval=2s"]).unwrap().compare_interval, Some(Duration::from_secs(2)));
        assert_eq!(check(&["--compare-interval=0"]).unwrap().compare_interval, None);
        assert!(check(&["--log-budget=-1"]).is_err() && check(&["--park-after=soon"]).is_err());
    }

    #[test]
    fn the_log_goes_where_etcds_would() {
        let outputs = |given: &str| check(&["--log-outputs", given]).map(|config| config.log_outputs);
        assert_eq!(check(&[]).unwrap().log_outputs, [LogOutput::Stderr]);
        assert_eq!(outputs("stdout,stdout"), Ok(vec![LogOutput::Stdout]));
        assert_eq!(outputs("default,/var/log/a"), Ok(vec![LogOutput::Stderr, LogOutput::File("/var/log/a".into())]));
        assert!(outputs("stderr,").is_err());
    }

    #[test]
    fn syncs_are_left_out_only_where_nothing_else_was_said() {
        let flags = |arguments: &[&str]| Alone::try_parse_from([&["tombolod"], arguments].concat()).unwrap().keeper;
        let interval = Durability::Interval(Duration::from_secs(1));
        let mut remarks = Vec::new();
        for (arguments, given, wanted) in [
            (&[][..], Durability::Fsync, Durability::Fsync),
            (&["--unsafe-no-fsync=false"][..], Durability::Fsync, Durability::Fsync),
            (&["--unsafe-no-fsync"][..], interval, interval),
            (&["--unsafe-no-fsync"][..], Durability::Fsync, Durability::Os),
        ] {
            assert_eq!(flags(arguments).durability(given, &mut remarks), wanted, "{arguments:?}");
        }
        assert_eq!(remarks.len(), 1);
    }
}
