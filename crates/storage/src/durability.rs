//! When a commit counts as done.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

use crate::{WallTime, engine::Persist};

/// What must have happened before a commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The commit is on disk. Nothing acknowledged is lost when the machine stops.
    #[default]
    Fsync,
    /// The operating system has it, and the disk gets it at least this often. A machine that stops may lose the interval.
    Interval(Duration),
    /// The operating system has it. A machine that stops may lose what the system had not written.
    Os,
}

impl Durability {
    /// How far each group of commits is pushed before it is acknowledged.
    pub(crate) fn persist(self) -> Persist {
        match self {
            Self::Fsync => Persist::Disk,
            Self::Interval(_) | Self::Os => Persist::Os,
        }
    }

    /// Whether an unclean stop may have lost what was acknowledged.
    pub(crate) fn is_weak(self) -> bool {
        self != Self::Fsync
    }
}

/// Knows when the disk must be brought up to date under [`Durability::Interval`].
#[derive(Debug)]
pub(crate) struct SyncTimer {
    /// `None` when the durability promises no time.
    interval: Option<Duration>,
    synced: WallTime,
    is_behind: bool,
}

impl SyncTimer {
    pub(crate) fn new(durability: Durability, now: WallTime) -> Self {
        let interval = match durability {
            Durability::Interval(interval) => Some(interval),
            Durability::Fsync | Durability::Os => None,
        };
        Self { interval, synced: now, is_behind: false }
    }

    pub(crate) fn note_write(&mut self) {
        self.is_behind = true;
    }

    pub(crate) fn note_sync(&mut self, now: WallTime) {
        (self.synced, self.is_behind) = (now, false);
    }

    /// A clock that was set back does not put it off.
    pub(crate) fn is_due(&self, now: WallTime) -> bool {
        let waited = Duration::from_millis(now.0.abs_diff(self.synced.0));
        self.is_behind && self.interval.is_some_and(|interval| waited >= interval)
    }
}

/// A durability that is none of `fsync`, `interval:<duration>`, `os`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected `fsync`, `interval:<duration>` such as `interval:100ms`, or `os`")]
pub struct ParseDurabilityError;

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fsync" => Ok(Self::Fsync),
            "os" => Ok(Self::Os),
            _ => {
                let interval = text.strip_prefix("interval:").ok_or(ParseDurabilityError)?;
                parse_interval(interval).map(Self::Interval).ok_or(ParseDurabilityError)
            }
        }
    }
}

fn parse_interval(text: &str) -> Option<Duration> {
    let (digits, unit_ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    let ms = digits.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fsync => f.write_str("fsync"),
            Self::Interval(interval) => write!(f, "interval:{}ms", interval.as_millis()),
            Self::Os => f.write_str("os"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durabilities_read_back_as_written() {
        for text in ["fsync", "os", "interval:100ms"] {
            assert_eq!(text.parse::<Durability>().unwrap().to_string(), text);
        }
        assert_eq!("interval:2s".parse(), Ok(Durability::Interval(Duration::from_secs(2))));
        for bad in ["", "sync", "interval:", "interval:0s", "interval:5", "interval:xs"] {
            assert_eq!(bad.parse::<Durability>(), Err(ParseDurabilityError), "{bad}");
        }
    }
}
