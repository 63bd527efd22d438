//! How much history is kept, as operators write it for etcd: `1`, `30m`, `1h`, or a number of revisions.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

/// What a retention counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionMode {
    /// Time.
    #[default]
    Periodic,
    /// Revisions.
    Revision,
}

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// What is younger than this; never zero.
    Age(Duration),
    /// So many revisions; at least one.
    Revisions(i64),
}

/// Why a text says no retention.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseRetentionError {
    /// No such mode.
    #[error("{text:?} is no mode: periodic or revision")]
    Mode {
        /// As given.
        text: String,
    },
    /// Neither a number of hours nor a duration.
    #[error("{text:?} is neither a number of hours nor a duration such as 30m")]
    Age {
        /// As given.
        text: String,
    },
    /// Shorter than anything could be sampled.
    #[error("{text:?} is too short: at least 1s")]
    TooShort {
        /// As given.
        text: String,
    },
    /// Not a number of revisions.
    #[error("{text:?} is not a number of revisions")]
    Revisions {
        /// As given.
        text: String,
    },
}

impl FromStr for CompactionMode {
    type Err = ParseRetentionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            // As in etcd, an empty mode is the first one.
            "periodic" | "" => Ok(Self::Periodic),
            "revision" => Ok(Self::Revision),
            _ => Err(ParseRetentionError::Mode { text: text.to_owned() }),
        }
    }
}

impl Retention {
    /// Reads a retention; `None` when it is zero, which means that everything is kept. A bare number counts hours or
    /// revisions. `duration` reads everything else: the reader of durations belongs to whoever reads flags.
    ///
    /// # Errors
    ///
    /// The text says no retention of this mode.
    pub fn parse(
        mode: CompactionMode,
        text: &str,
        duration: impl FnOnce(&str) -> Option<Duration>,
    ) -> Result<Option<Self>, ParseRetentionError> {
        let text_owned = || text.to_owned();
        let count = text.parse::<u32>().ok();
        if count == Some(0) || text.is_empty() {
            return Ok(None);
        }
        if mode == CompactionMode::Revision {
            let revisions = text.parse::<i64>().ok().filter(|revisions| *revisions > 0);
            let revisions = revisions.ok_or_else(|| ParseRetentionError::Revisions { text: text_owned() })?;
            return Ok(Some(Self::Revisions(revisions)));
        }
        let hours = count.map(|hours| Duration::from_secs(u64::from(hours) * 3_600));
        match hours.or_else(|| duration(text)) {
            None => Err(ParseRetentionError::Age { text: text_owned() }),
            Some(Duration::ZERO) => Ok(None),
            Some(age) if age < AGE_MIN => Err(ParseRetentionError::TooShort { text: text_owned() }),
            Some(age) => Ok(Some(Self::Age(age))),
        }
    }
}

/// Ten samples are taken of it.
const AGE_MIN: Duration = Duration::from_secs(1);
