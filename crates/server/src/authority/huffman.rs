//! Decodes header strings of the kind that can be part of a valid authority.
//!
//! Header compression's Huffman code (RFC 7541, appendix B) is canonical: within a length, codes ascend with their symbols. Only lengths
//! up to thirteen bits are listed; longer codes stand for characters that no authority and no pseudo-header name has.

/// The symbols with codes of each length, ascending, in order of length.
const SYMBOLS: [(u32, &[u8]); 8] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
];

/// The decoded string; `None` when it holds a rare character or is not well-formed.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(coded.len() * 8 / 5);
    let mut code = 0;
    let mut code_bits = 0;
    for bit in bits(coded) {
        code = code << 1 | bit;
        code_bits += 1;
        if let Some(symbol) = symbol(code, code_bits) {
            decoded.push(symbol);
            (code, code_bits) = (0, 0);
        } else if code_bits > 13 {
            return None;
        }
    }
    // What remains is padding: fewer than eight bits, all ones.
    (code_bits < 8 && code == (1 << code_bits) - 1).then_some(decoded)
}

fn bits(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| u32::from(byte >> shift & 1)))
}

fn symbol(code: u32, code_bits: u32) -> Option<u8> {
    let mut first = 0;
    let mut previous_bits = 5;
    for (bits, symbols) in SYMBOLS {
        first <<= bits - previous_bits;
        if bits == code_bits {
            let place = code.checked_sub(first)?;
            return symbols.get(usize::try_from(place).ok()?).copied();
        }
        first += u32::try_from(symbols.len()).ok()?;
        previous_bits = bits;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_decode() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&coded).unwrap(), b"www.example.com");
        assert_eq!(decode(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
    }

    #[test]
    fn what_a_client_sends_for_a_socket_address_decodes() {
        let coded = [0x08, 0x9d, 0x5c, 0x0b, 0x81, 0x70, 0xdc, 0x13, 0x2f, 0xbe, 0xff];
        assert_eq!(decode(&coded).unwrap(), b"127.0.0.1:23999");
    }

    #[test]
    fn rare_characters_and_bad_padding_do_not_decode() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(decode(&[0x00, 0x00]), None, "a zero is no padding");
    }
}
