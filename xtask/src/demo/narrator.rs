//! Tells the story as it happens: a few lines for each step to people, or one JSON object at the end to programs.

use std::{
    io::{Write as _, stdin, stdout},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Error;
use serde_json::{Value, json};
use tombolo_rig::{
    mesh::{Mesh, Standing},
    process::Server,
};

use super::{Options, cast::Cast, wording};
use crate::paint::Paint;

/// The number of steps, for the count in front of each.
const STEPS: usize = 8;
/// Where the lines of a step begin, behind its count and name.
const MARGIN: usize = 21;

/// Prints lines, and keeps what the JSON object needs.
#[derive(Debug)]
pub(crate) struct Narrator {
    paint: Paint,
    json: bool,
    wait: bool,
    keep: bool,
    started: Instant,
    cast: Cast,
    sites: Vec<Place>,
    /// The command line that was built.
    tool: String,
    step: usize,
    name: &'static str,
    /// Whether the name of the step is still to be printed, in front of its first line.
    fresh: bool,
    result: Outcome,
}

/// What came of it all.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) converged: Option<Duration>,
    /// Of each site, as far as it was asked.
    pub(crate) standings: Vec<Standing>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Writes of one key that had not seen each other.
#[derive(Clone, Debug)]
pub(crate) struct Conflict {
    pub(crate) key: &'static str,
    pub(crate) winner: String,
    pub(crate) losers: Vec<String>,
}

/// Where a site is to be found.
#[derive(Debug)]
struct Place {
    name: &'static str,
    url: String,
    address: String,
    log: PathBuf,
}

impl Narrator {
    /// A narrator who has said nothing yet.
    pub(crate) fn new(options: &Options, mesh: &Mesh, cast: Cast, tool: String) -> Self {
        let place = |(site, name): (&Server, &&'static str)| Place {
            name,
            url: site.endpoint(),
            address: site.address().to_string(),
            log: site.log(),
        };
        Self {
            paint: Paint::for_stdout(),
            json: options.json,
            wait: options.step && !options.json,
            keep: options.keep,
            started: Instant::now(),
            cast,
            sites: mesh.sites().iter().zip(cast.names()).map(place).collect(),
            tool,
            step: 0,
            name: "",
            fresh: false,
            result: Outcome::default(),
        }
    }

    /// The line above the story.
    pub(crate) fn title(&self) {
        let names = self.cast.names().join(" · ");
        let said = format!("\n  {}  {} sites on this machine: {names}", self.paint.bold("demo"), self.sites.len());
        self.say(&said);
    }

    /// Begins a step. A terminal shows its name at once, everyone else with its first line.
    pub(crate) fn begin(&mut self, name: &'static str) {
        (self.step, self.name, self.fresh) = (self.step + 1, name, true);
        self.say("");
        if self.wait {
            print!("  {}", self.paint.dim(format_args!("Enter for `{name}` ")));
            // A closed input goes on by itself.
            let _ = stdout().flush();
            let _ = stdin().read_line(&mut String::new());
        }
        self.live("…");
    }

    /// A line that the next one replaces, for people who watch: nothing of it stays.
    pub(crate) fn live(&self, text: &str) {
        if self.paint.is_on() && !self.json {
            print!("{}{}{}", self.paint.clear_line(), self.margin(), self.paint.dim(text));
            let _ = stdout().flush();
        }
    }

    /// Tells something that was done and has held.
    pub(crate) fn tell(&mut self, line: &str) {
        self.say(&format!("{}{}{line}", self.paint.clear_line(), self.margin()));
        self.fresh = false;
    }

    /// Tells something that a site did: its name comes first.
    pub(crate) fn tell_of(&mut self, site: usize, line: &str) {
        let name = self.name_of(site);
        self.tell(&format!("{name}{line}"));
    }

    /// Says what it meant.
    pub(crate) fn note(&mut self, line: &str) {
        let line = self.paint.dim(line);
        self.tell(&line);
    }

    /// What came of it, for whoever finds out.
    pub(crate) const fn outcome(&mut self) -> &mut Outcome {
        &mut self.result
    }

    /// How to paint words within a line.
    pub(crate) const fn paint(&self) -> Paint {
        self.paint
    }

    /// The end: how it went and how to go on.
    pub(crate) fn finish(&self, broken: Option<&Error>) {
        if self.json {
            println!("{:#}", self.report(broken));
            return;
        }
        match broken {
            None => self.say(&self.happy_end()),
            Some(error) => {
                let step = self.paint.bad(self.name);
                self.say(&format!("{}  {step} did not hold: {error:#}\n", self.paint.clear_line()));
                self.sites.iter().for_each(|site| self.say(&format!("  log  {}", site.log.display())));
            }
        }
    }

    fn happy_end(&self) -> String {
        let held = format!("all of it held, in {}", wording::time(self.started.elapsed()));
        let mut text = format!("\n  {}\n\n", self.paint.good(held));
        if !self.keep {
            let line = self.paint.bold("cargo xtask demo --keep");
            return format!("{text}  go on  {line}  {}\n", self.paint.dim("leaves the sites running for you"));
        }
        let ship = &self.sites[self.cast.ship()];
        let etcdctl = format!("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={}", ship.address);
        text.push_str(&format!("  go on  {}\n", self.paint.bold(etcdctl)));
        text.push_str(&format!("         {}\n", self.paint.bold("etcdctl get --prefix /config/")));
        let status = format!("{} --endpoints {} mesh status", self.tool, ship.address);
        text.push_str(&format!("         {}\n\n", self.paint.bold(status)));
        for site in &self.sites {
            text.push_str(&format!("         {:<11}{}\n", site.name, site.address));
        }
        let keys = format!("Enter cuts {} off or brings it back, Ctrl-C ends it all", ship.name);
        format!("{text}         {}\n", self.paint.dim(keys))
    }

    fn report(&self, broken: Option<&Error>) -> Value {
        let digest = |site: usize| self.result.standings.get(site).map(|standing| wording::hex(&standing.digest));
        let site =
            |(number, site): (usize, &Place)| json!({"name": site.name, "client": site.url, "digest": digest(number)});
        let conflict =
            |conflict: &Conflict| json!({"key": conflict.key, "winner": conflict.winner, "losers": conflict.losers});
        let mut report = json!({
            "sites": self.sites.iter().enumerate().map(site).collect::<Vec<_>>(),
            "acked": self.result.acknowledged,
            "lost": self.result.lost,
            "converged_ms": self.result.converged.map(|time| time.as_millis() as u64),
            "conflicts": self.result.conflicts.iter().map(conflict).collect::<Vec<_>>(),
            "ok": broken.is_none(),
        });
        if let Some(error) = broken {
            let logs: Vec<_> = self.sites.iter().map(|site| &site.log).collect();
            report["failed"] = json!({"step": self.name, "why": format!("{error:#}"), "logs": logs});
        }
        report
    }

    fn margin(&self) -> String {
        if !self.fresh {
            return " ".repeat(MARGIN);
        }
        let count = self.paint.dim(format_args!("[{}/{STEPS}]", self.step));
        let name = format!("{:<width$}", self.name, width = MARGIN - 8);
        let is_cut = self.name == "CUT";
        format!("  {count} {}", if is_cut { self.paint.alert(name) } else { self.paint.bold(name) })
    }

    fn name_of(&self, site: usize) -> String {
        let longest = self.cast.names().iter().map(|name| name.len()).max().unwrap_or_default();
        format!("{:<width$}", self.cast.name(site), width = longest + 2)
    }

    fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use anyhow::anyhow;
    use serde_json::json;
    use tombolo_rig::mesh::Standing;

    use super::{Cast, Conflict, Instant, Narrator, Outcome, Paint, Place};

    fn narrator() -> Narrator {
        let cast = Cast::of(2);
        let place = |name: &'static str| Place {
            name,
            url: format!("http://{name}"),
            address: name.to_owned(),
            log: PathBuf::from(name),
        };
        Narrator {
            paint: Paint::for_stdout(),
            json: true,
            wait: false,
            keep: false,
            started: Instant::now(),
            cast,
            sites: cast.names().iter().map(|name| place(name)).collect(),
            tool: "tombolo".to_owned(),
            step: 7,
            name: "converged",
            fresh: false,
            result: Outcome::default(),
        }
    }

    #[test]
    fn programs_read_one_object_with_everything_that_held() {
        let mut narrator = narrator();
        *narrator.outcome() = Outcome {
            acknowledged: 5,
            lost: 0,
            converged: Some(Duration::from_millis(31)),
            standings: vec![Standing { digest: vec![0x7f, 0xc1], ..Default::default() }; 2],
            conflicts: vec![Conflict { key: "/k", winner: "b".to_owned(), losers: vec!["a".to_owned()] }],
        };
        let site = |name| json!({"name": name, "client": format!("http://{name}"), "digest": "7fc1"});
        let expected = json!({
            "sites": [site("factory"), site("ship")], "acked": 5, "lost": 0, "converged_ms": 31,
            "conflicts": [{"key": "/k", "winner": "b", "losers": ["a"]}], "ok": true,
        });
        assert_eq!(narrator.report(None), expected);
    }

    #[test]
    fn a_story_that_broke_names_the_step_and_the_logs_and_claims_nothing_more() {
        let report = narrator().report(Some(&anyhow!("a put is gone")));
        let failed = json!({"step": "converged", "why": "a put is gone", "logs": ["factory", "ship"]});
        assert_eq!((&report["ok"], &report["failed"]), (&json!(false), &failed));
        assert_eq!((&report["converged_ms"], &report["sites"][0]["digest"]), (&json!(null), &json!(null)));
    }
}
