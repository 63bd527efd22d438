//! Somebody else's words, made fit for a log line or a terminal.

/// The text with every control character replaced, and cut to what a line takes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(CHARS_MAX).map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// Longer than any reason that this version gives.
const CHARS_MAX: usize = 200;
