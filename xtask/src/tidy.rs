//! `tidy`: the rules of the house that no compiler knows.
//!
//! Every rule is a pure function from texts to findings, with its own tests on small fixtures; this file reads the
//! workspace, runs them all, and prints what they found. It reads text, it does not parse Rust: a rule says what it
//! looks at, and a finding that is wrong is a reason to mend the rule, never to bend the code.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    folder::text_files,
    paint::Paint,
    project::{metadata, root},
};

mod allowed;
mod crate_rule;
mod etcd_table;
mod furniture;
mod length;
mod mutations;
mod source;
mod words;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// The line, from 1; 0 when the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }

    fn whole_file(path: &str, message: impl Into<String>) -> Self {
        Self::new(path, 0, message)
    }
}

/// Runs the task.
pub(crate) fn run() -> Result<ExitCode> {
    Ok(if passes()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks everything, prints the findings, and says whether there were none.
pub(crate) fn passes() -> Result<bool> {
    let files = text_files(&root())?;
    let mut findings = Vec::new();
    findings.extend(furniture::check(&files));
    findings.extend(length::check(&files));
    findings.extend(words::check(&files));
    findings.extend(mutations::check(&files));
    findings.extend(crate_rule::check(&files, &metadata()?)?);
    findings.extend(etcd_table::check(&files, tombolo_proto::FILE_DESCRIPTOR_SET)?);
    findings.sort();
    let paint = Paint::for_stdout();
    for finding in &findings {
        let place = if finding.line == 0 { finding.path.clone() } else { format!("{}:{}", finding.path, finding.line) };
        println!("{}: {}", paint.bold(place), finding.message);
    }
    let files = files.len();
    match findings.len() {
        0 => println!("tidy: {files} files, nothing to say"),
        count => println!("tidy: {files} files, {}", paint.bad(format_args!("{count} findings"))),
    }
    Ok(findings.is_empty())
}

#[cfg(test)]
fn file(path: &str, text: &str) -> crate::folder::TextFile {
    crate::folder::TextFile { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
fn messages(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}:{} {}", finding.path, finding.line, finding.message)).collect()
}
