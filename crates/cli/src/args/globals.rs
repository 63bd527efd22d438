//! The options that every command knows, and what this client makes of them.
//!
//! Discovery is parsed, so that its flags have etcdctl's names from the start, and refused when it is asked for: to call another server
//! than was meant would be worse than none.

use clap::Args;
use tombolo_client::{Client, ClientError, ClientOptions, Endpoint, TlsError};

use super::{secure::Secure, who::Who};
use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::duration::GoDuration,
    output::{Format, Printer},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// gRPC endpoints
    #[arg(long, global = true, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// Set the output format (fields, json, simple, table)
    #[arg(short, long, global = true, default_value = "simple")]
    pub(crate) write_out: String,
    /// Print byte strings as hex encoded strings
    #[arg(long, global = true)]
    hex: bool,
    /// Print the settings in force to standard error
    #[arg(long, global = true)]
    debug: bool,
    /// Dial timeout for client connections
    #[arg(long, global = true, default_value = "2s")]
    dial_timeout: GoDuration,
    /// Timeout for short running commands (excluding dial timeout)
    #[arg(long, global = true, default_value = "5s")]
    command_timeout: GoDuration,
    /// Keepalive time for client connections
    #[arg(long, global = true, default_value = "2s")]
    keepalive_time: GoDuration,
    /// Keepalive timeout for client connections
    #[arg(long, global = true, default_value = "6s")]
    keepalive_timeout: GoDuration,
    /// Accept insecure SRV records describing cluster endpoints
    #[arg(long, global = true, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    insecure_discovery: bool,
    #[command(flatten)]
    secure: Secure,
    #[command(flatten)]
    who: Who,
    /// Domain name to query for SRV records describing cluster endpoints (not supported yet)
    #[arg(short, long, global = true)]
    discovery_srv: Option<String>,
    /// Service name to query when using DNS discovery (not supported yet)
    #[arg(long, global = true)]
    discovery_srv_name: Option<String>,
}

impl Globals {
    /// Checks the options and makes of them what commands work with. Nothing is connected yet.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        if self.debug {
            self.describe();
        }
        self.refuse_what_is_not_supported_yet()?;
        let format = Format::parse(&self.write_out)?;
        let endpoints = self.parsed_endpoints()?;
        let options = self.options()?;
        let client = Client::new(endpoints, options.clone()).map_err(|error| unusable(&error))?;
        Ok(Context { client, options, timeout: self.command_timeout.0, printer: Printer::new(format, self.hex) })
    }

    fn parsed_endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        self.endpoints
            .iter()
            .map(|text| text.parse().map_err(|error| unusable(&ClientError::Endpoint(error))))
            .collect()
    }

    fn options(&self) -> Result<ClientOptions, Failure> {
        let mut options = ClientOptions::default();
        options.connect_timeout = self.dial_timeout.0;
        options.keep_alive_time = self.keepalive_time.0;
        options.keep_alive_timeout = self.keepalive_timeout.0;
        options.credentials = self.who.credentials()?;
        self.secure.apply(&mut options)?;
        Ok(options)
    }

    fn refuse_what_is_not_supported_yet(&self) -> Result<(), Failure> {
        let flags = [("discovery-srv", &self.discovery_srv), ("discovery-srv-name", &self.discovery_srv_name)];
        match flags.into_iter().find(|(_, value)| value.as_deref().is_some_and(|value| !value.is_empty())) {
            Some((name, _)) => Err(not_yet(&format!("--{name}"))),
            None => Ok(()),
        }
    }

    /// etcdctl's `--debug` begins with the settings, spelled as environment variables.
    fn describe(&self) {
        let mut settings = vec![
            ("COMMAND_TIMEOUT", self.command_timeout.to_string()),
            ("DEBUG", self.debug.to_string()),
            ("DIAL_TIMEOUT", self.dial_timeout.to_string()),
            ("ENDPOINTS", format!("[{}]", self.endpoints.join(","))),
            ("HEX", self.hex.to_string()),
            ("INSECURE_DISCOVERY", self.insecure_discovery.to_string()),
            ("KEEPALIVE_TIME", self.keepalive_time.to_string()),
            ("KEEPALIVE_TIMEOUT", self.keepalive_timeout.to_string()),
            ("WRITE_OUT", self.write_out.clone()),
        ];
        settings.extend(self.secure.described());
        settings.sort();
        for (name, value) in settings {
            eprintln!("ETCDCTL_{name}={value}");
        }
    }
}

fn not_yet(flag: &str) -> Failure {
    Failure::new(Exit::BadFeature, format!("{flag} is not supported yet")).hint("name the servers with --endpoints")
}

