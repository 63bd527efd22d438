//! Drives etcd's own command line by a script that is also its expected output.
//!
//! A scenario is text. A line `$ put a 1` runs etcdctl with these words, and the lines after it are what it must print.
//! `< line` directly below a command is fed to its input; `! text` is its error and `? 4` an exit code other than 0.
//! `& watch a` runs in the background; a later `%` asserts all that it has printed, and ends it. Lines that begin with
//! `#` are remarks. Blank lines are never compared, for they also separate one command from the next.
//! What differs from run to run is written `<id1>`, `<time>` and so on (see [`mask`]); `<id1>` in a command stands for
//! the id that was first printed there.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{process::Server, requirement::Tool};

mod background;
pub mod mask;
mod words;

use background::Background;
use mask::Mask;

/// The command line, pointed at one server.
#[derive(Debug)]
pub struct Etcdctl {
    program: PathBuf,
    endpoint: String,
    mask: Mask,
    background: Option<Background>,
}

impl Etcdctl {
    /// etcdctl for `server`, if it is installed.
    #[must_use]
    pub fn of(server: &Server) -> Option<Self> {
        let program = Tool::Etcdctl.find()?;
        let endpoint = server.address().to_string();
        let mask = Mask::new(&endpoint, &server.peer_address().to_string());
        Some(Self { program, endpoint, mask, background: None })
    }

    /// Runs a scenario and returns it with what was really printed: equal to [`wanted`] when all went as written.
    ///
    /// # Errors
    ///
    /// When the scenario is malformed or etcdctl cannot be run; what etcdctl prints is never an error here.
    pub fn play(&mut self, scenario: &str) -> Result<Vec<String>> {
        let mut played = Vec::new();
        let mut lines = wanted(scenario).into_iter().peekable();
        while let Some(line) = lines.next() {
            let mut input = String::new();
            let mut fed = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("< ") || line == "<") {
                input.push_str(&self.mask.reveal(line.trim_start_matches('<').trim_start()));
                input.push('\n');
                fed.push(line);
            }
            let mut expected = 0;
            while lines.next_if(|line| !is_command(line)).is_some() {
                expected += 1;
            }
            let printed = self.perform(&line, &input, expected)?;
            played.push(line);
            played.extend(fed);
            played.extend(printed.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()));
        }
        Ok(played)
    }

    /// Whether this release has a flag.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn knows(&mut self, command: &str, flag: &str) -> Result<bool> {
        Ok(self.run(&[command.to_owned(), "--help".to_owned()], "")?.contains(flag))
    }

    fn perform(&mut self, line: &str, input: &str, expected: usize) -> Result<String> {
        let (kind, words) = line.split_at(1);
        let words = words::split(&self.mask.reveal(words))?;
        match kind {
            "$" => self.run(&words, input),
            "&" => {
                ensure!(self.background.is_none(), "one background command at a time");
                self.background = Some(Background::spawn(self.command(&words))?);
                Ok(String::new())
            }
            "%" => {
                let background = self.background.take().context("`%` without `&`")?;
                Ok(self.mask.apply(&background.finish(expected)?))
            }
            _ => bail!("not a command of a scenario: {line}"),
        }
    }

    fn run(&mut self, words: &[String], input: &str) -> Result<String> {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("run {}", self.program.display()))?;
        let mut stdin = child.stdin.take().context("its input is piped")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        let mut printed = self.mask.apply(&String::from_utf8_lossy(&stdout));
        for line in String::from_utf8_lossy(&stderr).lines() {
            // Log lines are etcdctl's own business. Some of its releases report health here, some on the output.
            match line.strip_prefix("Error: ") {
                Some(error) => printed.push_str(&format!("\n! {}", self.mask.apply(error))),
                None if line.starts_with('{') => (),
                None => printed.push_str(&format!("\n{}", self.mask.apply(line))),
            }
        }
        match status.code() {
            Some(0) => (),
            Some(code) => printed.push_str(&format!("\n? {code}")),
            None => printed.push_str("\n? a signal"),
        }
        Ok(printed)
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(&self.endpoint).args(words);
        command
    }
}

/// The lines of a scenario that count.
#[must_use]
pub fn wanted(scenario: &str) -> Vec<String> {
    let counts = |line: &&str| !line.is_empty() && !line.starts_with('#');
    scenario.lines().map(str::trim_end).filter(counts).map(str::to_owned).collect()
}

/// Both texts side by side where they first part.
#[must_use]
pub fn first_difference(wanted: &[String], played: &[String]) -> Option<String> {
    let at = (0..wanted.len().max(played.len())).find(|index| wanted.get(*index) != played.get(*index))?;
    let command = played[..at.min(played.len())].iter().rev().find(|line| is_command(line));
    let show = |line: Option<&String>| line.map_or("(the end)".to_owned(), Clone::clone);
    Some(format!("after {}\nwanted: {}\ngot:    {}", show(command), show(wanted.get(at)), show(played.get(at))))
}

fn is_command(line: &str) -> bool {
    line.starts_with("$ ") || line.starts_with("& ") || line == "%"
}

#[cfg(test)]
mod tests {
    use super::{first_difference, wanted};

    #[test]
    fn a_missing_an_added_and_a_changed_line_are_differences() {
        let script = wanted("# remark\n$ get a\na\n\n1\n$ get b\n");
        assert_eq!(script, ["$ get a", "a", "1", "$ get b"]);
        let differs = |other: &str| first_difference(&script, &wanted(other)).is_some();
        assert!(!differs("$ get a\na\n1\n$ get b"));
        assert!(differs("$ get a\na\n$ get b"));
        assert!(differs("$ get a\na\n1\n$ get b\n! trouble"));
        assert!(differs("$ get a\na\n2\n$ get b"));
    }
}
