//! What the system says about this process, under the names that every Prometheus client uses.

use std::{fs, time::Duration};

/// Resources in use; what the system does not tell is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) cpu: Duration,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
    /// Seconds since the Unix epoch.
    pub(super) started_s: u64,
}

impl Process {
    pub(super) fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let mut process = Self::from_stat(&text("stat")).unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| field(&stat, "btime "));
        process.started_s += boot.unwrap_or(0);
        process.open_fds = fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64);
        process.max_fds = field(&text("limits"), "Max open files").unwrap_or(0);
        process
    }

    /// Reads `/proc/self/stat`; `started_s` counts from the system's start.
    fn from_stat(stat: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let ticks = fields.get(11)? + fields.get(12)?;
        Some(Self {
            resident_bytes: fields.get(21)? * rustix::param::page_size() as u64,
            virtual_bytes: *fields.get(20)?,
            cpu: Duration::from_millis(ticks * 1_000 / ticks_per_second),
            threads: *fields.get(17)?,
            started_s: fields.get(19)? / ticks_per_second,
            ..Self::default()
        })
    }
}

/// The first number of the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_start() {
        let process = Process::read();
        assert!(process.resident_bytes > 100_000 && process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds >= 3 && process.max_fds > process.open_fds && process.threads >= 1);
        assert!(process.started_s > 1_600_000_000);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_stepped_over() {
        let stat =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 500 1048576 16 18446744073709551615";
        let process = Process::from_stat(stat).unwrap();
        assert_eq!((process.virtual_bytes, process.threads), (1_048_576, 3));
        assert_eq!(process.cpu, Duration::from_millis(300 * 1_000 / rustix::param::clock_ticks_per_second()));
    }
}
