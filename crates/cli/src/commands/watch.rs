//! `watch`: shows changes as they happen, and can run a command for each.
//!
//! What to watch comes from the arguments, from `ETCDCTL_WATCH_KEY`, or line by line from standard input (`-i`).

use std::{env, ffi::OsString};

use bytes::Bytes;
use clap::Args;
use tombolo_client::KeyRange;
use tombolo_proto::etcdserverpb::WatchCreateRequest;

use super::selection;
use crate::{context::Context, exit::Failure};

mod exec;
mod interactive;
mod stream;

use stream::Watches;

#[derive(Debug, Args)]
#[command(override_usage = "tombolo watch [OPTIONS] [KEY] [RANGE_END] [-- <EXEC-COMMAND> [ARG]...]")]
pub(crate) struct WatchArgs {
    /// Key or prefix, and the end of a range
    #[arg(value_name = "KEY RANGE_END")]
    args: Vec<OsString>,
    /// Interactive mode: reads `watch` and `progress` lines from standard input
    #[arg(short, long)]
    interactive: bool,
    /// Watch on a prefix if prefix is set
    #[arg(long)]
    prefix: bool,
    /// Revision to start watching
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// Get the previous key-value pair before the event happens
    #[arg(long)]
    prev_kv: bool,
    /// Get periodic watch progress notification from server
    #[arg(long)]
    progress_notify: bool,
    /// Command to run for each event, with ETCD_WATCH_* in its environment
    #[arg(last = true, value_name = "EXEC-COMMAND ARGS")]
    exec: Vec<OsString>,
}

/// One watch to be: what to ask of the server, and what to run for each event.
#[derive(Debug, PartialEq)]
struct Subscription {
    request: WatchCreateRequest,
    command: Vec<OsString>,
}

/// The key and range end that the environment gives, for those who do not write them.
#[derive(Debug, Default)]
struct Environment {
    key: OsString,
    range_end: OsString,
}

pub(crate) async fn run(context: &Context, args: &WatchArgs) -> Result<(), Failure> {
    let environment = Environment::read()?;
    let mut watches = Watches::new(context);
    if args.interactive {
        context.printer.refuse_table()?;
        return interactive::run(watches, &environment).await;
    }
    let keys = args.keys(&environment, env::args_os().next_back().as_ref())?;
    let subscription = args.subscription(&keys)?;
    context.printer.refuse_table()?;
    watches.add(subscription).await?;
    watches.run_to_the_end().await
}

impl Environment {
    fn read() -> Result<Self, Failure> {
        let variable = |name| env::var_os(name).unwrap_or_default();
        Self { key: variable("ETCDCTL_WATCH_KEY"), range_end: variable("ETCDCTL_WATCH_RANGE_END") }.checked()
    }

    fn checked(self) -> Result<Self, Failure> {
        if self.key.is_empty() && !self.range_end.is_empty() {
            let end = self.range_end.display();
            let text = format!("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"{end}\"");
            return Err(Failure::arguments(text));
        }
        Ok(self)
    }
}

impl WatchArgs {
    /// The key and, if there is one, the range end. `last_word` is the last of the command line as it was written.
    fn keys(&self, environment: &Environment, last_word: Option<&OsString>) -> Result<Vec<Bytes>, Failure> {
        if self.exec.is_empty() && last_word.is_some_and(|word| word == "--") {
            return Err(Failure::arguments("bad number of arguments (found separator --, but no commands)"));
        }
        let given = [&environment.key, &environment.range_end].into_iter().filter(|word| !word.is_empty());
        let keys: Vec<Bytes> = self.args.iter().chain(given).map(selection::bytes).collect();
        match (self.args.len(), environment.key.is_empty()) {
            (0, true) | (3.., true) => Err(Failure::arguments("bad number of arguments")),
            (1.., false) => Err(Failure::arguments("bad number of arguments (found conflicting environment key)")),
            _ => Ok(keys),
        }
    }

    fn subscription(&self, keys: &[Bytes]) -> Result<Subscription, Failure> {
        let range = match (keys, self.prefix) {
            ([key], true) => KeyRange::prefix(key.clone()),
            ([key], false) => KeyRange::single(key.clone()),
            ([key, end], false) => KeyRange::between(key.clone(), end.clone()),
            _ => return Err(Failure::arguments("`range_end` and `--prefix` are mutually exclusive")),
        };
        let request = WatchCreateRequest {
            key: range.key,
            range_end: range.end,
            start_revision: self.rev,
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            ..Default::default()
        };
        Ok(Subscription { request, command: self.exec.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(key: &str, range_end: &str) -> Environment {
        Environment { key: key.into(), range_end: range_end.into() }
    }

    fn keys(line: &str, environment: &Environment) -> Result<Vec<Bytes>, String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let args = interactive::parse(&words).map_err(|failure| failure.to_string())?;
        args.keys(environment, words.last()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn keys_come_from_the_arguments_or_from_the_environment() {
        let none = Environment::default();
        assert_eq!(keys("watch a", &none), Ok(vec!["a".into()]));
        assert_eq!(keys("watch a b --rev 1", &none), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(keys("watch a -- echo b", &none), Ok(vec!["a".into()]));
        assert_eq!(keys("watch", &environment("a", "b")), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(keys("watch -- echo", &environment("a", "")), Ok(vec!["a".into()]));
    }

    #[test]
    fn too_many_keys_and_too_few_are_refused() {
        let none = Environment::default();
        for line in ["watch", "watch a b c", "watch -- echo a"] {
            assert_eq!(keys(line, &none), Err("bad number of arguments".into()), "{line}");
        }
        let separator = "bad number of arguments (found separator --, but no commands)";
        assert_eq!(keys("watch a --", &none), Err(separator.into()));
        let conflict = "bad number of arguments (found conflicting environment key)";
        for line in ["watch a", "watch a -- echo"] {
            assert_eq!(keys(line, &environment("b", "")), Err(conflict.into()), "{line}");
        }
    }

    #[test]
    fn a_range_end_in_the_environment_needs_a_key_there() {
        assert!(environment("a", "b").checked().is_ok());
        let failure = environment("", "b").checked().expect_err("no key");
        assert_eq!(failure.to_string(), "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"b\"");
    }

    #[test]
    fn flags_become_fields_of_the_request() {
        let words = "watch a --prefix --rev 7 --prev-kv --progress-notify -- echo x".split(' ').map(OsString::from);
        let args = interactive::parse(&words.collect::<Vec<_>>()).expect("a watch");
        let subscription = args.subscription(&["a".into()]).expect("one key");
        let request = WatchCreateRequest {
            key: "a".into(),
            range_end: "b".into(),
            start_revision: 7,
            progress_notify: true,
            prev_kv: true,
            ..Default::default()
        };
        assert_eq!(subscription, Subscription { request, command: vec!["echo".into(), "x".into()] });
        assert!(args.subscription(&["a".into(), "b".into()]).is_err());
    }
}
