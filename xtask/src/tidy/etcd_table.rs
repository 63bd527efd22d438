//! The table of `docs/etcd.md`: every call and every field of etcd's contracts has a row, and every row names a test that exists.
//!
//! A row looks like `` | `KV.Range` or `RangeRequest.limit` | yes, differs or no | how | `name_of_a_test`, … | ``. What the contracts hold is read from
//! their descriptors, so that a new field without a row is found the day it is added. Whether the test proves what the row says is for people to judge.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::Finding;
use crate::folder::TextFile;

const PATH: &str = "docs/etcd.md";
/// The packages that are etcd's.
const PACKAGES: [&str; 5] = ["authpb", "etcdserverpb", "mvccpb", "v3electionpb", "v3lockpb"];
/// What a row may say of its call or field.
const VERDICTS: [&str; 3] = ["yes", "differs", "no"];

/// Every call and field without a row, and every row without a subject, a verdict, a reason or a test.
pub(crate) fn check(files: &[TextFile], descriptors: &[u8]) -> Result<Vec<Finding>> {
    let descriptors = FileDescriptorSet::decode(descriptors).context("read the descriptors of the contracts")?;
    let Some(document) = files.iter().find(|file| file.path == PATH) else {
        return Ok(vec![Finding::whole_file(PATH, "says what is supported of etcd's API, and has to be there")]);
    };
    let subjects = subjects(&descriptors);
    let tests = tests(files);
    let mut findings = Vec::new();
    let mut seen = BTreeMap::new();
    for (number, line) in (1..).zip(document.text.lines()) {
        let Some(row) = Row::of(line) else { continue };
        findings.extend(row.faults(&subjects, &tests).into_iter().map(|fault| Finding::new(PATH, number, fault)));
        if let Some(first) = seen.insert(row.subject.to_owned(), number) {
            findings.push(Finding::new(PATH, number, format!("`{}` has a row in line {first}", row.subject)));
        }
    }
    let missing = subjects.iter().filter(|subject| !seen.contains_key(*subject));
    findings.extend(missing.map(|subject| Finding::whole_file(PATH, format!("`{subject}` has no row"))));
    Ok(findings)
}

/// One row of a table of calls or fields.
struct Row<'a> {
    subject: &'a str,
    verdict: &'a str,
    difference: &'a str,
    tests: &'a str,
}

impl<'a> Row<'a> {
    /// The row that a line is: its first cell is one word in backticks with a dot in it.
    fn of(line: &'a str) -> Option<Self> {
        let cells: Vec<&str> =
            line.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').map(str::trim).collect();
        let subject = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let cell = |place: usize| cells.get(place).copied().unwrap_or_default();
        let is_subject = subject.contains('.') && !subject.contains(['`', ' ']);
        is_subject.then(|| Self { subject, verdict: cell(1), difference: cell(2), tests: cell(3) })
    }

    fn faults(&self, subjects: &BTreeSet<String>, tests: &BTreeSet<&str>) -> Vec<String> {
        let subject = self.subject;
        let mut faults = Vec::new();
        if !subjects.contains(subject) {
            faults.push(format!("`{subject}` is in no contract"));
        }
        if !VERDICTS.contains(&self.verdict) {
            faults.push(format!("`{subject}` is neither supported nor not: say {}", VERDICTS.join(", ")));
        }
        if self.verdict != "yes" && self.difference.is_empty() {
            faults.push(format!("`{subject}` does not say how it differs"));
        }
        let named: Vec<_> = self.tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            faults.push(format!("`{subject}` names no test"));
        }
        let absent = named.into_iter().filter(|test| !tests.contains(test));
        faults.extend(absent.map(|test| format!("`{subject}` names `{test}`, which is no test")));
        faults
    }
}

