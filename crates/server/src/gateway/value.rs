//! Finds where a JSON value ends in text that comes in pieces, without reading what it says: that is the reader's business.

/// How far a value has been followed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boundary {
    at: usize,
    depth: usize,
    is_begun: bool,
    is_in_string: bool,
    is_escaped: bool,
}

impl Boundary {
    /// The length of the first value in `text`, as soon as it is complete; asked again with more of the same text it goes on where it was. A value
    /// that is neither object, list nor string ends where something else begins; whether it ends with the text only the text's end can tell.
    pub(super) fn end(&mut self, text: &[u8]) -> Option<usize> {
        while let Some(letter) = text.get(self.at) {
            let is_last = match letter {
                _ if self.is_escaped => {
                    self.is_escaped = false;
                    false
                }
                b'\\' if self.is_in_string => {
                    self.is_escaped = true;
                    false
                }
                b'"' if self.is_in_string => {
                    self.is_in_string = false;
                    self.depth == 0
                }
                _ if self.is_in_string => false,
                b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n' if self.is_begun && self.depth == 0 => {
                    return Some(self.at);
                }
                b' ' | b'\t' | b'\r' | b'\n' => false,
                b'"' => {
                    self.is_in_string = true;
                    false
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    false
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.depth == 0
                }
                _ => false,
            };
            self.is_begun |= !letter.is_ascii_whitespace();
            self.at += 1;
            if is_last {
                return Some(self.at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a text that comes in pieces of `size` bytes.
    fn values(text: &str, size: usize) -> Vec<String> {
        let (mut values, mut held, mut boundary) = (Vec::new(), Vec::new(), Boundary::default());
        for piece in text.as_bytes().chunks(size) {
            held.extend_from_slice(piece);
            while let Some(end) = boundary.end(&held) {
                boundary = Boundary::default();
                values.push(String::from_utf8(held.drain(..end).collect()).unwrap().trim().to_owned());
            }
        }
        values
    }

    #[test]
    fn values_end_where_they_end_however_the_text_is_cut() {
        let text = r#" {"a":"}{\"[","b":[{},[]]}{} [1,"]"]null {"c":"\\"} "s" 12{}] x"#;
        let expected =
            [r#"{"a":"}{\"[","b":[{},[]]}"#, "{}", r#"[1,"]"]"#, "null", r#"{"c":"\\"}"#, r#""s""#, "12", "{}", "]"];
        for size in 1..text.len() {
            assert_eq!(values(text, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_incomplete_value_has_no_end() {
        for text in ["", "  ", "{", r#"{"a":"}"#, r#"{"a":"}\"}"#, "[[]", "nul"] {
            assert_eq!(Boundary::default().end(text.as_bytes()), None, "{text}");
        }
    }
}
