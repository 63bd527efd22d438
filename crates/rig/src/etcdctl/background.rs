//! A command that prints while others run, such as a watch.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// A running command and the lines that it has printed.
#[derive(Debug)]
pub(super) struct Background {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Background {
    pub(super) fn spawn(mut command: Command) -> Result<Self> {
        // A watch reads commands from its input, and ends with it: the pipe stays open as long as the handle.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("run in the background")?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                sink.lock().expect("readers do not panic").push(line);
            }
        });
        Ok(Self { child, lines, reader: Some(reader) })
    }

    /// Waits for `expected` lines that are not blank, then a little longer for lines that should not come, and ends it.
    pub(super) fn finish(mut self, expected: usize) -> Result<String> {
        let started = Instant::now();
        while self.printed() < expected && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(QUIET);
        self.end();
        let lines = self.lines.lock().expect("readers do not panic");
        Ok(lines.join("\n"))
    }

    fn printed(&self) -> usize {
        let lines = self.lines.lock().expect("readers do not panic");
        lines.iter().filter(|line| !line.is_empty()).count()
    }

    fn end(&mut self) {
        // It may have ended by itself; either way nothing of it is left.
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(150);