/// `Service.Method` and `Message.field` of all that is etcd's. Nested messages bear the names of those around them.
fn subjects(descriptors: &FileDescriptorSet) -> BTreeSet<String> {
    let mut subjects = BTreeSet::new();
    for file in descriptors.file.iter().filter(|file| PACKAGES.contains(&file.package())) {
        for service in &file.service {
            subjects.extend(service.method.iter().map(|method| format!("{}.{}", service.name(), method.name())));
        }
        for message in &file.message_type {
            fields(message, message.name(), &mut subjects);
        }
    }
    subjects
}

fn fields(message: &DescriptorProto, name: &str, subjects: &mut BTreeSet<String>) {
    subjects.extend(message.field.iter().map(|field| format!("{name}.{}", field.name())));
    for nested in &message.nested_type {
        fields(nested, &format!("{name}.{}", nested.name()), subjects);
    }
}

/// The names of all functions that are marked as tests.
fn tests(files: &[TextFile]) -> BTreeSet<&str> {
    files.iter().filter(|file| file.is_rust()).flat_map(|file| tests_in(&file.text)).collect()
}

fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            return None;
        }
        let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        let found = name.filter(|_| marked);
        // Comments and the parts of a broken attribute stand between a mark and its function; a blank line or a body does not.
        marked &= name.is_none() && !line.is_empty() && line != "}";
        found
    })
}

#[cfg(test)]
mod tests {
    use prost_types::{FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;
    use crate::tidy::{file, messages};

    fn contracts() -> Vec<u8> {
        let named = |name: &str| Some(name.to_owned());
        let field = |name| FieldDescriptorProto { name: named(name), ..Default::default() };
        let method = MethodDescriptorProto { name: named("Range"), ..Default::default() };
        let service = ServiceDescriptorProto { name: named("KV"), method: vec![method], ..Default::default() };
        let nested = DescriptorProto { name: named("In"), field: vec![field("b")], ..Default::default() };
        let field = vec![field("a")];
        let message = DescriptorProto { name: named("M"), field, nested_type: vec![nested], ..Default::default() };
        let etcd = FileDescriptorProto {
            package: named("etcdserverpb"),
            service: vec![service],
            message_type: vec![message.clone()],
            ..Default::default()
        };
        let ours = FileDescriptorProto { package: named("ours"), message_type: vec![message], ..Default::default() };
        FileDescriptorSet { file: vec![etcd, ours] }.encode_to_vec()
    }

    fn findings(table: &str) -> Vec<String> {
        let source = "#[test]\nfn it_holds() {\n}\n\n#[tokio::test(\n    flavor = \"x\",\n)]\nasync fn it_runs() {\n}\n\nfn helper() {}\n";
        let files = [file("docs/etcd.md", table), file("crates/a/src/lib.rs", source)];
        messages(&check(&files, &contracts()).unwrap())
    }

    #[test]
    fn a_whole_table_gives_no_finding() {
        let table = "| call | here | how | test |\n| --- | --- | --- | --- |\n| `KV.Range` | yes | | `it_holds` |\n\
                     | `M.a` | differs | so | `it_runs`, `it_holds` |\n| `M.In.b` | no | why | `it_holds` |\n";
        assert_eq!(findings(table), Vec::<String>::new());
    }

    #[test]
    fn every_hole_is_named() {
        let table = "| `KV.Range` | maybe | | `helper` |\n| `M.a` | no | | |\n| `M.a` | yes | | `it_holds` |\n| `M.c` | yes | | `it_holds` |\n";
        let found = findings(table).join("\n");
        for expected in [
            ":1 `KV.Range` is neither",
            ":1 `KV.Range` names `helper`",
            ":2 `M.a` does not say",
            ":2 `M.a` names no test",
            ":3 `M.a` has a row in line 2",
            ":4 `M.c` is in no contract",
            ":0 `M.In.b` has no row",
        ] {
            assert!(found.contains(expected), "{expected} is missing in\n{found}");
        }
    }

    #[test]
    fn the_document_itself_has_to_be_there() {
        assert_eq!(check(&[], &contracts()).unwrap().len(), 1);
    }
}
