//! How far it is: a bar where somebody watches, a line every ten seconds where nobody does. On standard error, either way.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// How often a line is written.
const LINES_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    told_at: Instant,
    verb: &'static str,
    total: Option<u64>,
    /// Changes, and the revision up to which they go.
    reached: (u64, i64),
    /// Whether nothing has changed since the last line.
    is_told: bool,
}

impl Progress {
    /// Begins; `verb` is what is done to so many changes.
    pub(super) fn begin(verb: &'static str, total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(verb, total));
        Self { bar, told_at: Instant::now(), verb, total, reached: (0, 0), is_told: true }
    }

    pub(super) fn reached(&mut self, changes: u64, revision: i64) {
        if changes == 0 {
            return;
        }
        self.reached = (changes, revision);
        self.is_told = false;
        if let Some(bar) = &self.bar {
            bar.set_position(changes);
            bar.set_message(format!("revision {revision}"));
        }
    }

    /// Returns when a line was due.
    pub(super) async fn tick(&mut self) {
        tokio::time::sleep_until(self.told_at + LINES_EVERY).await;
        self.tell_if_due();
    }

    /// Writes a line, when it is time for one and there is news.
    pub(super) fn tell_if_due(&mut self) {
        if self.told_at.elapsed() < LINES_EVERY {
            return;
        }
        self.told_at = Instant::now();
        if self.bar.is_none() && !self.is_told {
            self.is_told = true;
            eprintln!("{}", line(self.verb, self.total, self.reached));
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(verb: &str, total: Option<u64>) -> ProgressBar {
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let form = match total {
        Some(_) => format!("{verb} {{bar:30}} {{human_pos}}/{{human_len}}, {{per_sec}}, {{eta}} left  {{msg}}"),
        None => format!("{verb} {{human_pos}} {{spinner}} {{per_sec}}  {{msg}}"),
    };
    // A form that cannot be read leaves the usual one.
    match ProgressStyle::with_template(&form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn line(verb: &str, total: Option<u64>, (changes, revision): (u64, i64)) -> String {
    match total {
        Some(total) => {
            let percent = (changes.saturating_mul(100)).checked_div(total).unwrap_or(100);
            format!("{verb} {changes} of {total} changes ({percent} %), up to revision {revision}")
        }
        None => format!("{verb} {changes} changes, up to revision {revision}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_of_how_much() {
        assert_eq!(line("imported", Some(200), (50, 7)), "imported 50 of 200 changes (25 %), up to revision 7");
        assert_eq!(line("imported", Some(0), (0, 1)), "imported 0 of 0 changes (100 %), up to revision 1");
        assert_eq!(line("imported", None, (50, 7)), "imported 50 changes, up to revision 7");
    }
}
