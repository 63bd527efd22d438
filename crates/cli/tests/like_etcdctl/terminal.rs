//! Passwords that are typed at a terminal: nothing of them is shown, and the terminal is as it was afterwards.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use crate::side_by_side::{SideBySide, tombolo};

/// A terminal with nobody at it, and a program that reads from it.
struct Terminal {
    keyboard: File,
    side: OwnedFd,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(bench: &SideBySide, words: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("it is ours");
        unlockpt(&keyboard).expect("it opens");
        let name = ptsname(&keyboard, Vec::new()).expect("it has a name");
        let side = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
        let handle = || Stdio::from(side.try_clone().expect("a handle"));
        let mut command = Command::new(tombolo());
        command.arg("--endpoints").arg(bench.server.address().to_string()).args(words);
        let child = command.stdin(handle()).stdout(handle()).stderr(handle()).spawn().expect("it starts");
        let (keyboard, shown) = (File::from(keyboard), Arc::new(Mutex::new(Vec::new())));
        let (mut screen, sink) = (keyboard.try_clone().expect("a handle"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                sink.lock().expect("a lock").extend_from_slice(&buffer[..length]);
            }
        });
        Self { keyboard, side, child, shown }
    }

    fn is_silent(&self) -> bool {
        let modes = tcgetattr(self.side.as_fd()).expect("its modes").local_modes;
        !modes.contains(LocalModes::ECHO)
    }

    /// Types a line once `question` stands there and the terminal is silent: before that it would be shown.
    fn answer(&mut self, question: &str, line: &str) {
        let started = Instant::now();
        while !(self.shown().ends_with(question) && self.is_silent()) {
            assert!(started.elapsed() < Duration::from_secs(15), "no {question:?} in {:?}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.keyboard.write_all(line.as_bytes()).expect("it is typed");
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("a lock")).replace("\r\n", "\n")
    }

    /// All that stands on the terminal in the end, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let code = self.child.wait().expect("it ends").code();
        assert!(!self.is_silent(), "the terminal is left silent");
        // What was written last is on its way through the terminal.
        std::thread::sleep(Duration::from_millis(100));
        (self.shown(), code)
    }
}

#[tokio::test]
async fn a_new_password_is_typed_twice_and_never_shown() {
    let Some(bench) = SideBySide::new().await else { return };
    let mut terminal = Terminal::start(&bench, &["user", "add", "new"]);
    terminal.answer("Password of new: ", "secret\n");
    // A slip of the finger is taken back.
    terminal.answer("again for confirmation: ", "sez\u{7f}cret\n");
    let (shown, code) = terminal.end();
    let expected = "Password of new: \nType password of new again for confirmation: \nUser new created\n";
    assert_eq!((shown.as_str(), code), (expected, Some(0)));
}

#[tokio::test]
async fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    let Some(bench) = SideBySide::new().await else { return };
    let mut terminal = Terminal::start(&bench, &["--user", "root", "get", "a"]);
    terminal.answer("Password: ", "sec\u{3}");
    let (shown, code) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.starts_with("Password: \nError: interrupted") && !shown.contains("sec"), "{shown}");
}
