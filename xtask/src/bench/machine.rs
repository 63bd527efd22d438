//! The machine and the build that a number belongs to. A number without them is hearsay.

use std::{
    fmt, fs,
    path::Path,
    process::Command,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use crate::project;

/// What is printed above every table and stored beside every number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    file_system: String,
    commit: String,
    /// Seconds since the Unix epoch.
    at: u64,
    arguments: Vec<String>,
}

impl Machine {
    /// Looks around. `folder` is where the benchmark writes.
    pub(crate) fn look(folder: &Path) -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = value_of(&file("/proc/meminfo"), "MemTotal");
        let kilobytes = memory.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        Self {
            processor: value_of(&file("/proc/cpuinfo"), "model name"),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kilobytes.unwrap_or(0) / 1024,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(folder),
            commit: project::commit(),
            at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            arguments: std::env::args().skip(1).collect(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} × {} · {} MiB · Linux {} · {} · commit {} · {}",
            self.cores,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.file_system,
            self.commit,
            self.arguments.join(" ")
        )
    }
}

/// The first `name : value` of a file in `/proc`, `?` when there is none.
fn value_of(text: &str, name: &str) -> String {
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
}

fn file_system(folder: &Path) -> String {
    let output = Command::new("df").arg("--output=fstype").arg(folder).output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // A heading and a value.
    output.lines().nth(1).map_or_else(|| "?".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU @ 2.5 GHz\n";
        assert_eq!(value_of(text, "model name"), "Some CPU @ 2.5 GHz");
        assert_eq!(value_of(text, "MemTotal"), "?");
    }
}
