//! `ETCD_*` environment variables, and the file of `--config-file`: what systemd units and static pods written for etcd say.
//!
//! Both are turned into flags, so that they are checked as flags are. What is nearer wins: the command line, then `TOMBOLO_*`, then
//! `ETCD_*`, then the file. Unlike etcd's, the file does not shut out the others.

use std::{collections::BTreeSet, ffi::OsString, fs};

use clap::{Arg, Command};

use super::yaml;

/// The flags that were given in other ways than on the command line, and what there is to say about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Supplement {
    /// To be put behind the command line's.
    pub(super) arguments: Vec<OsString>,
    /// For the log.
    pub(super) remarks: Vec<String>,
}

/// Reads what else was given, for a command line of `arguments` and the environment `variables`.
pub(super) fn supplement(
    command: &Command,
    arguments: &[OsString],
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Supplement, String> {
    let (etcd, ours) = sorted(variables);
    let mut known = Known { command, given: given(command, arguments, &ours) };
    let mut supplement = Supplement::default();
    let mut unknown = Vec::new();
    for (variable, value) in etcd {
        let name = flag_of(&variable["ETCD_".len()..]);
        if !known.take(&name, value, &mut supplement.arguments) {
            unknown.push(variable);
        }
    }
    if !unknown.is_empty() {
        supplement
            .remarks
            .push(format!("these environment variables are no flags and mean nothing: {}", unknown.join(", ")));
    }
    let our_file = || ours.iter().find(|(name, _)| name == "config-file").map(|(_, value)| value.clone());
    let file = value_of("config-file", arguments.iter()).or_else(our_file);
    let file = file.or_else(|| value_of("config-file", supplement.arguments.iter()));
    if let Some(file) = file.filter(|file| !file.is_empty()) {
        let complain = |what: String| format!("--config-file: {}: {what}", file.to_string_lossy());
        let text = fs::read_to_string(&file).map_err(|why| complain(why.to_string()))?;
        for (key, value) in yaml::read(&text).map_err(|why| complain(why.to_string()))? {
            if !known.take(&key, value.into(), &mut supplement.arguments) {
                return Err(complain(format!("{key:?} is no flag")));
            }
        }
    }
    Ok(supplement)
}

/// The flags that there are, and those that were given already.
struct Known<'a> {
    command: &'a Command,
    given: BTreeSet<String>,
}

impl Known<'_> {
    /// Takes a flag unless it was given already, and answers whether there is such a flag. As in etcd, an empty value is none.
    fn take(&mut self, name: &str, value: OsString, arguments: &mut Vec<OsString>) -> bool {
        let Some(arg) = find(self.command, name) else { return false };
        let long = arg.get_long().unwrap_or_default().to_owned();
        if !value.is_empty() && self.given.insert(long) {
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        }
        true
    }
}

type Variables = Vec<(String, OsString)>;

/// etcd's variables, and ours by their flags' names, with their values. Those that other programs of etcd's read are left out.
fn sorted(variables: impl Iterator<Item = (OsString, OsString)>) -> (Variables, Variables) {
    let (mut etcd, mut ours) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        if name.starts_with("ETCD_") && name != "ETCD_UNSUPPORTED_ARCH" {
            etcd.push((name, value));
        } else if let Some(ours_named) = name.strip_prefix("TOMBOLO_") {
            ours.push((flag_of(ours_named), value));
        }
    }
    etcd.sort();
    (etcd, ours)
}

/// `LISTEN_CLIENT_URLS` as a flag's name.
fn flag_of(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let is_it = |arg: &&Arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    command.get_arguments().find(is_it)
}

/// The flags that the command line or our own variables give, by their first names.
fn given(command: &Command, arguments: &[OsString], ours: &[(String, OsString)]) -> BTreeSet<String> {
    let on_line = arguments.iter().filter_map(|argument| argument.to_str()?.strip_prefix("--"));
    let names =
        on_line.map(|rest| rest.split('=').next().unwrap_or(rest)).chain(ours.iter().map(|(name, _)| name.as_str()));
    names.filter_map(|name| Some(find(command, name)?.get_long()?.to_owned())).collect()
}

