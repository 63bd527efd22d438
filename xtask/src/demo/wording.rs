//! Numbers as people read them.

use std::time::Duration;

/// `12345` as `12,345`.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Milliseconds with a decimal below ten, seconds with one from a second on.
pub(crate) fn time(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// KiB or MiB, with a decimal.
pub(crate) fn bytes(number: u64) -> String {
    let kib = number as f64 / 1024.0;
    if kib < 1024.0 { format!("{kib:.1} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}

/// All of a digest, in hexadecimal.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The two ends of a digest: enough to see that two are equal.
pub(crate) fn digest(digest: &[u8]) -> String {
    let hex = hex(digest);
    match (hex.get(..4), hex.get(hex.len().saturating_sub(2)..)) {
        (Some(start), Some(end)) if hex.len() > 8 => format!("{start}…{end}"),
        _ => hex,
    }
}

/// The one in the middle.
pub(crate) fn median(durations: &mut [Duration]) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, count, digest, median, time};

    #[test]
    fn numbers_read_as_a_person_would_write_them() {
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(time(Duration::from_micros(940)), "0.9 ms");
        assert_eq!(time(Duration::from_millis(340)), "340 ms");
        assert_eq!(time(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!([bytes(1_331), bytes(2 << 20)], ["1.3 KiB", "2.0 MiB"]);
    }

    #[test]
    fn a_digest_is_shown_by_its_ends_and_nothing_is_no_digest() {
        assert_eq!(digest(&[0x7f, 0x3a, 0, 0, 0, 0xc1]), "7f3a…c1");
        assert_eq!(digest(&[]), "");
    }

    #[test]
    fn the_median_of_nothing_is_nothing() {
        assert_eq!(median(&mut []), Duration::ZERO);
        assert_eq!(median(&mut [3, 1, 2].map(Duration::from_secs)), Duration::from_secs(2));
    }
}
