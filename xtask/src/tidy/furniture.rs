//! What must stand where: a head on every source file, a README in every crate, an Unreleased section, no `mod.rs`.

use super::Finding;
use crate::folder::TextFile;

/// Every missing or misplaced piece.
pub(crate) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(head(file));
        findings.extend(name(file));
        findings.extend(readme(file, files));
    }
    findings.extend(changelog(files));
    findings
}

fn head(file: &TextFile) -> Option<Finding> {
    let missing = file.is_rust() && !file.text.starts_with("//!");
    missing.then(|| Finding::new(&file.path, 1, "opens without `//!` saying what it is, promises, and is not"))
}

fn name(file: &TextFile) -> Option<Finding> {
    let name = file.path.rsplit('/').next()?;
    let message = match name {
        "mod.rs" => "a module is `name.rs` beside `name/`",
        "utils.rs" | "util.rs" | "helpers.rs" | "common.rs" | "misc.rs" => "a file is named after the thing it holds",
        _ => return None,
    };
    Some(Finding::whole_file(&file.path, message))
}

fn readme(file: &TextFile, files: &[TextFile]) -> Option<Finding> {
    let package = file.path.strip_suffix("/Cargo.toml")?;
    let path = format!("{package}/README.md");
    let missing = !files.iter().any(|other| other.path == path);
    missing.then(|| Finding::whole_file(&path, "every crate has one"))
}

fn changelog(files: &[TextFile]) -> Option<Finding> {
    const PATH: &str = "CHANGELOG.md";
    let text = files.iter().find(|file| file.path == PATH).map_or("", |file| &file.text);
    let missing = !text.lines().any(|line| line.trim_end() == "## [Unreleased]");
    missing.then(|| Finding::whole_file(PATH, "has no `## [Unreleased]` section"))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::{file, messages};

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n";

    #[test]
    fn a_complete_crate_gives_no_finding() {
        let files = [
            file("CHANGELOG.md", CHANGELOG),
            file("Cargo.toml", "[workspace]"),
            file("crates/a/Cargo.toml", "[package]"),
            file("crates/a/README.md", "# a"),
            file("crates/a/src/lib.rs", "//! Head.\n"),
        ];
        assert!(check(&files).is_empty());
    }

    #[test]
    fn each_missing_piece_is_named() {
        let files = [
            file("crates/a/Cargo.toml", "[package]"),
            file("crates/a/src/lib.rs", "use x;\n//! Too late.\n"),
            file("crates/a/src/b/mod.rs", "//! Head.\n"),
            file("crates/a/src/utils.rs", "//! Head.\n"),
        ];
        let messages = messages(&check(&files)).join("\n");
        for expected in ["crates/a/README.md", "lib.rs:1 opens without", "b/mod.rs", "utils.rs", "CHANGELOG.md"] {
            assert!(messages.contains(expected), "{expected} is missing in\n{messages}");
        }
        assert_eq!(messages.lines().count(), 5);
    }
}
