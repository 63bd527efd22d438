//! Splits the words of a command as a shell would, as far as scenarios need it: blanks and double quotes.

use anyhow::{Result, ensure};

pub(super) fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    ensure!(!quoted, "an open quote in: {line}");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_keep_blanks_and_empty_words() {
        assert_eq!(
            split(r#" put "a b" "" c="d e""#).ok(),
            Some(vec!["put".into(), "a b".into(), String::new(), "c=d e".into()])
        );
        assert!(split(r#"put "a"#).is_err());
    }
}
