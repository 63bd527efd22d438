//! What a process has used, as Linux tells it in `/proc`: processor time, bytes written, resident memory.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Totals since the process started, except memory, which is now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Bytes handed to `write` and its kin, sockets included.
    pub(crate) written: u64,
    /// Bytes that went on to a disk: whole pages, and what the file system adds.
    pub(crate) to_disk: u64,
    /// Resident memory.
    pub(crate) resident: u64,
}

impl Usage {
    /// Reads the usage of a process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path} (benchmarks need Linux)"))
        };
        Self::parse(&read("stat")?, &read("io")?, &read("status")?).context("understand /proc")
    }

    fn parse(stat: &str, io: &str, status: &str) -> Option<Self> {
        Some(Self {
            cpu: cpu(stat)?,
            written: field(io, "wchar:")?,
            to_disk: field(io, "write_bytes:")?,
            resident: field(status, "VmRSS:")? * 1024,
        })
    }
}

/// Fields 14 and 15, in hundredths of a second whatever the kernel's own tick. The name of the program, in parentheses,
/// may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let fields = stat.rsplit_once(')')?.1;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Usage;

    #[test]
    fn the_numbers_are_found_whatever_the_program_is_called() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 9 0 100 1000 200";
        let io =
            "rchar: 1\nwchar: 7000\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        let status = "Name:\ta\nVmHWM:\t   900 kB\nVmRSS:\t   800 kB\n";
        let usage = Usage::parse(stat, io, status).unwrap();
        assert_eq!(usage.cpu, Duration::from_millis(1680));
        assert_eq!((usage.written, usage.to_disk, usage.resident), (7000, 8192, 800 * 1024));
    }

    #[test]
    fn a_strange_answer_is_not_taken_for_zero() {
        assert!(Usage::parse("42 (a) S", "wchar: 1\nwrite_bytes: 2", "VmRSS: 3 kB").is_none());
        assert!(Usage::parse("", "", "").is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory() {
        assert!(Usage::of(std::process::id()).unwrap().resident > 0);
    }
}
