//! The list of what may be longer than the rule, each with its reason: `path function: reason`, or `path: reason` for a file.

use super::{Finding, length::Long};
use crate::folder::TextFile;

/// The list, a file of its own so that a longer function shows up in review as a line added here.
pub(crate) const PATH: &str = "xtask/tidy-allowed.txt";

/// One line of the list.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    pub(crate) line: usize,
    /// `path` or `path function`.
    pub(crate) what: String,
}

impl Allowance {
    /// Whether it speaks of this.
    pub(crate) fn covers(&self, long: &Long) -> bool {
        match &long.function {
            Some(function) => self.what == format!("{} {function}", long.path),
            None => self.what == long.path,
        }
    }
}

/// Reads the list, which need not exist. A line without a reason is a finding.
pub(crate) fn read(files: &[TextFile]) -> (Vec<Allowance>, Vec<Finding>) {
    let text = files.iter().find(|file| file.path == PATH).map_or("", |file| &file.text);
    let mut allowances = Vec::new();
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            Some((what, reason)) if !reason.trim().is_empty() => {
                allowances.push(Allowance { line: number, what: what.trim().to_owned() });
            }
            _ => findings.push(Finding::new(PATH, number, "an allowance needs `: reason`")),
        }
    }
    (allowances, findings)
}

#[cfg(test)]
mod tests {
    use super::{PATH, read};
    use crate::tidy::{file, messages};

    #[test]
    fn an_allowance_without_a_reason_is_a_finding() {
        let (allowances, findings) = read(&[file(PATH, "# why\n\na.rs f: a table\na.rs g\na.rs h: \n")]);
        assert_eq!(allowances.len(), 1);
        assert_eq!(allowances[0].what, "a.rs f");
        assert_eq!(findings.len(), 2, "{:?}", messages(&findings));
    }
}
