//! Spans of time as people say them: the two largest units, `320ms`, `4.2s`, `3m20s`, `2h4m`, `3d4h`.
//!
//! For reading only; what programs read are milliseconds.

use std::fmt;

/// A span in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0;
        let (seconds, minutes, hours, days) =
            (millis / 1_000, millis / 60_000, millis / 3_600_000, millis / 86_400_000);
        match millis {
            0..1_000 => write!(f, "{millis}ms"),
            1_000..60_000 => write!(f, "{seconds}.{}s", millis / 100 % 10),
            60_000..3_600_000 => write!(f, "{minutes}m{}s", seconds % 60),
            3_600_000..86_400_000 => write!(f, "{hours}h{}m", minutes % 60),
            _ => write!(f, "{days}d{}h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_two_largest_units() {
        let cases = [
            (0, "0ms"),
            (999, "999ms"),
            (4_290, "4.2s"),
            (59_999, "59.9s"),
            (200_000, "3m20s"),
            (7_440_000, "2h4m"),
            (273_600_000, "3d4h"),
            (u64::MAX, "213503982334d14h"),
        ];
        for (millis, expected) in cases {
            assert_eq!(Span(millis).to_string(), expected);
        }
    }
}