/// An endpoint that this client cannot use is a feature it lacks, or a mistake in the argument.
fn unusable(error: &ClientError) -> Failure {
    let lacking = matches!(error, ClientError::Endpoint(tombolo_client::EndpointError::NotSupportedYet { .. }));
    let exit = if lacking { Exit::BadFeature } else { Exit::BadArguments };
    let advice = match error {
        ClientError::Tls(TlsError::NoSystemRoots) => "give --cacert",
        ClientError::Tls(_) => "check --cacert, --cert and --key",
        _ => "give --endpoints (or ETCDCTL_ENDPOINTS) as host:port,host:port",
    };
    Failure::new(exit, error.to_string()).hint(advice)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Cli, habits};

    fn globals(line: &str, environment: &[(&str, &str)]) -> Globals {
        let lookup = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        let command = habits::with_environment(habits::like_etcdctl(Cli::command()), lookup);
        let words = std::iter::once("tombolo").chain(line.split(' '));
        let matches = command.try_get_matches_from(words).expect(line);
        Cli::from_arg_matches(&matches).expect(line).globals
    }

    fn refusal(line: &str) -> (Exit, String) {
        match globals(line, &[]).context() {
            Ok(_) => panic!("{line} should be refused"),
            Err(failure) => (failure.exit, failure.to_string()),
        }
    }

    #[test]
    fn defaults_are_etcdctl_s() {
        let context = globals("version", &[]).context().expect("defaults");
        assert_eq!(context.client.endpoints()[0].to_string(), "127.0.0.1:2379");
        assert_eq!(context.timeout, std::time::Duration::from_secs(5));
        assert_eq!(context.options.connect_timeout, std::time::Duration::from_secs(2));
    }

    #[test]
    fn endpoints_are_a_comma_list_or_a_repeated_flag() {
        let globals = globals("--endpoints a:1,http://b:2 --endpoints c:3 version", &[]);
        let list: Vec<_> = globals.parsed_endpoints().expect("three").iter().map(ToString::to_string).collect();
        assert_eq!(list, ["a:1", "http://b:2", "c:3"]);
    }

    #[test]
    fn what_is_not_supported_yet_is_refused_by_name_and_only_with_a_value() {
        for flag in ["-dexample.org", "--discovery-srv-name=a"] {
            assert_eq!(refusal(&format!("{flag} version")).0, Exit::BadFeature, "{flag}");
        }
        assert!(globals("--user= --insecure-skip-tls-verify version", &[]).context().is_ok());
    }

    #[test]
    fn endpoints_that_cannot_be_used_are_refused() {
        assert_eq!(refusal("--endpoints unix:///a version").0, Exit::BadFeature);
        assert_eq!(refusal("--endpoints a version").0, Exit::BadArguments);
        assert_eq!(refusal("--endpoints= version").0, Exit::BadArguments);
    }

    #[test]
    fn files_of_tls_are_asked_for_in_pairs_and_have_to_be_there() {
        for (line, named) in [
            ("--cert= version", "--cert"),
            ("--cert=a version", "together"),
            ("--key=a version", "together"),
            ("--cacert=/nonexistent version", "/nonexistent"),
            ("--endpoints https://a:1 --cacert=/nonexistent version", "/nonexistent"),
        ] {
            let (exit, text) = refusal(line);
            assert!(exit == Exit::BadArguments && text.contains(named), "{line}: {text}");
        }
        // Where nobody speaks TLS, no file is missed.
        assert!(globals("--endpoints http://a:1 --cacert=/nonexistent version", &[]).context().is_ok());
    }

    #[test]
    fn tls_is_spoken_to_endpoints_without_a_scheme_when_a_flag_asks_for_it() {
        let asks = |line: &str| globals(line, &[]).options().expect(line).tls_without_scheme;
        assert!(!asks("version") && !asks("--insecure-skip-tls-verify version"));
        assert!(asks("--insecure-transport=false version") && asks("--cacert=a version"));
        assert!(asks("--cert=a --key=b version"));
    }

    #[test]
    fn formats_that_do_not_exist_are_refused() {
        for format in ["yaml", "protobuf"] {
            let (exit, text) = refusal(&format!("-w {format} version"));
            assert_eq!(exit, Exit::BadFeature);
            assert!(text.contains("--write-out is one of fields, json, simple, table"), "{text}");
        }
    }

    #[test]
    fn the_environment_fills_in_what_flags_leave_open() {
        let set = [("ETCDCTL_ENDPOINTS", "a:1,b:2"), ("ETCDCTL_WRITE_OUT", ""), ("ETCDCTL_HEX", "true")];
        let from_environment = globals("version", &set);
        assert_eq!(from_environment.endpoints, ["a:1", "b:2"]);
        assert_eq!(from_environment.write_out, "simple");
        assert!(from_environment.hex);
        assert_eq!(globals("--endpoints c:3 version", &set).endpoints, ["c:3"]);
        let both = [("ETCDCTL_COMMAND_TIMEOUT", "1s"), ("TOMBOLO_COMMAND_TIMEOUT", "100ms")];
        assert_eq!(globals("version", &both).command_timeout.0, std::time::Duration::from_millis(100));
    }
}
