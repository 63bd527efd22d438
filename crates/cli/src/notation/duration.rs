//! Durations as Go reads and writes them: `5s`, `100ms`, `1h15m30.918273645s`.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

/// A duration in Go's notation. It is never negative here: every one is a time to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GoDuration(pub(crate) Duration);

/// Why a text is not a duration.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum BadDuration {
    #[error("invalid duration {text:?}")]
    Invalid { text: String },
    #[error("missing unit in duration {text:?}")]
    MissingUnit { text: String },
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
    #[error("negative duration {text:?}")]
    Negative { text: String },
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl FromStr for GoDuration {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Self, BadDuration> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let nanos = nanoseconds(unsigned, text)?;
        if text.starts_with('-') && nanos != 0 {
            return Err(BadDuration::Negative { text: text.to_owned() });
        }
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// The sum of a sequence of numbers with units; `text` is what an error quotes.
fn nanoseconds(unsigned: &str, text: &str) -> Result<u64, BadDuration> {
    let invalid = || BadDuration::Invalid { text: text.to_owned() };
    match unsigned {
        "" => return Err(invalid()),
        "0" => return Ok(0),
        _ => {}
    }
    let mut rest = unsigned;
    let mut sum = 0_u128;
    while !rest.is_empty() {
        let in_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !in_number(c)).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(in_number).unwrap_or(after.len()));
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return Err(invalid());
        }
        let part = scaled(number, scale(unit, text)?).ok_or_else(invalid)?;
        sum = sum.checked_add(part).ok_or_else(invalid)?;
        rest = after;
    }
    // Go's durations are 63 bits of nanoseconds, some 292 years.
    u64::try_from(sum).ok().filter(|nanos| *nanos <= i64::MAX as u64).ok_or_else(invalid)
}

fn scale(unit: &str, text: &str) -> Result<u64, BadDuration> {
    if unit.is_empty() {
        return Err(BadDuration::MissingUnit { text: text.to_owned() });
    }
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    known
        .map(|(_, scale)| *scale)
        .ok_or_else(|| BadDuration::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })
}

/// A decimal number of units in nanoseconds; digits below a nanosecond are cut off.
fn scaled(number: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { u128::from(whole.parse::<u64>().ok()?) };
    // Eighteen digits of a fraction are more than any unit can show.
    let fraction = &fraction[..fraction.len().min(18)];
    let parts: u128 = if fraction.is_empty() { 0 } else { u128::from(fraction.parse::<u64>().ok()?) };
    let digits = u32::try_from(fraction.len()).ok()?;
    Some(whole * u128::from(scale) + parts * u128::from(scale) / 10_u128.pow(digits))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let seconds = self.0.as_secs();
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if seconds >= 60 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `nanos` in units of `scale`, without trailing zeros.
fn decimal(nanos: u128, scale: u128) -> String {
    let digits = scale.ilog10() as usize;
    let text = format!("{}.{:0digits$}", nanos / scale, nanos % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> u128 {
        text.parse::<GoDuration>().expect(text).0.as_nanos()
    }

    #[test]
    fn every_unit_and_fraction_is_read() {
        assert_eq!(nanos("5s"), 5_000_000_000);
        assert_eq!(nanos("100ms"), 100_000_000);
        assert_eq!(nanos("1m2.5s"), 62_500_000_000);
        assert_eq!(nanos("1h15m30.918273645s"), 4_530_918_273_645);
        assert_eq!(nanos(".5s"), 500_000_000);
        assert_eq!(nanos("1.s"), 1_000_000_000);
        assert_eq!(nanos("3µs4us5ns"), 7_005);
        assert_eq!(nanos("+1s"), nanos("1s"));
        assert_eq!((nanos("0"), nanos("-0"), nanos("0s")), (0, 0, 0));
    }

    #[test]
    fn what_is_no_duration_is_refused_by_kind() {
        let error = |text: &str| text.parse::<GoDuration>().expect_err(text).to_string();
        assert_eq!(error("1"), r#"missing unit in duration "1""#);
        assert_eq!(error("1d"), r#"unknown unit "d" in duration "1d""#);
        assert_eq!(error("-5s"), r#"negative duration "-5s""#);
        for text in ["", "s", ".", ".s", "1.2.3s", "999999999999h", "+", "- 1s"] {
            assert_eq!(error(text), format!("invalid duration {text:?}"), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (15, "15ns"),
            (1_500, "1.5µs"),
            (2_084_579, "2.084579ms"),
            (2_900_000, "2.9ms"),
            (5_004_869_314, "5.004869314s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (4_530_918_273_645, "1h15m30.918273645s"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), expected);
        }
    }
}
