//! The golden files of format 1: where they are and how they are read.

use bytes::Bytes;

/// The folder of the golden files.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");

/// Reads `name`.hex: digits in pairs, white space anywhere between them.
pub(crate) fn read_hex(name: &str) -> Bytes {
    let digits: Vec<u8> = read(&format!("{name}.hex")).bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "{name}.hex ends within a byte");
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[expect(clippy::disallowed_methods, reason = "golden files are files")]
pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}/{file}")).unwrap_or_else(|error| panic!("{file}: {error}"))
}
