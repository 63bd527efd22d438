//! Base64 in its URL alphabet (RFC 4648, section 5) without padding: bytes as a line that survives shells and mails.
//!
//! As elsewhere one value has one spelling: unused bits of the last digit must be 0.

/// Why text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A character outside the alphabet, at this byte.
    Character(usize),
    /// A length that no bytes have, or bits set beyond the last byte.
    Tail,
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    out
}

pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for (group, digits) in text.as_bytes().chunks(4).enumerate() {
        let mut bits = 0_u32;
        for (at, &digit) in digits.iter().enumerate() {
            bits = bits << 6 | value(digit).ok_or(Fault::Character(4 * group + at))?;
        }
        let bytes = (bits << (6 * (4 - digits.len()))).to_be_bytes();
        let (used, unused) = bytes[1..].split_at(digits.len() - 1);
        if digits.len() == 1 || unused.iter().any(|&byte| byte != 0) {
            return Err(Fault::Tail);
        }
        out.extend_from_slice(used);
    }
    Ok(out)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_read_back_as_written() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for len in 0..bytes.len() {
            let text = encode(&bytes[..len]);
            assert_eq!(decode(&text).as_deref(), Ok(&bytes[..len]));
        }
    }

    #[test]
    fn the_text_is_the_standards() {
        assert_eq!(encode(b"foob"), "Zm9vYg");
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn other_spellings_are_refused() {
        assert_eq!(decode("Zm9vYg=="), Err(Fault::Character(6)));
        assert_eq!(decode("Zm9v+"), Err(Fault::Character(4)));
        assert_eq!(decode("Zm9vYh"), Err(Fault::Tail));
        assert_eq!(decode("Zm9vY"), Err(Fault::Tail));
    }
}
