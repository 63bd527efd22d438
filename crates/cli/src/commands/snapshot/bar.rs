//! How many bytes have gone: a bar where somebody watches, a line every ten seconds where nobody does. On standard error, either way.

use std::{
    io::{self, IsTerminal, Read},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

const LINES_EVERY: Duration = Duration::from_secs(10);

/// The progress of one copy.
#[derive(Debug)]
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    verb: &'static str,
    done: u64,
    total: u64,
    told_at: Instant,
}

impl Bar {
    /// Begins; `total` may be a guess.
    pub(super) fn begin(verb: &'static str, total: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let form = format!("{verb} {{bar:30}} {{bytes}}/{{total_bytes}}, {{bytes_per_sec}}, {{eta}} left");
            // A form that cannot be read leaves the usual one.
            ProgressStyle::with_template(&form).map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
        });
        Self { bar, verb, done: 0, total, told_at: Instant::now() }
    }

    pub(super) fn expect(&mut self, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(self.done));
        }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.told_at.elapsed() >= LINES_EVERY {
            self.told_at = Instant::now();
            eprintln!("{} {} of about {}", self.verb, HumanBytes(self.done), HumanBytes(self.total.max(self.done)));
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is read, counted.
pub(super) struct Watched<R> {
    pub(super) source: R,
    pub(super) bar: Bar,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        self.bar.add(read);
        Ok(read)
    }
}
