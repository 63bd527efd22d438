//! Quoted strings as a transaction's script writes them: `"a\n"` with Go's escapes, or `` `a\n` `` taken literally.
//!
//! The result is bytes: `\xff` is the byte 0xff and not a character.

use thiserror::Error;

/// Why a text is not a quoted string.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum BadQuote {
    #[error("a quoted string is expected")]
    NotQuoted,
    #[error("a quoted string has no end")]
    NoEnd,
    #[error("invalid escape in a quoted string")]
    BadEscape,
}

/// Reads the quoted string that `text` begins with; gives its bytes and what follows it.
pub(crate) fn unquote(text: &str) -> Result<(Vec<u8>, &str), BadQuote> {
    if let Some(raw) = text.strip_prefix('`') {
        let (content, rest) = raw.split_once('`').ok_or(BadQuote::NoEnd)?;
        return Ok((content.bytes().filter(|byte| *byte != b'\r').collect(), rest));
    }
    let mut rest = text.strip_prefix('"').ok_or(BadQuote::NotQuoted)?;
    let mut bytes = Vec::new();
    loop {
        let mut characters = rest.chars();
        match characters.next().ok_or(BadQuote::NoEnd)? {
            '"' => return Ok((bytes, characters.as_str())),
            '\\' => rest = unescape(characters.as_str(), &mut bytes)?,
            character => {
                push(&mut bytes, character);
                rest = characters.as_str();
            }
        }
    }
}

/// Reads one escape after its backslash and gives what follows it.
fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, BadQuote> {
    let mut characters = text.chars();
    let simple = match characters.next().ok_or(BadQuote::NoEnd)? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return byte(characters.as_str(), 2, 16, bytes),
        '0'..='7' => return byte(text, 3, 8, bytes),
        'u' => return scalar(characters.as_str(), 4, bytes),
        'U' => return scalar(characters.as_str(), 8, bytes),
        _ => return Err(BadQuote::BadEscape),
    };
    bytes.push(simple);
    Ok(characters.as_str())
}

fn byte<'a>(text: &'a str, digits: usize, base: u32, bytes: &mut Vec<u8>) -> Result<&'a str, BadQuote> {
    let (code, rest) = number(text, digits, base)?;
    bytes.push(u8::try_from(code).map_err(|_| BadQuote::BadEscape)?);
    Ok(rest)
}

fn scalar<'a>(text: &'a str, digits: usize, bytes: &mut Vec<u8>) -> Result<&'a str, BadQuote> {
    let (code, rest) = number(text, digits, 16)?;
    push(bytes, char::from_u32(code).ok_or(BadQuote::BadEscape)?);
    Ok(rest)
}

fn number(text: &str, digits: usize, base: u32) -> Result<(u32, &str), BadQuote> {
    let (number, rest) = text.split_at_checked(digits).ok_or(BadQuote::BadEscape)?;
    // `from_str_radix` would take a sign.
    if !number.chars().all(|digit| digit.is_digit(base)) {
        return Err(BadQuote::BadEscape);
    }
    Ok((u32::from_str_radix(number, base).map_err(|_| BadQuote::BadEscape)?, rest))
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::quote::Quoted;

    #[test]
    fn a_string_ends_at_its_own_quote() {
        assert_eq!(unquote(r#""a b") > "0""#), Ok((b"a b".to_vec(), r#") > "0""#)));
        assert_eq!(unquote("`a\\n\"` x"), Ok((b"a\\n\"".to_vec(), " x")));
        assert_eq!(unquote(r#""""#), Ok((Vec::new(), "")));
    }

    #[test]
    fn escapes_make_bytes() {
        assert_eq!(
            unquote(r#""\x00\xff\101\377\u00e9\U0001f600\"\\""#).expect("escapes").0,
            b"\0\xffA\xff\xc3\xa9\xf0\x9f\x98\x80\"\\"
        );
    }

    #[test]
    fn malformed_strings_are_refused() {
        assert_eq!(unquote("a"), Err(BadQuote::NotQuoted));
        assert_eq!(unquote(""), Err(BadQuote::NotQuoted));
        for text in ["\"", "\"abc", "`abc", "\"abc\\", "\"abc\\\""] {
            assert_eq!(unquote(text), Err(BadQuote::NoEnd), "{text}");
        }
        for text in
            [r#""\q""#, r#""\x+1""#, r#""\xg0""#, r#""\400""#, r#""\ud800""#, r#""\u12""#, "\"\\xé\"", r#""\'""#]
        {
            assert_eq!(unquote(text), Err(BadQuote::BadEscape), "{text}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        let bytes: Vec<u8> = (0..=255).chain("é\u{2028}😀".bytes()).collect();
        let quoted = Quoted(&bytes).to_string();
        assert_eq!(unquote(&quoted), Ok((bytes, "")));
    }
}
