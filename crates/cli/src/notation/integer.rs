//! 64-bit integers in a given base: revisions in decimal, ids of leases and, without a sign, of members in hexadecimal.

use std::num::{IntErrorKind, ParseIntError};

use thiserror::Error;

/// Why a text is not an integer, in the words of Go's parser.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("parsing {text:?}: {reason}")]
pub(crate) struct BadInteger {
    text: String,
    reason: &'static str,
}

/// Reads an integer in `base`.
pub(crate) fn parse(text: &str, base: u32) -> Result<i64, BadInteger> {
    i64::from_str_radix(text, base).map_err(|error| BadInteger::new(text, &error))
}

/// Reads an integer without a sign, in hexadecimal.
pub(crate) fn parse_id(text: &str) -> Result<u64, BadInteger> {
    // Rust takes a plus sign here, and Go does not.
    let digits = if text.starts_with('+') { "+" } else { text };
    u64::from_str_radix(digits, 16).map_err(|error| BadInteger::new(text, &error))
}

impl BadInteger {
    fn new(text: &str, error: &ParseIntError) -> Self {
        let out_of_range = matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
        let reason = if out_of_range { "value out of range" } else { "invalid syntax" };
        Self { text: text.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bases_take_signs_and_name_what_is_wrong() {
        assert_eq!(parse("-12", 10), Ok(-12));
        assert_eq!(parse("+6b93a200296cd617", 16), Ok(0x6b93_a200_296c_d617));
        assert_eq!(parse("x", 10).expect_err("not decimal").to_string(), r#"parsing "x": invalid syntax"#);
        assert_eq!(parse("", 16).expect_err("empty").to_string(), r#"parsing "": invalid syntax"#);
        let large = parse("ffffffffffffffff", 16).expect_err("too large");
        assert_eq!(large.to_string(), r#"parsing "ffffffffffffffff": value out of range"#);
    }

    #[test]
    fn ids_of_members_use_all_bits_and_have_no_sign() {
        assert_eq!(parse_id("ffffffffffffffff"), Ok(u64::MAX));
        for text in ["", "+1", "-1", "x", "0x1"] {
            assert_eq!(parse_id(text).expect_err(text).to_string(), format!("parsing {text:?}: invalid syntax"));
        }
        assert!(parse_id("10000000000000000").expect_err("too large").to_string().ends_with("value out of range"));
    }
}