/// The value of a flag, as `--name=value` or `--name value`.
fn value_of<'a>(name: &str, arguments: impl Iterator<Item = &'a OsString>) -> Option<OsString> {
    let flag = format!("--{name}");
    let mut arguments = arguments.skip_while(|argument| {
        argument.to_str().is_none_or(|text| text != flag && !text.starts_with(&format!("{flag}=")))
    });
    let first = arguments.next()?;
    match first.to_str()?.split_once('=') {
        Some((_, value)) => Some(value.into()),
        None => arguments.next().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let arg = |name: &'static str| Arg::new(name).long(name).num_args(0..=1);
        Command::new("tombolod").args([
            arg("name"),
            arg("data-dir"),
            arg("config-file"),
            arg("pre-vote"),
            arg("watch-interval").alias("experimental-watch-interval"),
        ])
    }

    fn supplemented(line: &[&str], variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let found = supplement(&command(), &line, variables)?;
        let shown = found.arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
        Ok(shown.chain(found.remarks).collect())
    }

    #[test]
    fn etcds_variables_are_flags_unless_something_nearer_was_said() {
        let variables = [("ETCD_NAME", "a"), ("ETCD_DATA_DIR", "/b"), ("ETCDCTL_API", "3"), ("PATH", "/bin")];
        assert_eq!(supplemented(&[], &variables).unwrap(), ["--data-dir=/b", "--name=a"]);
        assert_eq!(supplemented(&["--name", "c"], &variables).unwrap(), ["--data-dir=/b"]);
        let ours = [variables.as_slice(), &[("TOMBOLO_DATA_DIR", "/c")]].concat();
        assert_eq!(supplemented(&["--name=c"], &ours).unwrap(), [""; 0]);
        assert_eq!(supplemented(&[], &[("ETCD_NAME", "")]).unwrap(), [""; 0], "an empty one is none");
        let aliased = [("ETCD_EXPERIMENTAL_WATCH_INTERVAL", "5s")];
        assert_eq!(supplemented(&[], &aliased).unwrap(), ["--experimental-watch-interval=5s"]);
        assert_eq!(supplemented(&["--watch-interval=1s"], &aliased).unwrap(), [""; 0], "they are one flag");
    }

    #[test]
    fn variables_that_are_no_flags_are_named_together() {
        // What Kubernetes tells each pod about a service with the name `etcd`.
        let links =
            [("ETCD_SERVICE_HOST", "10.0.0.1"), ("ETCD_PORT", "tcp://10.0.0.1:2379"), ("ETCD_UNSUPPORTED_ARCH", "x")];
        let remarks = supplemented(&[], &links).unwrap();
        assert_eq!(remarks.len(), 1);
        assert!(remarks[0].ends_with("ETCD_PORT, ETCD_SERVICE_HOST"), "{remarks:?}");
    }

    #[test]
    fn a_file_says_what_nothing_else_did() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etcd.conf.yml");
        fs::write(&file, "name: 'from-file'\ndata-dir: /file\npre-vote: true\n").unwrap();
        let flag = format!("--config-file={}", file.display());
        let all = ["--name=from-file", "--data-dir=/file", "--pre-vote=true"];
        assert_eq!(supplemented(&[&flag], &[]).unwrap(), all);
        assert_eq!(supplemented(&["--config-file", &file.to_string_lossy()], &[]).unwrap(), all);
        let by_variable = [("ETCD_CONFIG_FILE", file.to_str().unwrap()), ("ETCD_DATA_DIR", "/env")];
        let merged = supplemented(&["--name=line"], &by_variable).unwrap();
        assert_eq!(merged, [&flag, "--data-dir=/env", "--pre-vote=true"]);
        let ours = [("TOMBOLO_CONFIG_FILE", file.to_str().unwrap()), ("ETCD_CONFIG_FILE", "/nowhere")];
        assert_eq!(supplemented(&[], &ours).unwrap(), all);
        for (text, named) in [("no-such-flag: 1\n", "no-such-flag"), ("name\n", "line 1")] {
            fs::write(&file, text).unwrap();
            let complaint = supplemented(&[&flag], &[]).unwrap_err();
            assert!(complaint.contains(named) && complaint.contains("etcd.conf.yml"), "{complaint}");
        }
        assert!(supplemented(&["--config-file=/nowhere"], &[]).unwrap_err().contains("/nowhere"));
    }
}
