//! Finds and mends `:authority` within one whole block of compressed header fields (RFC 7541, section 6).
//!
//! The walk needs no dynamic table: an encoder that writes a value out names `:authority` by its place in the static table, or in letters.

use std::ops::Range;

use http::uri::Authority;

use super::huffman;

/// The place of `:authority` in the static table.
const AUTHORITY_INDEX: usize = 1;

/// Writes a valid authority over each malformed one in `block`. Answers whether it changed anything. What is not well-formed is
/// left for the HTTP/2 library to refuse.
pub(super) fn mend(block: &mut [u8]) -> bool {
    let mut mended = false;
    let mut at = 0;
    while let Some(field) = Field::read(block, at) {
        at = field.end;
        if let Some(value) = field.authority {
            mended |= value.mend(block);
        }
    }
    mended
}

/// One header field, or a change of the table's size.
struct Field {
    end: usize,
    authority: Option<Text>,
}

impl Field {
    fn read(block: &[u8], at: usize) -> Option<Self> {
        let first = *block.get(at)?;
        let index_bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let (index, mut at) = integer(block, at, index_bits)?;
        let literal = index_bits == 6 || index_bits == 4;
        if !literal {
            return Some(Self { end: at, authority: None });
        }
        let mut is_authority = index == AUTHORITY_INDEX;
        if index == 0 {
            let name = Text::read(block, at)?;
            is_authority = name.decode(block).as_deref() == Some(b":authority");
            at = name.bytes.end;
        }
        let value = Text::read(block, at)?;
        Some(Self { end: value.bytes.end, authority: is_authority.then_some(value) })
    }
}

/// A string within the block.
struct Text {
    /// Where its length begins; the first bit there says whether it is Huffman-coded.
    head: usize,
    huffman: bool,
    bytes: Range<usize>,
}

impl Text {
    fn read(block: &[u8], head: usize) -> Option<Self> {
        let huffman = block.get(head)? & 0x80 != 0;
        let (length, start) = integer(block, head, 7)?;
        let bytes = start..start.checked_add(length)?;
        (bytes.end <= block.len()).then_some(Self { head, huffman, bytes })
    }

    fn decode(&self, block: &[u8]) -> Option<Vec<u8>> {
        let bytes = block.get(self.bytes.clone())?;
        if self.huffman { huffman::decode(bytes) } else { Some(bytes.to_vec()) }
    }

    fn mend(&self, block: &mut [u8]) -> bool {
        let decoded = self.decode(block);
        let grows = decoded.as_ref().is_some_and(|text| text.len() < self.bytes.len());
        if decoded.is_some_and(|text| Authority::try_from(text.as_slice()).is_ok()) || grows || self.bytes.is_empty() {
            return false;
        }
        block[self.head] &= 0x7f;
        block[self.bytes.clone()].fill(b'a');
        true
    }
}

/// Reads an integer with a prefix of `bits` bits (RFC 7541, section 5.1); answers it and the place after it.
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let prefix_max = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & prefix_max;
    let mut at = at + 1;
    if value < prefix_max {
        return Some((value, at));
    }
    // Three further bytes suffice for any length a block can have.
    for shift in [0, 7, 14] {
        let byte = *block.get(at)?;
        at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `:method POST`, `:authority` in plain letters with the given value, `:path` as a literal.
    fn block(authority: &[u8]) -> Vec<u8> {
        let mut block = vec![0x83, 0x41, u8::try_from(authority.len()).unwrap()];
        block.extend_from_slice(authority);
        block.extend_from_slice(b"\x04\x02/a");
        block
    }

    #[test]
    fn a_valid_authority_stays() {
        for authority in ["127.0.0.1:2379", "localhost", "[::1]:2379", "a.b-c:1"] {
            let mut mended = block(authority.as_bytes());
            assert!(!mend(&mut mended), "{authority}");
            assert_eq!(mended, block(authority.as_bytes()));
        }
    }

    #[test]
    fn a_malformed_authority_is_overwritten_in_its_place() {
        for authority in ["http://127.0.0.1:2379", "#initially=[a b]", "a/b", "[::1", "a b"] {
            let mut mended = block(authority.as_bytes());
            assert!(mend(&mut mended), "{authority}");
            assert_eq!(mended, block(&vec![b'a'; authority.len()]), "{authority}");
        }
    }

    #[test]
    fn a_huffman_coded_authority_is_judged_by_what_it_says() {
        let sound = [0x41, 0x8b, 0x08, 0x9d, 0x5c, 0x0b, 0x81, 0x70, 0xdc, 0x13, 0x2f, 0xbe, 0xff];
        let mut block = sound.to_vec();
        assert!(!mend(&mut block));
        // "/a" as five and six bits and padding: 011000 00011 11111.
        let mut block = vec![0x41, 0x82, 0b0110_0000, 0b0111_1111, 0x83];
        assert!(mend(&mut block));
        assert_eq!(block, [0x41, 0x02, b'a', b'a', 0x83]);
    }

    /// As a client of etcd 3.4 sends it for `--endpoints=http://127.0.0.1:23998 endpoint hashkv`.
    #[test]
    fn the_url_that_an_old_client_sends_is_mended() {
        let coded = b"\x9d\x29\xae\xe3\x0c\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\xdf\x7b";
        assert_eq!(huffman::decode(coded).unwrap(), b"http://127.0.0.1:23998");
        let mut block = [&b"\x83\x86\x41\x90"[..], coded, b"\x84"].concat();
        assert!(mend(&mut block));
        assert_eq!(block, [&b"\x83\x86\x41\x10"[..], &[b'a'; 16], b"\x84"].concat());
    }

    #[test]
    fn a_name_in_letters_is_recognised() {
        let mut block = b"\x00\x0a:authority\x03a/b".to_vec();
        assert!(mend(&mut block));
        assert_eq!(block, b"\x00\x0a:authority\x03aaa");
    }

    #[test]
    fn other_fields_are_left_alone() {
        let mut block = b"\x20\x82\x44\x03a/b\x40\x01x\x03a/b\x11\x00".to_vec();
        block.truncate(block.len() - 2);
        let before = block.clone();
        assert!(!mend(&mut block));
        assert_eq!(block, before);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut block = [0; 24];
            for byte in &mut block {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            let length = usize::from(block[0] % 24);
            mend(&mut block[..length]);
        }
    }
}
