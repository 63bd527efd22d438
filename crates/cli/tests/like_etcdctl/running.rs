//! Programs that run on: what they print is collected while they do.

use std::{
    io::{Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::side_by_side::{SideBySide, tombolo};

/// A running program and what it has printed.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    printed: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(bench: &SideBySide, program: &Path, words: &[&str]) -> Self {
        let mut child = bench.command(program).args(words).spawn().expect("it starts");
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (mut stdout, sink) = (child.stdout.take().expect("a pipe"), Arc::clone(&printed));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                sink.lock().expect("a lock").extend_from_slice(&buffer[..length]);
            }
        });
        Self { stdin: child.stdin.take(), child, printed, reader: Some(reader) }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("a pipe"), "{line}").expect("it reads");
    }

    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().expect("a lock")).into_owned()
    }

    /// Asks it to end, as a terminal does.
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "it has ended already");
    }

    /// Ends it at once, so that it can tidy nothing up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
    }

    /// Waits until it ends by itself and all it printed is here; gives its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        drop(self.stdin.take());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it reads to the end");
        }
        self.child.wait().expect("it ends").code()
    }

    /// Waits until it has printed `words`, and a little for more.
    pub(crate) async fn wait_for(&self, words: &str) -> String {
        let started = Instant::now();
        while !self.printed().contains(words) {
            assert!(started.elapsed() < Duration::from_secs(15), "no {words:?} in {:?}", self.printed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.printed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// etcdctl and tombolo, started with the same words.
pub(crate) fn both(bench: &SideBySide, words: &[&str]) -> [Running; 2] {
    [bench.etcdctl(), tombolo()].map(|program| Running::start(bench, program, words))
}
