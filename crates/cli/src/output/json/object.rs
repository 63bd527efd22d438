//! JSON text as Go's encoder writes it.
//!
//! Its habits decide the bytes: fields stand in the order they are declared, most are left out when they are zero, byte
//! strings are base64, and `<`, `>`, `&` and the two Unicode line separators are escaped within strings. An object is
//! therefore written field by field here, and each field says whether its zero is shown.

use std::fmt::Write as _;

/// An object under construction.
#[derive(Debug, Default)]
pub(super) struct Object {
    text: String,
}

impl Object {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A number, shown even if it is zero.
    pub(super) fn number(self, name: &str, value: impl Into<i128>) -> Self {
        self.field(name, &value.into().to_string())
    }

    /// A number, left out if it is zero.
    pub(super) fn number_unless_zero(self, name: &str, value: impl Into<i128>) -> Self {
        match value.into() {
            0 => self,
            value => self.number(name, value),
        }
    }

    /// A truth value, shown even if it is false.
    pub(super) fn truth(self, name: &str, value: bool) -> Self {
        self.field(name, if value { "true" } else { "false" })
    }

    /// A truth value, left out if it is false.
    pub(super) fn truth_unless_false(self, name: &str, value: bool) -> Self {
        if value { self.truth(name, value) } else { self }
    }

    /// A string, shown even if it is empty.
    pub(super) fn string(self, name: &str, value: &str) -> Self {
        self.field(name, &string(value))
    }

    /// A string, left out if it is empty.
    pub(super) fn string_unless_empty(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.string(name, value) }
    }

    /// Bytes in base64, left out if there are none.
    pub(super) fn bytes_unless_empty(self, name: &str, value: &[u8]) -> Self {
        if value.is_empty() { self } else { self.field(name, &base64(value)) }
    }

    /// Values that are JSON text already, left out if there are none.
    pub(super) fn list_unless_empty(self, name: &str, values: impl IntoIterator<Item = String>) -> Self {
        match list(values).as_str() {
            "[]" => self,
            values => self.field(name, values),
        }
    }

    /// A value that is JSON text already, left out if it is absent.
    pub(super) fn value_if_some(self, name: &str, value: Option<String>) -> Self {
        match value {
            None => self,
            Some(value) => self.field(name, &value),
        }
    }

    /// A value that is JSON text already.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        self.text.push_str(&string(name));
        self.text.push(':');
        self.text.push_str(value);
        self
    }

    pub(super) fn end(mut self) -> String {
        if self.text.is_empty() {
            self.text.push('{');
        }
        self.text.push('}');
        self.text
    }
}

/// An array of values that are JSON text already.
pub(super) fn list(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<String> = values.into_iter().collect();
    format!("[{}]", values.join(","))
}

/// A string literal.
pub(super) fn string(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0'..=' ' if character != ' ' => escape(&mut text, character),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escape(&mut text, character),
            _ => text.push(character),
        }
    }
    text.push('"');
    text
}

fn escape(text: &mut String, character: char) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\u{:04x}", u32::from(character));
}

/// Bytes as a literal in base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4 + 2);
    text.push('"');
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_shown_or_left_out_as_the_field_says() {
        let object = Object::new().number("a", 0_i64).number_unless_zero("b", 0_u64).truth("c", false);
        let object = object.truth_unless_false("d", false).string("e", "").string_unless_empty("f", "");
        let object = object.bytes_unless_empty("g", b"").list_unless_empty("h", []).value_if_some("i", None);
        assert_eq!(object.end(), r#"{"a":0,"c":false,"e":""}"#);
        assert_eq!(Object::new().end(), "{}");
        assert_eq!(Object::new().number("max", u64::MAX).end(), r#"{"max":18446744073709551615}"#);
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        assert_eq!(string("a\"\\\n\r\t\x08\x0c\x1f\x7fé"), "\"a\\\"\\\\\\n\\r\\t\\u0008\\u000c\\u001f\x7fé\"");
        assert_eq!(string("<&>\u{2028}\u{2029}"), r#""\u003c\u0026\u003e\u2028\u2029""#);
    }

    #[test]
    fn base64_pads_the_last_group() {
        let cases = [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")];
        for (bytes, expected) in cases {
            assert_eq!(base64(bytes), format!("\"{expected}\""));
        }
        assert_eq!(base64(b"b\n\xff\x22\x5c\x01\x3c\xc3\xa9\x26"), r#""Ygr/IlwBPMOpJg==""#);
    }
}
