//! Tells the story as it happens: numbered lines for people, or one JSON object for programs.

use std::{
    fmt::Write as _,
    io::{Write as _, stdin, stdout},
    time::Instant,
};

use anyhow::Error;
use serde_json::{Value, json};

use super::Options;
use crate::{paint::Paint, process::Server};

/// The number of steps, for the count at the start of each line.
const STEPS: usize = 10;

/// Prints lines and keeps what the JSON object needs.
#[derive(Debug)]
pub(crate) struct Narrator {
    paint: Paint,
    json: bool,
    wait: bool,
    keep: bool,
    started: Instant,
    steps: Vec<Value>,
    current: &'static str,
    acknowledged: usize,
    lost: usize,
}

impl Narrator {
    /// A narrator who has said nothing yet.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            paint: Paint::for_stdout(),
            json: options.json,
            wait: options.step && !options.json,
            keep: options.keep,
            started: Instant::now(),
            steps: Vec::new(),
            current: "",
            acknowledged: 0,
            lost: 0,
        }
    }

    /// The line above the story.
    pub(crate) fn title(&mut self, server: &Server) {
        self.say(&format!("\n  {}  one replica · {} · {}\n", self.paint.bold("demo"), server.name(), server.address()));
    }

    /// Begins a step. A terminal shows its name at once, everyone else hears of it when it has been told.
    pub(crate) fn begin(&mut self, name: &'static str) {
        self.current = name;
        if self.wait {
            print!("  {}", self.paint.dim(format_args!("Enter for `{name}` ")));
            // A closed input goes on by itself.
            let _ = stdout().flush();
            let _ = stdin().read_line(&mut String::new());
        }
        if self.paint.is_on() && !self.json {
            print!("  {} {} …", self.count(), self.name());
            let _ = stdout().flush();
        }
    }

    /// Tells the step that was begun, now that it has held. Further lines say what it meant.
    pub(crate) fn tell(&mut self, line: &str, meaning: &str) {
        let mut text = format!("{}  {} {} {line}", self.paint.clear_line(), self.count(), self.name());
        if !meaning.is_empty() {
            let _ = write!(text, "\n                    {}", self.paint.dim(meaning));
        }
        self.say(&text);
        self.steps.push(json!({"step": self.current, "ok": true, "told": line, "meaning": meaning}));
    }

    /// Notes how many writes were acknowledged in all, and how many of them are gone.
    pub(crate) fn tally(&mut self, acknowledged: usize, lost: usize) {
        (self.acknowledged, self.lost) = (acknowledged, lost);
    }

    /// The end: how it went and how to go on.
    pub(crate) fn finish(&mut self, server: &Server, broken: Option<&Error>) {
        if self.json {
            println!("{:#}", self.report(server, broken));
            return;
        }
        match broken {
            None => self.say(&self.happy_end(server)),
            Some(error) => {
                let place = format!("{}  {} {}", self.paint.clear_line(), self.count(), self.paint.bad(self.current));
                self.say(&format!("{place}  did not hold: {error:#}\n\n  logs  {}", server.log().display()));
            }
        }
    }

    fn happy_end(&self, server: &Server) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let held = self.paint.good(format_args!("all of it held, in {seconds:.1} s"));
        let (line, then) = if self.keep {
            (format!("etcdctl --endpoints={} get --prefix /harbour/", server.address()), "Ctrl-C ends the server")
        } else {
            ("cargo xtask demo --keep".to_owned(), "leaves the server running, for etcdctl and for you")
        };
        format!("\n  {held}\n\n  go on  {}   {}\n", self.paint.bold(line), self.paint.dim(then))
    }

    fn report(&self, server: &Server, broken: Option<&Error>) -> Value {
        let sites = json!([{"name": "demo", "client": server.url(), "digest": null}]);
        let mut report = json!({
            "sites": sites, "acked": self.acknowledged, "lost": self.lost, "converged_ms": null, "conflicts": [],
            "steps": self.steps, "ok": broken.is_none(),
        });
        if let Some(error) = broken {
            report["failed"] = json!({"step": self.current, "why": format!("{error:#}"), "logs": server.log()});
        }
        report
    }

    fn count(&self) -> String {
        self.paint.dim(format_args!("[{:>2}/{STEPS}]", self.steps.len() + 1))
    }

    fn name(&self) -> String {
        self.paint.bold(format_args!("{:<9}", self.current))
    }

    fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }
}
