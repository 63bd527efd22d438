//! Splits a line into words, with quotes: `put "a key" 'a value'`.
//!
//! A word in double quotes knows Go's escapes, one in single quotes is taken literally, and a quote within a word is a
//! character like any other.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
};

use crate::{
    exit::Failure,
    notation::unquote::{BadQuote, unquote},
};

/// The words of a line.
pub(crate) fn split(line: &str) -> Result<Vec<OsString>, Failure> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' => unquote(rest).map_err(|error| malformed(line, &error))?,
            '\'' => single_quoted(&rest[1..]).map_err(|error| malformed(line, &error))?,
            _ => plain(rest),
        };
        words.push(OsString::from_vec(word));
        rest = after.trim_start();
    }
    Ok(words)
}

/// A word as text, if it is some: command names are, keys need not be.
pub(crate) fn is(word: Option<&OsString>, text: &str) -> bool {
    word.map(OsString::as_os_str) == Some(OsStr::new(text))
}

fn single_quoted(text: &str) -> Result<(Vec<u8>, &str), BadQuote> {
    let (word, rest) = text.split_once('\'').ok_or(BadQuote::NoEnd)?;
    Ok((word.into(), rest))
}

fn plain(text: &str) -> (Vec<u8>, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word.into(), rest)
}

fn malformed(line: &str, error: &BadQuote) -> Failure {
    Failure::input(format!("{error}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        split(line).expect(line)
    }

    #[test]
    fn words_are_separated_by_any_space() {
        assert_eq!(words("  put a\t b "), ["put", "a", "b"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn quotes_hold_a_word_together() {
        assert_eq!(words(r#"put "a \"key\"\n" 'b "c" \n'"#), ["put", "a \"key\"\n", "b \"c\" \\n"]);
        assert_eq!(words(r#"put "" ''"#), ["put", "", ""]);
        assert_eq!(words(r#""\xff""#), [OsString::from_vec(vec![0xff])]);
    }

    #[test]
    fn a_quote_within_a_word_is_a_character() {
        assert_eq!(words(r#"it's b"c d"e"#), ["it's", "b\"c", "d\"e"]);
    }

    #[test]
    fn a_quote_without_end_is_invalid_input() {
        for line in [r#"put "a"#, "put 'a", r#"put "\q""#] {
            assert_eq!(split(line).expect_err(line).exit, crate::exit::Exit::InvalidInput);
        }
    }
}
