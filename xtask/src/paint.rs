//! Colours for people: on a terminal, and never when `NO_COLOR` asks for none.

use std::{
    env,
    fmt::Display,
    io::{IsTerminal, stdout},
};

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn for_stdout() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: stdout().is_terminal() && !refused }
    }

    /// Whether it paints: then the screen may be written over, too.
    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    /// Takes back the line that stands there unfinished.
    pub(crate) const fn clear_line(self) -> &'static str {
        if self.on { "\r\u{1b}[2K" } else { "" }
    }

    /// What matters most on a line.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    /// What may be skipped when reading.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    /// What went well.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// What to look at.
    pub(crate) fn alert(self, text: impl Display) -> String {
        self.wrap("1;33", text)
    }

    /// What did not.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::Paint;

    #[test]
    fn without_a_terminal_text_stays_as_it_is() {
        assert_eq!(Paint { on: false }.bad("no"), "no");
        assert_eq!(Paint { on: true }.bad("no"), "\u{1b}[1;31mno\u{1b}[0m");
    }
}
