//! The crate rule: what each crate may never name, and why the layers stay layers.
//!
//! Two looks at each crate: its direct dependencies (tests and build scripts may use what they like) and the words of
//! its shipped code, comments and strings aside. `ARCHITECTURE.md` states the same rule in prose.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Finding, source};
use crate::folder::TextFile;

/// One crate and what it may never name.
struct Rule {
    /// Its folder under `crates/`.
    folder: &'static str,
    /// Packages that may not be dependencies; a trailing `*` stands for any ending.
    dependencies: &'static [&'static [&'static str]],
    /// Words that may not stand in its code.
    words: &'static [&'static [&'static str]],
}

const OURS: &[&str] = &["tombolo-*"];
const RUNTIME: &[&str] = &["tokio", "tokio-*", "async-std", "smol", "futures", "futures-*"];
const GRPC: &[&str] = &["tonic", "tonic-*", "prost", "prost-*", "tombolo-proto", "hyper", "hyper-*", "axum", "h2"];
const PEERS: &[&str] = &["quinn", "quinn-*", "rustls", "tombolo-net"];
const RANDOMNESS: &[&str] = &["rand", "rand_*", "getrandom", "fastrand"];
const DISK: &[&str] = &["fjall", "lsm-tree", "tombolo-storage", "tempfile"];
const PRODUCT: &[&str] = &["tombolo-server", "tombolo-site", "tombolo-cli"];

const CLOCK_READS: &[&str] = &["Instant::now", "SystemTime::now", "std::time::Instant", "std::time::SystemTime"];
const WALL_CLOCK: &[&str] = &["SystemTime"];
const SOCKETS: &[&str] = &["std::net", "TcpStream", "TcpListener", "UdpSocket"];
const FILES: &[&str] = &["std::fs", "std::io", "std::env", "std::process"];
const ASYNC: &[&str] = &["async fn", "async move", ".await", "tokio::"];
const CHANCE: &[&str] = &["rand::", "getrandom", "RandomState"];
const SCREEN: &[&str] = &["println!", "eprintln!", "print!", "eprint!"];

const RULES: &[Rule] = &[
    Rule {
        folder: "crdt",
        dependencies: &[OURS, RUNTIME, GRPC, PEERS, RANDOMNESS, DISK],
        words: &[CLOCK_READS, SOCKETS, FILES, ASYNC, CHANCE, SCREEN],
    },
    Rule {
        folder: "storage",
        dependencies: &[RUNTIME, GRPC, PEERS, RANDOMNESS, PRODUCT, &["tombolo-client"]],
        // Its housekeeping may pace itself; what time it is, it is told.
        words: &[WALL_CLOCK, SOCKETS, ASYNC, CHANCE, SCREEN],
    },
    Rule {
        folder: "auth",
        dependencies: &[OURS, RUNTIME, GRPC, PEERS, DISK],
        words: &[CLOCK_READS, SOCKETS, FILES, ASYNC, SCREEN],
    },
    Rule {
        folder: "bolt",
        dependencies: &[OURS, RUNTIME, GRPC, PEERS, RANDOMNESS, DISK],
        words: &[CLOCK_READS, SOCKETS, ASYNC, CHANCE, SCREEN],
    },
    Rule { folder: "net", dependencies: &[DISK, &["tombolo-proto"], PRODUCT], words: &[&["etcd"], SCREEN] },
    Rule {
        folder: "site",
        dependencies: &[RUNTIME, GRPC, PEERS, RANDOMNESS, &["tombolo-server", "tombolo-client"]],
        words: &[CLOCK_READS, SOCKETS, ASYNC, CHANCE, SCREEN],
    },
    Rule { folder: "proto", dependencies: &[OURS], words: &[] },
    Rule { folder: "client", dependencies: &[DISK, &["quinn", "quinn-*", "tombolo-net"], PRODUCT], words: &[SCREEN] },
    Rule { folder: "server", dependencies: &[&["tombolo-client", "tombolo-cli"]], words: &[] },
    // It reaches a store only where no server runs: to restore a snapshot.
    Rule {
        folder: "cli",
        dependencies: &[&["fjall", "lsm-tree"], PEERS, &["tombolo-server", "tombolo-site"]],
        words: &[],
    },
    Rule { folder: "rig", dependencies: &[&["tombolo-storage", "tombolo-net"], PRODUCT], words: &[] },
    Rule { folder: "sim", dependencies: &[RUNTIME, GRPC, &["quinn"]], words: &[CLOCK_READS, SOCKETS, ASYNC] },
];

/// Everything that a crate names and may not, and crates that no rule speaks of. `metadata` is `cargo metadata`'s JSON.
pub(crate) fn check(files: &[TextFile], metadata: &str) -> Result<Vec<Finding>> {
    let metadata: Value = serde_json::from_str(metadata).context("read cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo's metadata lists no packages")?;
    let mut findings = Vec::new();
    for package in packages {
        let Some(folder) = crate_folder(package) else { continue };
        let manifest = format!("crates/{folder}/Cargo.toml");
        let Some(rule) = RULES.iter().find(|rule| rule.folder == folder) else {
            findings.push(Finding::whole_file(&manifest, "no rule says what this crate may never name"));
            continue;
        };
        let named = shipped_dependencies(package).filter(|name| rule.forbids(name));
        findings.extend(named.map(|name| Finding::whole_file(&manifest, format!("{folder} may never name `{name}`"))));
        let source = format!("crates/{folder}/src/");
        let sources = files.iter().filter(|file| file.is_rust() && file.path.starts_with(&source));
        findings.extend(sources.flat_map(|file| rule.words_in(file)));
    }
    Ok(findings)
}

impl Rule {
    fn forbids(&self, dependency: &str) -> bool {
        self.dependencies.iter().copied().flatten().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => dependency.starts_with(start),
            None => dependency == *pattern,
        })
    }

