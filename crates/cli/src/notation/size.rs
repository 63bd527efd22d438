//! Sizes as `endpoint status` shows them: decimal units, one decimal below ten.

/// `20480` as `20 kB`, `1500000` as `1.5 MB`.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 10 {
        return format!("{size} B");
    }
    let exponent = size.ilog10() / 3;
    let unit = 1000_u64.pow(exponent);
    // Tenths, rounded half up; wide enough for the largest size times ten.
    let tenths = (u128::from(size) * 10 + u128::from(unit) / 2) / u128::from(unit);
    let (whole, tenth, name) = (tenths / 10, tenths % 10, UNITS[exponent as usize]);
    if tenths < 100 {
        return format!("{whole}.{tenth} {name}");
    }
    // Then whole units, with halves to the even neighbour.
    let up = tenth > 5 || tenth == 5 && whole % 2 == 1;
    format!("{} {name}", whole + u128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_short() {
        let cases = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (20_480, "20 kB"),
            (21_500, "22 kB"),
            (24_576, "25 kB"),
            (999_999, "1000 kB"),
            (1_500_000, "1.5 MB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (size, expected) in cases {
            assert_eq!(bytes(size), expected, "{size}");
        }
    }
}
