//! What happened, as a hash, and as lines when somebody wants to read it.
//!
//! Equal seeds give equal traces. The hash is how that is known without keeping them.

use std::{collections::VecDeque, fmt, fmt::Write as _};

use crate::Time;

/// The happenings of one simulation.
pub struct Trace {
    hash: Fnv,
    count: u64,
    /// The newest lines, when they are kept.
    lines: Option<VecDeque<String>>,
}

/// Lines kept for a report: all there are, but of a run without end.
const LINES_MAX: usize = 1_000_000;

impl Trace {
    /// A trace that keeps its lines or only their hash.
    pub fn new(keeps_lines: bool) -> Self {
        Self { hash: Fnv::default(), count: 0, lines: keeps_lines.then(VecDeque::new) }
    }

    /// Takes note of something that happened.
    pub fn note(&mut self, at: Time, what: fmt::Arguments<'_>) {
        self.count += 1;
        self.hash.take(&at.0.to_le_bytes());
        let written = self.hash.write_fmt(what);
        debug_assert!(written.is_ok(), "the hash takes everything");
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{at} {what}"));
        }
    }

    /// The hash over everything that was noted.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How much was noted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The newest lines, oldest first; none when they are not kept.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &str> {
        self.lines.as_ref().map(VecDeque::iter).unwrap_or_default().map(String::as_str)
    }
}

/// FNV-1a: it only has to tell two runs of one program apart.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;
    use crate::Time;

    #[test]
    fn what_differs_in_a_word_or_in_a_microsecond_has_another_hash() {
        let hash = |at, word: &str| {
            let mut trace = Trace::new(false);
            trace.note(Time(at), format_args!("site {word}"));
            trace.hash()
        };
        assert_eq!(hash(1, "a"), hash(1, "a"));
        assert_ne!(hash(1, "a"), hash(2, "a"));
        assert_ne!(hash(1, "a"), hash(1, "b"));
    }

    #[test]
    fn keeping_lines_does_not_change_the_hash() {
        let (mut kept, mut hashed) = (Trace::new(true), Trace::new(false));
        for trace in [&mut kept, &mut hashed] {
            trace.note(Time(5), format_args!("x"));
        }
        assert_eq!(kept.hash(), hashed.hash());
        assert_eq!(kept.lines().collect::<Vec<_>>(), ["  0.000005 x"]);
        assert_eq!(hashed.lines().len(), 0);
    }
}