    fn words_in(&self, file: &TextFile) -> Vec<Finding> {
        let code = source::code(&file.text);
        let shipped = source::without(&code, &source::tests(&code));
        let mut findings = Vec::new();
        for (number, line) in (1..).zip(shipped.lines()) {
            let named = self.words.iter().copied().flatten().filter(|word| names(line, word));
            findings.extend(
                named.map(|word| Finding::new(&file.path, number, format!("{} may never name `{word}`", self.folder))),
            );
        }
        findings
    }
}

/// Whether the word stands in the line on its own: `operand::` does not name `rand::`.
fn names(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| !word.starts_with(is_part) || !line[..at].ends_with(is_part))
}

fn crate_folder(package: &Value) -> Option<&str> {
    let mut parts = package["manifest_path"].as_str()?.rsplit(['/', '\\']).skip(1);
    let folder = parts.next()?;
    (parts.next() == Some("crates")).then_some(folder)
}

/// Direct dependencies of the kind that is shipped, by the package's name whatever it is called here.
fn shipped_dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    all.iter().filter(|dependency| dependency["kind"].is_null()).filter_map(|dependency| dependency["name"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check;
    use crate::tidy::{file, messages};

    fn metadata(folder: &str, dependencies: &[(&str, Option<&str>)]) -> String {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind, "rename": null})).collect();
        let manifest = format!("somewhere/crates/{folder}/Cargo.toml");
        json!({"packages": [{"manifest_path": manifest, "dependencies": dependencies}]}).to_string()
    }

    #[test]
    fn a_forbidden_dependency_is_named_unless_only_tests_use_it() {
        let named = [("tokio", None), ("tokio-stream", None), ("tokio", Some("dev")), ("bytes", None)];
        let findings = check(&[], &metadata("storage", &named)).unwrap();
        let expected = ["tokio", "tokio-stream"]
            .map(|name| format!("crates/storage/Cargo.toml:0 storage may never name `{name}`"));
        assert_eq!(messages(&findings), expected);
    }

    #[test]
    fn a_clock_read_in_shipped_code_is_found_with_its_line() {
        let text = "//! Instant::now is not for us.\nfn f() { let a = Instant::now(); }\n\
                    #[cfg(test)]\nmod tests { fn g() { Instant::now(); } }\n";
        let findings = check(&[file("crates/site/src/lease.rs", text)], &metadata("site", &[])).unwrap();
        assert_eq!(messages(&findings), ["crates/site/src/lease.rs:2 site may never name `Instant::now`"]);
    }

    #[test]
    fn a_word_inside_another_word_is_not_named() {
        let text = "fn f() { operand::g(); rand::h(); }";
        let findings = check(&[file("crates/crdt/src/a.rs", text)], &metadata("crdt", &[])).unwrap();
        assert_eq!(messages(&findings), ["crates/crdt/src/a.rs:1 crdt may never name `rand::`"]);
    }

    #[test]
    fn a_crate_that_no_rule_speaks_of_is_a_finding() {
        let findings = check(&[], &metadata("novelty", &[])).unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("no rule"));
    }

    #[test]
    fn the_command_line_may_not_open_an_engine() {
        let findings = check(&[], &metadata("cli", &[("fjall", None)])).unwrap();
        assert_eq!(findings.len(), 1);
    }
}
