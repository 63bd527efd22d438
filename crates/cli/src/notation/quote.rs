//! Byte strings between double quotes, as Go's `%q` writes them.
//!
//! Printable characters stand for themselves, everything else is escaped, and bytes that are not UTF-8 are `\x..`. The
//! Go in question is the one etcd 3.5 is built with, which writes DEL as `\u007f` and not, as later ones, as `\x7f`.

use std::fmt::{self, Write as _};

/// Displays bytes quoted.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|character| write_character(f, character))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        f.write_char('"')
    }
}

fn write_character(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        '\x07' => f.write_str("\\a"),
        '\x08' => f.write_str("\\b"),
        '\x0c' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\x0b' => f.write_str("\\v"),
        _ if is_printable(character) => f.write_char(character),
        '\0'..=' ' => write!(f, "\\x{:02x}", u32::from(character)),
        '\x7f'..='\u{ffff}' => write!(f, "\\u{:04x}", u32::from(character)),
        _ => write!(f, "\\U{:08x}", u32::from(character)),
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space: the rule is the same in Go and in Rust, which
/// shows it only in how it escapes strings. (The first character of a string is special there, so it is not first.)
fn is_printable(character: char) -> bool {
    match character {
        '\'' => true,
        _ if character.is_ascii() => character == ' ' || character.is_ascii_graphic(),
        _ => String::from_iter(['a', character]).escape_debug().nth(1) == Some(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(bytes: &[u8]) -> String {
        Quoted(bytes).to_string()
    }

    #[test]
    fn printable_text_stands_for_itself() {
        assert_eq!(quoted(b"it's <a> key"), r#""it's <a> key""#);
        assert_eq!(quoted("é 漢 😀 e\u{301}".as_bytes()), "\"é 漢 😀 e\u{301}\"");
        assert_eq!(quoted(b""), r#""""#);
    }

    #[test]
    fn everything_else_is_escaped_in_go_s_way() {
        assert_eq!(quoted(b"\x07\x08\x0c\n\r\t\x0b\\\""), r#""\a\b\f\n\r\t\v\\\"""#);
        assert_eq!(quoted(b"\0\x1f\x7f"), r#""\x00\x1f\u007f""#);
        assert_eq!(quoted("\u{85}\u{a0}\u{200b}\u{2028}".as_bytes()), r#""\u0085\u00a0\u200b\u2028""#);
        assert_eq!(quoted("\u{e000}\u{f0000}".as_bytes()), r#""\ue000\U000f0000""#);
        assert_eq!(quoted(b"b\n\xff\xe2\x82x"), r#""b\n\xff\xe2\x82x""#);
    }
}
