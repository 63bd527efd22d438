//! Durations as etcd's flags write them: `10m`, `1h30m`, `1.5s`, `100ms`, `0`.

use std::time::Duration;

use thiserror::Error;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a duration such as 5s, 100ms or 1h30m")]
pub(super) struct ParseDurationError {
    text: String,
}

/// Reads a duration.
pub(super) fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    total(text).ok_or_else(|| ParseDurationError { text: text.to_owned() })
}

fn total(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = number.parse::<f64>().ok()? * unit_seconds(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_etcd_reads_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000),
            ("100ms", 100),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "5x", "-5s", "5s5", ".", "1e400h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
