//! Rust source with everything blanked that is not code: comments, strings, characters, and on demand the tests.
//!
//! Blanked text turns into spaces and keeps its line breaks, so that a place in the result is the same place in the file.
//! This is a scanner, not a parser: it knows nested comments, raw strings, and the difference between a lifetime and a character.

use std::ops::Range;

/// The code of a file.
pub(crate) fn code(text: &str) -> String {
    let mut scanner = Scanner { rest: text, out: String::with_capacity(text.len()) };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.out
}

/// Where the `#[cfg(test)]` items of a file are. Expects what [`code`] returned.
pub(crate) fn tests(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]") {
        let start = from + at;
        from = start + item_end(&code[start..]);
        found.push(start..from);
    }
    found
}

/// A text, blanked in the given places.
pub(crate) fn without(text: &str, places: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for place in places {
        out.push_str(&text[from..place.start]);
        blank(&text[place.clone()], &mut out);
        from = place.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Where the item that `code` begins with ends: after its block, or after its semicolon if that comes first.
pub(crate) fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in code.char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && character == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.skip(end);
        } else if self.rest.starts_with("/*") {
            self.skip(block_comment(self.rest));
        } else if let Some(length) = self.raw_string() {
            self.skip(length);
        } else if self.rest.starts_with('"') {
            self.skip(quoted(self.rest, '"'));
        } else if self.rest.starts_with('\'') && is_character(self.rest) {
            self.skip(quoted(self.rest, '\''));
        } else {
            let length = self.rest.chars().next().map_or(0, char::len_utf8);
            self.out.push_str(&self.rest[..length]);
            self.rest = &self.rest[length..];
        }
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        blank(skipped, &mut self.out);
        self.rest = rest;
    }

    /// The length of the raw string that begins here, `r"…"`, `br#"…"#` and so on.
    fn raw_string(&self) -> Option<usize> {
        if self.out.ends_with(|character: char| character.is_alphanumeric() || character == '_') {
            return None;
        }
        let after = self.rest.strip_prefix("br").or_else(|| self.rest.strip_prefix('r'))?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        let body = after[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let opening = self.rest.len() - body.len();
        Some(body.find(&close).map_or(self.rest.len(), |at| opening + at + close.len()))
    }
}

fn blank(text: &str, out: &mut String) {
    out.extend(text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A lifetime has no closing quote right after its first character.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{code, item_end, tests, without};

    #[test]
    fn comments_and_strings_are_blanked_and_lines_kept() {
        let text = "let a = \"x // y\"; // z\n/* one /* two */\nstill */ let b = 1;";
        let code = code(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(!code.contains(['x', 'y', 'z']) && !code.contains("still"));
        assert!(code.contains("let a") && code.contains("let b = 1;"));
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        let code = code("let a = r#\"quote \" inside\"#; let b = br\"x\"; for_str\"y\"");
        assert!(!code.contains("inside") && code.contains("let b") && code.contains("for_str"));
        assert!(!code.contains('y'));
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        let code = code("fn f<'a>(x: &'a str) -> char { '{' } fn g() -> char { '\\'' }");
        assert!(code.contains("<'a>") && code.contains("&'a str"));
        assert_eq!(code.matches('{').count(), 2, "the brace in quotes is gone: {code}");
    }

    #[test]
    fn tests_are_not_shipped() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c(); } }\nfn d() {}\n#[cfg(test)]\nuse x::{y, z};\nfn e() {}";
        let shipped = without(code, &tests(code));
        assert!(!shipped.contains("fn b"));
        assert!(shipped.contains("fn a") && shipped.contains("fn d") && shipped.contains("fn e"));
        assert_eq!(shipped.lines().count(), code.lines().count());
    }

    #[test]
    fn a_place_in_the_code_is_the_same_place_in_the_file() {
        let text = "let a = \"ä→𝄞\"; // ö\nfn b() {}";
        assert_eq!(code(text).len(), text.len());
        assert_eq!(code(text).find("fn b"), text.find("fn b"));
    }

    #[test]
    fn an_item_ends_with_its_block_or_its_semicolon() {
        assert_eq!(item_end("fn f(a: [u8; 2]) { g(); } fn h() {}"), 25);
        assert_eq!(item_end("fn f(); fn h() {}"), 7);
    }
}
